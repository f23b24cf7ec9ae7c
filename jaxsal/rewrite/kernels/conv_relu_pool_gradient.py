"""Convolution to few channels of what comes back from a max-pool of ReLUs: one kernel.

It reads the cotangent of each window and one byte, where it goes, and writes the image's gradient.
The cotangent of what was pooled, larger by the window, is never written.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
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

Sums = tuple[Array, ...]
"""For each offset in a block and each channel of the result: `[blocks, features]`."""


class PoolGradientConv(NamedTuple):
    """A convolution of stride 1 of what windows side by side were scattered to.

    Attributes:
        low: zeros before the first row and the first column.
        size: rows and columns of the result.
        window: the pool's.
        channels: of the result.
    """

    low: tuple[int, int]
    size: tuple[int, int]
    window: tuple[int, int]
    channels: int

    @property
    def blocks(self) -> tuple[int, int]:
        """How many blocks of the window's size cover the result."""
        return pl.cdiv(self.size[0], self.window[0]), pl.cdiv(self.size[1], self.window[1])

    @property
    def outputs(self) -> list[tuple[int, int, int]]:
        """The offsets in a block, each with each channel."""
        rows, columns = self.window
        return list(itertools.product(range(rows), range(columns), range(self.channels)))


class Term(NamedTuple):
    """What one offset of a neighbouring window adds to one offset of a block.

    Attributes:
        neighbour: rows and columns from the block to the window.
        offset: in the window, in row-major order.
        output: the offset in the block.
        tap: the kernel's row and column.
    """

    neighbour: tuple[int, int]
    offset: int
    output: tuple[int, int]
    tap: tuple[int, int]


def conv_relu_pool_gradient(
    cotangent: Float[Array, "batch down across features"],
    place: UInt8[Array, "batch down across features"],
    kernel: Float[Array, "rows columns features channels"],
    factors: Sequence[Float[Array, " features"]] = (),
    *,
    conv: PoolGradientConv,
    interpret: bool = False,
) -> Float[Array, "batch height width channels"]:
    """`y[n] = sum_k g[n + k - low] w[k]`, g the cotangent at each window's place, 0 elsewhere.

    Multiplied and summed in float32, and rounded to the inputs' dtype where the operations round.

    Args:
        place: an offset in the window, in row-major order; another number for nowhere.
        factors: what g is multiplied by first, one after the other.
        interpret: runs anywhere, slowly.
    """
    batch, features = len(cotangent), cotangent.shape[-1]
    tiles = Tiles((batch, *conv.blocks), features, conv.channels)
    shape = (batch, *conv.size, conv.channels)
    stacked = stack(factors, features, cotangent.dtype)
    return pl.pallas_call(
        functools.partial(_program, conv, tiles, len(factors)),
        out_shape=jax.ShapeDtypeStruct(shape, cotangent.dtype),
        grid=tiles.grid[:1],
        compiler_params=parameters(),
        interpret=interpret,
        name="conv_relu_pool_gradient",
    )(cotangent, place, jnp.swapaxes(kernel, 2, 3), stacked)


def _program(conv: PoolGradientConv, tiles: Tiles, factors: int, *refs: Any) -> None:
    *inputs, out = refs
    blocks = tiles.places(pl.program_id(0))

    def of_features(tile: Any, sums: Sums) -> Sums:
        return _added(conv, factors, inputs, blocks, tiles.features(tile), sums)

    zeros = (jnp.zeros((tiles.height, tiles.width), jnp.float32),) * len(conv.outputs)
    if tiles.grid[1] == 1:
        sums = of_features(0, zeros)
    else:
        sums = lax.fori_loop(jnp.int32(0), jnp.int32(tiles.grid[1]), of_features, zeros)
    for (down, across, channel), total in zip(conv.outputs, sums, strict=True):
        row = blocks.row * conv.window[0] + down
        column = blocks.column * conv.window[1] + across
        where = blocks.exists & is_in(row, column, conv.size)
        value = jnp.sum(total, 1)
        store(out, blocks.image, row, column, channel, value=value, where=where)


def _added(
    conv: PoolGradientConv,
    factors: int,
    inputs: list[Any],
    blocks: Places,
    channels: Channels,
    sums: Sums,
) -> Sums:
    """The sums with what some features add."""
    cotangent, place, kernel, stacked = inputs
    scales = rows(stacked, factors, channels)
    total = dict(zip(conv.outputs, sums, strict=True))

    def read(ref: Any, neighbour: tuple[int, int]) -> Array:
        row, column = blocks.row + neighbour[0], blocks.column + neighbour[1]
        where = blocks.exists & is_in(row, column, cotangent.shape[1:3])
        pairs = where[:, None] & channels.exists[None]
        index = (blocks.image[:, None], row[:, None], column[:, None], channels.number[None])
        return load(ref, *index, where=pairs)

    @functools.cache
    def weights(tap: tuple[int, int], channel: int) -> Array:
        return load(kernel, *tap, channel, channels.number, where=channels.exists)[None]

    for neighbour, terms in itertools.groupby(
        _terms(conv, kernel.shape[:2]), lambda t: t.neighbour
    ):
        places, values = read(place, neighbour), read(cotangent, neighbour)
        for offset, same in itertools.groupby(terms, lambda term: term.offset):
            value = jnp.where(places == offset, values, 0.0)
            for scale in scales:
                value = rounded(value * scale, cotangent.dtype)
            for term, channel in itertools.product(same, range(conv.channels)):
                total[(*term.output, channel)] += value * weights(term.tap, channel)
    return tuple(total.values())


def _terms(conv: PoolGradientConv, taps: tuple[int, int]) -> list[Term]:
    """All that is summed, neighbour by neighbour."""

    def along(axis: int) -> Iterator[tuple[int, int, int, int]]:
        length = conv.window[axis]
        for output, tap in itertools.product(range(length), range(taps[axis])):
            yield (*divmod(output + tap - conv.low[axis], length), output, tap)

    pairs = itertools.product(along(0), along(1))
    terms = [
        Term((r[0], c[0]), r[1] * conv.window[1] + c[1], (r[2], c[2]), (r[3], c[3]))
        for r, c in pairs
    ]
    return sorted(terms)
