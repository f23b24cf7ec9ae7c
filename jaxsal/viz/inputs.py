"""What can be drawn: images, masks and maps, held against what a figure expects of them."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Axes = tuple[int, ...]
"""The spatial axes of one image; empty: nobody says, and channels are last."""

Reading = Callable[[tuple[int, ...]], Axes]
"""From an image's shape to its spatial axes."""


def batch(
    name: str, values: Any, count: int | None = None, *, axes: Reading = lambda _: ()
) -> list[np.ndarray]:
    """Pictures of real numbers, any sizes, as arrays `[H, W]` or `[H, W, C]`.

    Args:
        name: of the argument.
        values: an array with one entry an image, or a sequence of arrays.
        count: how many there must be; None: any number.
        axes: the two of a picture that are its height and width, by its shape.

    Raises:
        TypeError: no sequence, or not of real numbers.
        ValueError: other axes, no pixels, or another count.
    """
    try:
        pictures = [real(name, value) for value in values]
    except TypeError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise TypeError(
            f"{name}: expected pictures [N, H, W] or [N, H, W, C], got {type(values).__name__}"
        ) from error
    pictures = [channels_last(picture, axes(picture.shape)) for picture in pictures]
    for picture in pictures:
        if picture.ndim not in (2, 3) or not picture.size:
            raise ValueError(
                f"{name}: expected [N, H, W] or [N, H, W, C], got one of the shape {picture.shape}"
            )
    if count is not None and len(pictures) != count:
        raise ValueError(f"{name}: expected one an image ({count}), got {len(pictures)}")
    return pictures


def spatial_axes(axes: Any, count: tuple[int, ...] = (2,)) -> Axes:
    """The option `spatial_axes`, in increasing order.

    Args:
        count: how many there may be.

    Raises:
        TypeError: no integers.
        ValueError: another number of them, one twice, or one from the end.
    """
    if axes is None:
        return ()
    expected = "spatial_axes: expected those of one image, such as (0, 1)"
    try:
        found = sorted(operator.index(axis) for axis in axes)
    except TypeError as error:
        raise TypeError(f"{expected}; got {axes!r}") from error
    if len(found) not in count or len(set(found)) < len(found) or found[0] < 0:
        raise ValueError(f"{expected}; got {axes!r}")
    return tuple(found)


def channels_last(picture: np.ndarray, axes: Axes) -> np.ndarray:
    """A picture, a volume or a map of one with its spatial axes first and channels, if any, last.

    One of as many axes as are spatial has no channels.
    """
    if not axes or picture.ndim == len(axes) or axes[-1] >= picture.ndim:
        return picture
    moved = np.moveaxis(picture, axes, range(len(axes)))
    return moved.reshape(*moved.shape[: len(axes)], math.prod(moved.shape[len(axes) :]))


def outlines(masks: object, images: list[np.ndarray]) -> list[np.ndarray] | None:
    """Masks bool `[H, W]`, one an image and of its size; None where there are none.

    Raises:
        TypeError, ValueError: as of `batch`, or a mask of another size.
    """
    if masks is None:
        return None
    found = batch("masks", masks, len(images))
    for mask, image in zip(found, images, strict=True):
        if mask.shape != image.shape[:2]:
            raise ValueError(f"masks: expected {image.shape[:2]}, the image's, got {mask.shape}")
    return [mask.astype(bool) for mask in found]


def columns(
    maps: object, count: int, *, axes: Reading = lambda _: ()
) -> dict[str, list[np.ndarray]]:
    """Maps by method, one an image.

    Raises:
        TypeError, ValueError: no dict of names, or as of `batch`.
    """
    if not isinstance(maps, Mapping):
        raise TypeError(f"maps: expected {{method: maps}}, got {type(maps).__name__}")
    return {str(name): batch("maps", values, count, axes=axes) for name, values in maps.items()}


def check_percentile(percentile: object) -> None:
    """Raises unless it is a number from 0 to 100.

    Raises:
        TypeError: no number.
        ValueError: out of range.
    """
    if isinstance(percentile, bool) or not isinstance(percentile, int | float | np.number):
        raise TypeError(f"percentile: expected a number, got {type(percentile).__name__}")
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile: expected from 0 to 100, got {percentile}")


def check_count(name: str, count: object) -> None:
    """Raises unless it is a whole number above 0.

    Raises:
        TypeError: no whole number.
        ValueError: it is none above 0.
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise TypeError(f"{name}: expected a whole number, got {type(count).__name__}")
    if count < 1:
        raise ValueError(f"{name}: expected at least 1, got {count}")


def labels(name: str, values: object, count: int) -> list[str]:
    """A text an image, or none at all.

    Raises:
        TypeError: no sequence.
        ValueError: another number of them than of images.
    """
    if not isinstance(values, list | tuple | np.ndarray):
        raise TypeError(f"{name}: expected a list of labels, got {type(values).__name__}")
    if len(values) not in (0, count):
        raise ValueError(f"{name}: expected {count} labels or none, got {len(values)}")
    return [str(value) for value in values]


def real(name: str, value: object) -> np.ndarray:
    """An array of real numbers.

    Raises:
        TypeError: it is none.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:  # of several lengths; JAX's keys
        raise TypeError(
            f"{name}: expected arrays of numbers, got {type(value).__name__}"
        ) from error
    if array.dtype.kind not in "fiub" and "float" not in array.dtype.name:  # bfloat16 has no kind
        raise TypeError(f"{name}: expected real numbers, got {array.dtype}")
    return array
