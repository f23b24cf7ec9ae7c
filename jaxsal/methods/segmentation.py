"""Segments of an image, for the methods that explain segments: made on the host."""

import numpy as np
from jaxtyping import Int

from jaxsal.common.options import count, scale
from jaxsal.methods._segments import places
from jaxsal.rewrite.axes.spatial import checked
from jaxsal.types import ArrayValues, SpatialAxes, usual_axes

Labels = Int[np.ndarray, "*spatial"]


def segments(
    image: ArrayValues,
    kind: str = "grid",
    *,
    cells: int = 8,
    size: float | int = 100.0,
    sigma: float | int = 0.8,
    min_size: int = 20,
    spatial_axes: SpatialAxes | None = None,
) -> Labels:
    """A label for each pixel: of a grid, or of Felzenszwalb's segments.

    One partition at one scale; PAIR's segments for XRAI are of six scales and overlap (see `xrai`).

    Args:
        image: one concrete image.
        kind: "grid", or "felzenszwalb": regions whose pixels differ less from each other than from
            their neighbours' (two spatial axes; by scikit-image).
        cells: of the grid, along each spatial axis.
        size: Felzenszwalb's scale, of an image of the range [0, 1] as this one is brought to: the
            larger, the larger the segments. sigma: of the Gaussian that smooths it first, in
            pixels. min_size: pixels of a segment, at least.
        spatial_axes: the image's; None: the usual ones (`jaxsal.types.usual_axes`), which of an
            image [H, W] are not both: give (0, 1).

    Returns:
        Integers [*spatial], from 0.

    Raises:
        ImportError: scikit-image is not installed, with the command that installs it.
        TypeError: a traced image; `cells` or `min_size` is no integer.
        ValueError: an unknown kind, more cells than pixels; for Felzenszwalb's segments not two
            spatial axes, or numbers that are not finite.

    References:
        Felzenszwalb & Huttenlocher, "Efficient Graph-Based Image Segmentation", International
        Journal of Computer Vision 2004
    """
    try:
        array = np.asarray(image)
    except Exception as error:  # a tracer raises an error of its own
        raise TypeError(f"image: expected a concrete image, got {image!r}") from error
    axes = checked(spatial_axes, array.ndim) or usual_axes(array.shape)
    space = tuple(array.shape[axis] for axis in axes)
    if kind == "grid":
        if count("cells", cells) > min(space):
            raise ValueError(f"cells: expected at most the image's {space}, got {cells}")
        along = np.meshgrid(*(places(cells, length) for length in space), indexing="ij")
        return np.asarray(np.ravel_multi_index(tuple(along), (cells,) * len(space)), np.int32)
    if kind != "felzenszwalb":
        raise ValueError(f"kind: expected grid or felzenszwalb, got {kind!r}")
    if len(space) != 2:
        raise ValueError(f"image: expected two spatial axes, got the shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("image: expected finite numbers for felzenszwalb, got NaN or infinity")
    scale("size", size), scale("sigma", sigma)
    return _felzenszwalb(array, axes, size, sigma, count("min_size", min_size))


def _felzenszwalb(
    image: np.ndarray, axes: SpatialAxes, size: float | int, sigma: float | int, min_size: int
) -> Labels:
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise ImportError(
            "segments: felzenszwalb needs scikit-image: pip install scikit-image"
        ) from error
    last = np.moveaxis(image, axes, (0, 1)).astype(float)
    last = last.reshape(*last.shape[:2], -1)
    unit = (last - last.min()) / max(np.ptp(last), np.finfo(float).tiny)
    found = felzenszwalb(unit, scale=size, sigma=sigma, min_size=min_size, channel_axis=-1)
    return np.asarray(found, np.int32)
