"""The image in a grid of cells: masks of cells, windows of single cells, values of cells spread."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxsal.common.options import count, over_image, spatial_shape
from jaxsal.methods._segments import over_axes, places
from jaxsal.types import Image, SpatialAxes

RESIZES = {"nearest": "nearest", "bicubic": "cubic"}

Mask = Shaped[Array, "*spatial"]


class Grid(NamedTuple):
    """Cells of one image, numbered in C order.

    A pixel is in the cell over its centre, `⌊(i + 1/2) cells / length⌋` along each axis: where the
    cells do not divide the length, some are one pixel longer.

    Attributes:
        cells: along each spatial axis. axes: the image's spatial ones. lengths: of these.
    """

    cells: int
    axes: SpatialAxes
    lengths: tuple[int, ...]

    @property
    def number(self) -> int:
        return self.cells ** len(self.lengths)

    def mask(self, values: Shaped[Array, " cells"] | Shaped[np.ndarray, " cells"]) -> Mask:
        """The values of cells at their pixels, `[*spatial]`."""
        mask = jnp.asarray(values).reshape((self.cells,) * len(self.lengths))
        for axis, cell in enumerate(self._places()):
            mask = jnp.take(mask, cell, axis=axis)
        return mask

    def windows(self) -> "Windows":
        """A window over each cell, all of one size."""
        starts = [np.searchsorted(p, np.arange(self.cells + 1)) for p in self._places()]
        size = tuple(int(np.diff(start).max()) for start in starts)
        along = np.meshgrid(*(np.arange(self.cells) for _ in starts), indexing="ij")
        own = np.stack([s[i.ravel()] for s, i in zip(starts, along, strict=True)], -1)
        end = np.stack([s[i.ravel() + 1] for s, i in zip(starts, along, strict=True)], -1)
        begin = np.minimum(own, np.subtract(self.lengths, size))
        first, last = (np.asarray(each - begin, np.int32) for each in (own, end))
        return Windows(size, begin.astype(np.int32), first, last)

    def spread(self, values: Float[Array, " cells"], image: Image, resize: str) -> Image:
        """The cells' values over the image, equal over channels.

        Raises:
            ValueError: `resize` is neither "nearest" nor "bicubic".
        """
        if resize not in RESIZES:
            raise ValueError(f"resize: expected one of {', '.join(RESIZES)}, got {resize!r}")
        map = self.mask(values)
        if resize == "bicubic":
            cells = values.reshape((self.cells,) * len(self.lengths))
            map = jax.image.resize(cells, self.lengths, RESIZES[resize])
        return jnp.broadcast_to(over_image(map, image, self.axes), image.shape)

    def _places(self) -> list[Int[np.ndarray, " length"]]:
        """For each axis the cell of each of its pixels."""
        return [places(self.cells, length) for length in self.lengths]


class Windows(NamedTuple):
    """Windows over cells; that of a shorter one begins before it or ends after it.

    Attributes:
        size: of all of them. begin: in the image. first, last: of the cell's pixels, within it.
    """

    size: tuple[int, ...]
    begin: Int[np.ndarray, "cells axes"]
    first: Int[np.ndarray, "cells axes"]
    last: Int[np.ndarray, "cells axes"]


def grid_of(cells: int, image: Image, axes: SpatialAxes) -> Grid:
    """The grid of so many cells along each of the image's spatial axes.

    Raises:
        TypeError: no concrete integer.
        ValueError: less than one, or more than the shortest side has pixels.
    """
    lengths = spatial_shape(image, axes)
    if count("grid", cells) > min(lengths):
        raise ValueError(f"grid: expected cells of a pixel or more in {lengths}, got {cells}")
    return Grid(count("grid", cells), axes, lengths)


def corner_of(begin: Int[Array, " axes"], image: Image, axes: SpatialAxes) -> tuple[Array, ...]:
    """Where a window begins, an index for each axis of the image."""
    return over_axes(begin, axes, [jnp.zeros((), begin.dtype)] * image.ndim)
