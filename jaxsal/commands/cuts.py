"""Slices of volumes as they are looked at: through the lesion, else through the middle."""

import numpy as np
from jaxtyping import Bool, Shaped

from jaxsal.viz.figures import slice_numbers


def axial(volume: Shaped[np.ndarray, "X Y Z *C"]) -> Shaped[np.ndarray, "Z H W *C"]:
    """A volume from left to right, back to front, feet to head, as its axial slices are seen.

    The patient's right is on the left, the front above.
    """
    turned = volume[::-1, ::-1]
    return turned.transpose(2, 1, 0, *range(3, volume.ndim))


def through(mask: Bool[np.ndarray, "slices H W"] | None, length: int, count: int) -> list[int]:
    """At most `count` of `length` slices, evenly spread: over the mask where it has a voxel.

    Where one is asked for, it is that with most of the mask.
    """
    areas = np.zeros(length) if mask is None else mask.sum((1, 2))
    inside = np.flatnonzero(areas)
    if not len(inside):
        return slice_numbers(length, count)
    if count == 1:
        return [int(areas.argmax())]
    return [int(inside[number]) for number in slice_numbers(len(inside), count)]


def one_each(
    masks: Bool[np.ndarray, "N X Y Z"], *others: Shaped[np.ndarray, "N X Y Z ..."]
) -> list[Shaped[np.ndarray, "N H W ..."]]:
    """The one slice of each volume that `through` chooses: of the masks, then of the others."""
    numbers = [through(axial(mask), mask.shape[2], 1)[0] for mask in masks]
    return [
        np.stack([axial(volume)[n] for volume, n in zip(each, numbers, strict=True)])
        for each in (masks, *others)
    ]
