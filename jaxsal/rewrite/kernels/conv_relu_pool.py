"""Convolution from few channels, what follows channel by channel, ReLU and max-pool: one kernel.

It reads the image and writes each window's maximum and one byte, where the maximum lies. The
convolution's own result, larger by the window and by the channels, is never written.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, UInt8

from jaxsal.rewrite.kernels.tiles import (
    Channels,
    Places,
    Tiles,
    is_in,
    load,
    parameters,
    rounded,
    rows,
    stack,
    store,
)
from jaxsal.rewrite.rules.channelwise import STEPS
from jaxsal.rewrite.rules.max_pool import NOWHERE


class ConvReluPool(NamedTuple):
    """A stage: stride 1, channels last, windows side by side.

    Attributes:
        low: zeros before the first row and the first column.
        size: the convolution's rows and columns.
        window: the pool's.
        steps: names in `channelwise.STEPS`, in order.
    """

    low: tuple[int, int]
    size: tuple[int, int]
    window: tuple[int, int]
    steps: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """How many windows there are along rows and columns."""
        return self.size[0] // self.window[0], self.size[1] // self.window[1]

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """The offsets in a window, in row-major order."""
        rows, columns = self.window
        return list(itertools.product(range(rows), range(columns)))


def conv_relu_pool(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels features"],
    vectors: Sequence[Float[Array, " features"]],
    *,
    stage: ConvReluPool,
    interpret: bool = False,
) -> tuple[Float[Array, "batch down across features"], UInt8[Array, "batch down across features"]]:
    """`max_k relu(steps(conv(x)))[window n, k]`, and the first k that has it; 255 where it is 0.

    Multiplied and summed in float32, and rounded to the inputs' dtype where the operations round.
    A window with a NaN has the value NaN; as a maximum a NaN gives way to whatever comes after it.

    Args:
        vectors: of each of the stage's steps.
        interpret: runs anywhere, slowly.
    """
    features = kernel.shape[-1]
    tiles = Tiles((len(x), *stage.counts), features, x.shape[-1])
    stacked = stack(vectors, features, x.dtype)
    shape = (len(x) * stage.counts[0] * stage.counts[1], features)
    outs = pl.pallas_call(
        functools.partial(_program, stage, tiles),
        out_shape=tuple(jax.ShapeDtypeStruct(shape, dtype) for dtype in (x.dtype, jnp.uint8)),
        grid=tiles.grid,
        compiler_params=parameters(),
        interpret=interpret,
        name="conv_relu_pool",
    )(x, kernel, stacked)
    pooled, place = (out.reshape(len(x), *stage.counts, features) for out in outs)
    return pooled, place


def _program(stage: ConvReluPool, tiles: Tiles, *refs: Any) -> None:
    x, kernel, vectors, pooled, place = refs
    places, channels = tiles.places(pl.program_id(0)), tiles.features(pl.program_id(1))
    convolve = _convolution(stage, x, kernel, places, channels)
    after = rows(vectors, len(stage.steps), channels)

    def activation(offset: tuple[int, int]) -> Array:
        y = rounded(convolve(offset), x.dtype)
        for name, vector in zip(stage.steps, after, strict=True):
            y = rounded(STEPS[name](y, vector), x.dtype)
        return jnp.where(y <= 0, 0.0, y)

    best, first = _maximum(map(activation, stage.offsets))
    index = places.number[:, None], channels.number[None]
    where = places.exists[:, None] & channels.exists[None]
    store(pooled, *index, value=best, where=where)
    store(place, *index, value=first, where=where)


def _convolution(
    stage: ConvReluPool, x: Any, kernel: Any, places: Places, channels: Channels
) -> Callable[[tuple[int, int]], Float[Array, "windows features"]]:
    """From an offset in the windows to the convolution there; nothing is loaded twice."""
    taps = list(itertools.product(*map(range, kernel.shape[:3])))
    weights = {
        tap: load(kernel, *tap, channels.number, where=channels.exists)[None] for tap in taps
    }

    @functools.cache
    def pixels(down: int, across: int, channel: int) -> Float[Array, "windows 1"]:
        row = places.row * stage.window[0] + (down - stage.low[0])
        column = places.column * stage.window[1] + (across - stage.low[1])
        where = places.exists & is_in(row, column, x.shape[1:3])
        return load(x, places.image, row, column, channel, where=where)[:, None]

    def at(offset: tuple[int, int]) -> Float[Array, "windows features"]:
        terms = [
            pixels(offset[0] + row, offset[1] + column, channel) * weights[row, column, channel]
            for row, column, channel in taps
        ]
        return functools.reduce(jnp.add, terms)

    return at


def _maximum(values: Iterable[Array]) -> tuple[Array, Array]:
    """The maximum of values, none negative, and the number of the first; `NOWHERE` for zero."""
    best, *candidates = values
    held, place = best, jnp.zeros_like(best, jnp.int32)
    for k, candidate in enumerate(candidates, start=1):
        stays = held >= candidate
        held, place = jnp.where(stays, held, candidate), jnp.where(stays, place, k)
        best = jnp.where((best >= candidate) | (best != best), best, candidate)
    return best, jnp.where(held > 0, place, NOWHERE)
