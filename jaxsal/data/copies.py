"""Images that are there more than once: the same pixels, or nearly so by a perceptual hash."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from PIL import Image

SIDE = 16
STEP = 2
"""How much brighter, of 255, the next pixel must be to count: noise on black is no edge."""
NEAR = 8
"""Bits of `2 SIDE SIDE` in which hashes of the same picture, stored anew, may differ."""
ROWS = 512


def identical(images: Float32[np.ndarray, "N H W C"]) -> Int[np.ndarray, " N"]:
    """The first image with the same pixels as each: its own number where it is the first.

    Images of one value (a black slice) show nothing, and are no copies of each other.
    """
    first: dict[bytes, int] = {}
    found = np.arange(len(images))
    for row, image in enumerate(images):
        if image.size and image.min() < image.max():
            digest = hashlib.sha256(np.ascontiguousarray(image)).digest()
            found[row] = first.setdefault(digest, row)
    return found


def groups(patients: Sequence[str], same: Int[np.ndarray, " N"]) -> list[str]:
    """Joins patients who share an identical image: the name of each image's group.

    Args:
        patients: of each image, or what else is dealt whole; never "".
        same: as of `identical`.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for row, first in enumerate(same):
        one, other = root(patients[row]), root(patients[first])
        parent[max(one, other)] = min(one, other)
    return [root(name) for name in patients]


def hashes(images: Float32[np.ndarray, "N H W C"]) -> UInt8[np.ndarray, "N bytes"]:
    """Of each image a difference hash: where it becomes brighter to the right, and downwards."""
    bits = [_bits(image) for image in images]
    return np.packbits(np.array(bits, bool).reshape(len(images), 2 * SIDE * SIDE), axis=1)


def _bits(image: Float32[np.ndarray, "H W C"]) -> Bool[np.ndarray, " bits"]:
    grey = Image.fromarray(np.rint(255 * image.mean(-1)).astype(np.uint8))
    small = grey.resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX)
    values = np.asarray(small, np.int32)
    right = values[:-1, 1:] - values[:-1, :-1] > STEP
    down = values[1:, :-1] - values[:-1, :-1] > STEP
    return np.concatenate([right.ravel(), down.ravel()])


def near(
    some: UInt8[np.ndarray, "N bytes"], others: UInt8[np.ndarray, "M bytes"]
) -> Int[np.ndarray, " N"]:
    """Of each hash, which other differs least, in `NEAR` bits at most; -1 where none does."""
    found = np.full(len(some), -1)
    if not len(others):
        return found
    wide = others.view(np.uint64)
    for start in range(0, len(some), ROWS):
        rows = some[start : start + ROWS].view(np.uint64)
        apart = np.zeros((len(rows), len(others)), np.uint16)
        for word in range(wide.shape[1]):
            apart += np.bitwise_count(rows[:, None, word] ^ wide[None, :, word])
        best = apart.argmin(1)
        close = apart[np.arange(len(rows)), best] <= NEAR
        found[start : start + ROWS] = np.where(close, best, -1)
    return found


def pairs(same: Int[np.ndarray, " N"]) -> dict[int, list[int]]:
    """The images that are identical to each first one, of those that have any."""
    found: dict[int, list[int]] = defaultdict(list)
    for row, first in enumerate(same.tolist()):
        if row != first:
            found[first].append(row)
    return dict(found)
