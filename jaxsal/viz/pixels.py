"""What is shown at each pixel, as arrays: of images greys or colours, of maps signed numbers."""

from collections.abc import Iterable

import numpy as np
import scipy.ndimage

from jaxsal.types import ArrayValues, SpatialAxes, axes_by_shape


def signed(map: ArrayValues) -> np.ndarray:
    """A map `[H, W]` or `[H, W, C]` as the float array that is drawn: `[H, W]`, channels summed."""
    map = np.asarray(map, float)
    return map.sum(-1) if map.ndim == 3 else map


def magnitudes(maps: Iterable[ArrayValues]) -> np.ndarray:
    """|map| at all finite pixels of all the maps."""
    values = np.abs(np.concatenate([signed(map).ravel() for map in maps] or [np.zeros(0)]))
    return values[np.isfinite(values)]


def limit(maps: Iterable[ArrayValues], *, percentile: float | int = 99.5) -> float:
    """The value at which a scale is clipped: that percentile of |map| over all finite pixels.

    The largest value where the percentile is zero (few pixels); 1 where there is nothing to show.
    """
    magnitude = magnitudes(maps)
    if not magnitude.any():
        return 1.0
    return float(np.percentile(magnitude, percentile) or magnitude.max())


def grey(image: ArrayValues) -> np.ndarray:
    """An image `[H, W]` or `[H, W, C]` as it is drawn: `[H, W, 3]` in [0, 1].

    Three channels are colours, another number is averaged. Values outside [0, 1] (standardised
    images) are stretched to it from their own range.
    """
    shown = stretched(image)
    shown = shown[..., None] if shown.ndim == 2 else shown
    return shown if shown.shape[-1] == 3 else np.repeat(shown.mean(-1, keepdims=True), 3, -1)


def stretched(image: ArrayValues) -> np.ndarray:
    """An image of values outside [0, 1] stretched to it from their own range; another as it is.

    What is not finite has no part in the range: NaN is drawn as the least value, infinities as the
    least and the largest.
    """
    shown = np.asarray(image, float)
    finite = shown[np.isfinite(shown)]
    if not finite.size:
        return np.zeros_like(shown)
    low, high = finite.min(), finite.max()
    shown = np.nan_to_num(shown, nan=low, posinf=high, neginf=low)
    return (shown - low) / max(high - low, 1e-12) if low < 0 or high > 1 else shown


def resized(map: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A map `[h, w]` at the size of its image, bilinear; it is made larger only."""
    if map.shape == size or not map.size:
        return map
    factors = [max(1.0, length / own) for own, length in zip(map.shape, size, strict=True)]
    larger: np.ndarray = scipy.ndimage.zoom(map, factors, order=1, mode="nearest", grid_mode=True)
    return larger


def axes_of(shape: tuple[int, ...]) -> SpatialAxes:
    """The two spatial axes of an image: as its shape says, else the first two."""
    return axes_by_shape(shape) or (0, 1)


def note(map: ArrayValues) -> str:
    """Why a map shows nothing: "not finite", "all zero" or "constant"; else ""."""
    map = signed(map)
    if not np.isfinite(map).all():
        return "not finite"
    if np.ptp(map) > 0:
        return ""
    return "constant" if map.any() else "all zero"
