"""Whether a function of images leaves their pixels where they are: marks on an image tell."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Float

from jaxsal.data.wanted import MOST_CHANNELS

SHARES = ((0.2, 0.35, 0.3), (0.3, 0.75, 0.6), (0.65, 0.2, 0.75), (0.8, 0.6, 0.2))
"""Where marks begin along the axes: no flip and no turn leaves one of them where it is."""
PART = 16
"""Of an axis, a mark is as long as one part of so many."""
NEAR, WITHIN = 0.9, 0.02
"""Pixels, or a share of an axis, by which the place of a mark that stays may be off."""
WIDEST = 9
"""What changes as much as so many marks is no mark that is found."""
LOOKED_AT = 8
"""Images, at most, that are marked."""

Place = tuple[slice, ...]


def some(count: int) -> list[int]:
    """The numbers of the images that are looked at, of so many: spread evenly."""
    spread = (np.arange(LOOKED_AT) + 0.5) * count / LOOKED_AT
    return [*dict.fromkeys(spread.astype(int).tolist())]


def moves(
    function: Callable[[np.ndarray], np.ndarray], images: Iterable[Float[np.ndarray, "*space C"]]
) -> bool | None:
    """Whether a function moves pixels, by the first of the images that tells; None: none does.

    A mark is a small block of an image made as bright as the brightest pixel, or as dark as the
    darkest; it is found where the function's answer changes most. The function moves pixels where
    two marks or more are found elsewhere, and none in its place.
    """
    for image in images:
        plain = function(image.copy())
        if not np.array_equal(plain, function(image.copy())):  # drawn at random
            return None
        space = image.shape[:-1]
        found = [
            _moved(_change(function(marked), plain, len(space)), place, space)
            for marked, place in _marked(image)
        ]
        if False in found:
            return False
        if found.count(True) > 1:
            return True
    return None


def _marked(image: np.ndarray) -> Iterator[tuple[np.ndarray, Place]]:
    """The image with one mark, and where it is; nothing where it is of one value or no picture."""
    low, high = image.min(), image.max()
    if not low < high or image.shape[-1] > MOST_CHANNELS or image.ndim not in (3, 4):
        return
    for shares in SHARES:
        place = tuple(
            slice(int(share * side), int(share * side) + max(1, side // PART))
            for share, side in zip(shares, image.shape[:-1], strict=False)
        )
        marked = image.copy()
        marked[place] = high if image[place].mean() < (low + high) / 2 else low
        yield marked, place


def _moved(change: np.ndarray, place: Place, space: tuple[int, ...]) -> bool | None:
    """Whether a mark is found elsewhere; None where it is not found.

    Args:
        change: what the mark changes, at any size. place: of the mark in an image of that space.
    """
    if change.ndim != len(space) or not change.any():
        return None
    strong = np.argwhere(change > change.max() / 2)
    lengths = np.array([each.stop - each.start for each in place])
    sides = np.array([space, change.shape])
    if len(strong) > WIDEST * max(1, (lengths / sides[0]).prod() * change.size):
        return None
    expected = np.array([(each.start + each.stop) / 2 for each in place]) / sides[0]
    away = np.abs((strong.mean(0) + 0.5) / sides[1] - expected)
    return bool((away > np.maximum(NEAR / sides.min(0), WITHIN)).any())


def _change(one: np.ndarray, other: np.ndarray, axes: int) -> np.ndarray:
    """By how much two images differ at each place; nowhere, where that cannot be told."""
    known = one.shape == other.shape and one.ndim in (axes, axes + 1)
    if not known or not np.isfinite(one - other).all():
        return np.zeros(0)
    change = np.abs(one - other)
    if change.ndim == axes:
        return change
    return change.sum(-1 if change.shape[-1] <= MOST_CHANNELS else 0)
