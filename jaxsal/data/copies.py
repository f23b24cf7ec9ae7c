"""Images that are there more than once: the same pixels, or nearly so by a perceptual hash."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int, UInt8
from PIL import Image

SIDE = 32
"""Of the thumbnails that images are compared by."""
STEP = 2
"""How much brighter, of 255, the next pixel must be to count: noise on black is no edge."""
NEAR = 40
"""Bits, of 480, in which the hashes of one picture may differ.

Of 200 phantoms (64x64) stored anew as JPEG of quality 60, 95 % differ in 32 or fewer; no other
phantom in fewer than 62.
"""
ALIKE = 0.99
"""The least correlation of two thumbnails of one picture."""


def identical(images: Float32[np.ndarray, "N *space C"]) -> Int[np.ndarray, " N"]:
    """The first image with the same pixels as each: its own number where it is the first.

    Images of one value (a black slice) show nothing, and are no copies of each other.
    """
    first: dict[str, int] = {}
    return np.array(
        [first.setdefault(name, row) if name else row for row, name in enumerate(digests(images))],
        int,
    )


def digests(images: Float32[np.ndarray, "N *space C"]) -> list[str]:
    """The name of each image's pixels: equal for identical ones, "" for one of one value."""
    return [
        hashlib.sha256(np.ascontiguousarray(image)).hexdigest()
        if image.size and image.min() < image.max()
        else ""
        for image in images
    ]


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


def thumbnails(images: Float32[np.ndarray, "N *space C"]) -> UInt8[np.ndarray, "N side side"]:
    """Small grey pictures of images, of volumes the mean of their slices: what `near` compares."""
    images = images if images.ndim == 4 else images.mean(3)
    found = np.zeros((len(images), SIDE, SIDE), np.uint8)
    for small, image in zip(found, images, strict=True):
        grey = Image.fromarray(np.rint(255 * image.mean(-1)).astype(np.uint8))
        small[:] = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    return found


def hashes(thumbnails: UInt8[np.ndarray, "N side side"]) -> UInt8[np.ndarray, "N bytes"]:
    """A difference hash of each: where it becomes brighter to the right, and downwards."""
    count, half = len(thumbnails), SIDE // 2
    values = thumbnails.reshape(count, half, 2, half, 2).mean((2, 4))
    right, down = (np.diff(values, axis=axis) > STEP for axis in (2, 1))
    bits = np.concatenate([right.reshape(count, -1), down.reshape(count, -1)], 1)
    return np.packbits(np.pad(bits, ((0, 0), (0, -bits.shape[1] % 64))), axis=1)


def near(
    some: UInt8[np.ndarray, "N side side"], others: UInt8[np.ndarray, "M side side"]
) -> Int[np.ndarray, " N"]:
    """Of each thumbnail, which other shows the same picture, stored anew; -1 where none does.

    The other whose hash differs least, in `NEAR` bits at most, if the two correlate.
    """
    found = np.full(len(some), -1)
    if not len(others):
        return found
    words, wide = hashes(some).view(np.uint64), hashes(others).view(np.uint64)
    for row, own in enumerate(words):
        apart = np.bitwise_count(own ^ wide).sum(1)
        best = int(apart.argmin())
        if apart[best] <= NEAR and _correlation(some[row], others[best]) >= ALIKE:
            found[row] = best
    return found


def _correlation(one: UInt8[np.ndarray, "h w"], other: UInt8[np.ndarray, "h w"]) -> float:
    """Pearson's, of pixels; 0 where one of them is of one value."""
    both = np.stack([one, other]).reshape(2, -1).astype(float)
    both -= both.mean(1, keepdims=True)
    norms = np.linalg.norm(both, axis=1)
    return float(both[0] @ both[1] / norms.prod()) if norms.all() else 0.0


def pairs(same: Int[np.ndarray, " N"]) -> dict[int, list[int]]:
    """The images that are identical to each first one, of those that have any."""
    found: dict[int, list[int]] = defaultdict(list)
    for row, first in enumerate(same.tolist()):
        if row != first:
            found[first].append(row)
    return dict(found)
