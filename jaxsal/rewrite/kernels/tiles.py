"""How a kernel's work is cut: each of its programs computes some pool windows of some channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.typing import DTypeLike
from jaxtyping import Array

MAX_CHANNELS = 32
"""The most channels of a tile."""
WARPS = 4
"""Of a program: 128 threads."""
VALUES = 8
"""Windows times channels of a tile, a thread; half as many for images of
several channels. For an H200 the kernels are compiled so without spilling registers."""


class Tiles(NamedTuple):
    """Tiles of windows, counted over a batch in row-major order, and channels.

    Lengths are powers of two, as Triton demands; what lies beyond is masked.

    Attributes:
        windows: of how many images, how many along rows and columns.
        channels: of what is pooled.
        colours: channels of the images.
    """

    windows: tuple[int, int, int]
    channels: int
    colours: int

    @property
    def width(self) -> int:
        """Channels of a tile."""
        return min(MAX_CHANNELS, pl.next_power_of_2(self.channels))

    @property
    def height(self) -> int:
        """Windows of a tile."""
        return 32 * WARPS * (VALUES if self.colours == 1 else VALUES // 2) // self.width

    @property
    def grid(self) -> tuple[int, int]:
        """How many tiles there are, of windows and of channels."""
        batch, rows, columns = self.windows
        return pl.cdiv(batch * rows * columns, self.height), pl.cdiv(self.channels, self.width)

    def places(self, tile: Any) -> Places:
        """The windows of a tile."""
        number = tile * self.height + jnp.arange(self.height, dtype=jnp.int32)
        batch, rows, columns = self.windows
        line = number // columns
        inside = number < batch * rows * columns
        return Places(number, line // rows, line % rows, number % columns, inside)

    def features(self, tile: Any) -> Channels:
        """The channels of a tile."""
        number = tile * self.width + jnp.arange(self.width, dtype=jnp.int32)
        return Channels(number, number < self.channels)


class Places(NamedTuple):
    """Windows: their numbers, image, row and column, and which of them there are; `[height]`."""

    number: Array
    image: Array
    row: Array
    column: Array
    exists: Array


class Channels(NamedTuple):
    """Channels: their numbers, and which of them there are; `[width]`."""

    number: Array
    exists: Array


def is_in(row: Array, column: Array, shape: tuple[int, int]) -> Array:
    """Whether positions lie in an image of that shape."""
    return (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])


def load(ref: Any, *index: Array | int, where: Array) -> Array:
    """What lies at the indices in float32; zero where it is masked."""
    other = jnp.zeros((), ref.dtype)
    return triton.load(ref.at[_broadcast(index, where)], mask=where, other=other).astype(
        jnp.float32
    )


def store(ref: Any, *index: Array | int, value: Array, where: Array) -> None:
    """Writes values, rounded to what the array holds, but where they are masked."""
    triton.store(ref.at[_broadcast(index, where)], value.astype(ref.dtype), mask=where)


def _broadcast(index: tuple[Array | int, ...], where: Array) -> tuple[Array, ...]:
    return tuple(jnp.broadcast_to(jnp.asarray(i, jnp.int32), where.shape) for i in index)


def stack(vectors: Sequence[Array], channels: int, dtype: DTypeLike) -> Array:
    """Vectors of channels as the rows of one array, which has a row even if there is none."""
    return jnp.stack(vectors) if vectors else jnp.zeros((1, channels), dtype)


def rows(ref: Any, count: int, channels: Channels) -> list[Array]:
    """The first rows of what `stack` made, each `[1, width]`."""
    return [load(ref, i, channels.number, where=channels.exists)[None] for i in range(count)]


def rounded(x: Array, dtype: DTypeLike) -> Array:
    """To what the dtype holds, in float32."""
    return x.astype(dtype).astype(jnp.float32)


def parameters() -> triton.CompilerParams:
    """What Triton compiles with; loads are not pipelined, there is hardly a loop."""
    return triton.CompilerParams(num_warps=WARPS, num_stages=1)
