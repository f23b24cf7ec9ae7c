"""Where else in the head a tumour would fit: the places of sham edits."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import scipy.signal

from jaxsal import regions


class Places(NamedTuple):
    """Displacements of N tumours, in pixels.

    Attributes:
        first: int32 [N, S, 2], from the tumour to each sham.
        second: int32 [N, S, 2], from each sham to the place it is moved to.
        found: bool [N], whether there is any place; where not, both are 0.
    """

    first: np.ndarray
    second: np.ndarray
    found: np.ndarray


def fitting(head: np.ndarray, mask: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Displacements `[n, 2]` that leave a mask in the head, and its surround off the mask itself.

    Args:
        head, mask, around: bool [H, W]; `around` is the ring around the mask.
    """

    def overlap(fixed: np.ndarray, moved: np.ndarray) -> np.ndarray:
        whole = scipy.signal.correlate(fixed.astype(float), moved.astype(float), method="fft")
        return np.round(whole).astype(int)

    fits = (overlap(head, mask) == mask.sum()) & (overlap(mask, mask | around) == 0)
    return np.argwhere(fits) - (np.array(mask.shape) - 1)


def draw(images: np.ndarray, masks: np.ndarray, count: int, *, width: float, seed: int) -> Places:
    """`count` sham places for each tumour, drawn evenly from all that fit.

    A sham is itself moved to the place that fits and is furthest from it.

    Args:
        images: [N, H, W, C]. masks: bool [N, H, W], none empty.
        width: of the surround, in equivalent diameters.
    """
    random = np.random.default_rng(seed)
    size = (len(images), count, 2)
    first, second = np.zeros(size, np.int32), np.zeros(size, np.int32)
    found = np.zeros(len(images), bool)
    rings = np.asarray(jax.jit(jax.vmap(functools.partial(regions.ring, width=width)))(masks))
    heads = np.asarray(jax.jit(jax.vmap(regions.head))(images))
    for i, mask in enumerate(masks):
        choices = fitting(heads[i], mask, rings[i])
        found[i] = len(choices) > 0
        if found[i]:
            first[i] = choices[random.integers(len(choices), size=count)]
            away = np.linalg.norm(choices[None] - first[i][:, None], axis=-1)
            second[i] = choices[away.argmax(1)] - first[i]
    return Places(first, second, found)


def shifted(mask: np.ndarray, by: np.ndarray) -> np.ndarray:
    """A mask displaced by whole pixels; none of it leaves the image where it fits."""
    return np.roll(mask, tuple(int(n) for n in by), axis=(0, 1))
