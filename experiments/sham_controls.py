"""Where else in the head a tumour would fit: the places of sham edits."""

import functools
import itertools
from typing import NamedTuple

import jax
import numpy as np
import scipy.signal

from experiments.head import head
from jaxsal.metrics.regions import ring


class Places(NamedTuple):
    """Displacements of N tumours, in pixels.

    Attributes:
        first: int32 [N, S, 2], from the tumour to each sham.
        second: int32 [N, S, 2], from each sham to the place it is moved to.
        found: bool [N], whether there is any place; where not, both are 0.
        apart: bool [N, S], whether a sham's surround has no pixel of the tumour or its surround.
    """

    first: np.ndarray
    second: np.ndarray
    found: np.ndarray
    apart: np.ndarray

    def apart_share(self) -> float:
        """Of the shams, how many are apart from the tumour with their surround."""
        return float(self.apart[self.found].mean())


class Fit(NamedTuple):
    """Where a mask fits.

    Attributes:
        places: [n, 2], displacements that leave it in the head and its surround off the mask.
        clear: bool [n], which of them leave its surround off the mask's surround, too.
        apart: bool [2H - 1, 2W - 1], displacements (from 1 - H, 1 - W) of two masks of its shape
            that keep each off the other's surround.
    """

    places: np.ndarray
    clear: np.ndarray
    apart: np.ndarray

    def onward(self, place: np.ndarray) -> np.ndarray:
        """Displacements from one place to the others that are apart from it, `[m, 2]`."""
        steps = self.places - place
        rows, columns = (steps + np.array(self.apart.shape) // 2).T
        return steps[self.apart[rows, columns]]


def fitting(head: np.ndarray, mask: np.ndarray, around: np.ndarray) -> Fit:
    """Where a mask fits in the head.

    Args:
        head, mask, around: bool [H, W]; `around` is the ring around the mask.
    """

    def overlap(fixed: np.ndarray, moved: np.ndarray) -> np.ndarray:
        whole = scipy.signal.correlate(fixed.astype(float), moved.astype(float), method="fft")
        return np.round(whole).astype(int)

    whole = mask | around
    apart = overlap(mask, whole) == 0
    apart &= apart[::-1, ::-1]
    places = np.argwhere((overlap(head, mask) == mask.sum()) & apart)
    clear = (overlap(whole, whole) == 0)[tuple(places.T)]
    return Fit(places - (np.array(mask.shape) - 1), clear, apart)


def draw(images: np.ndarray, masks: np.ndarray, count: int, *, width: float, seed: int) -> Places:
    """`count` sham places for each tumour, drawn evenly from all that fit, each once if it can be.

    Places whose surround is off the tumour's come first: where only others are left, removing a
    sham's surround removes a part of the tumour's.

    A sham is itself moved as a tumour is: to a place drawn evenly from those that fit and are apart
    from it. A tumour of which a sham cannot be moved has no place.

    Args:
        images: [N, H, W, C]. masks: bool [N, H, W], none empty.
        width: of the surround, in equivalent diameters.
    """
    random = np.random.default_rng(seed)
    size = (len(images), count, 2)
    first, second = np.zeros(size, np.int32), np.zeros(size, np.int32)
    found, apart = np.zeros(len(images), bool), np.zeros((len(images), count), bool)
    rings = np.asarray(jax.jit(jax.vmap(functools.partial(ring, width=width)))(masks))
    heads = np.asarray(jax.jit(jax.vmap(head))(images))
    for i, mask in enumerate(masks):
        fit = fitting(heads[i], mask, rings[i])
        order = sorted(random.permutation(len(fit.places)), key=lambda n: not fit.clear[n])
        left = (n for n in order if len(fit.onward(fit.places[n])))
        chosen = list(itertools.islice(left, count))
        found[i] = len(chosen) > 0
        for s in range(count if found[i] else 0):
            place = chosen[s % len(chosen)]
            first[i, s], apart[i, s] = fit.places[place], fit.clear[place]
            second[i, s] = random.choice(fit.onward(first[i, s]))
    return Places(first, second, found, apart)


def shifted(mask: np.ndarray, by: np.ndarray) -> np.ndarray:
    """A mask displaced by whole pixels; none of it leaves the image where it fits."""
    return np.roll(mask, tuple(int(n) for n in by), axis=(0, 1))
