"""Convolutions by Winograd's minimal filtering: 3 x 3 windows with 16 products where 36 would be.

XLA:CPU before jax 0.11 runs convolutions at half the rate of its matrix products and less. Here a
convolution is sixteen matrix products, of sums and differences of its inputs and of its kernel.

Its sums round in another order. A derivative takes one of several values in a pool's window, or one
side of a ReLU, by its forward pass: one that rounds otherwise takes another where two agree to
seven digits. So in a program that differentiates, only the convolutions of the derivative with
respect to inputs are rewritten, whose rounding chooses nothing; in one that does not, all are. Who
differentiates the rewritten function differentiates its rounding.

The sums of inputs take four times the memory of the inputs, the products four times that of the
outputs: a few images are transformed at a time, so that these stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array, Float

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import Values
from jaxsal.rewrite.rules.conv import (
    Convolution,
    from_channels_last,
    images_in_cache,
    is_supported,
    output_size,
    to_channels_last,
)

MIN_CHANNELS = 16
"""The fewest inputs and outputs whose products are worth the sums around them."""
MIN_POSITIONS = 256
"""The fewest output positions: with fewer, the sums over the kernel cost too much."""
CACHE_BYTES = 2 * 2**20
"""Bytes of inputs, or of outputs where these are larger, that are transformed at a time."""


def winograd(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule: a 3 x 3 convolution of stride one in tiles of 2 x 2 outputs."""
    if not is_supported(eqn, values) or (frame.differentiated and not _has_swapped_channels(eqn)):
        return None
    conv = to_channels_last(eqn, values)
    return [from_channels_last(eqn, by_tiles(conv))] if _suits(conv) else None


def by_tiles(conv: Convolution) -> Float[Array, "batch height width outputs"]:
    """`y = A'[(G w G') * (B' x B)]A` for each tile of 4 x 4 inputs and 2 x 2 outputs: F(2x2, 3x3).

    As many images at a time as the cache holds, in turns as even as may be.

    References:
        Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
        https://arxiv.org/abs/1509.09308
    """
    kernel = _both(_kernel, [[conv.kernel[i, j] for j in range(3)] for i in range(3)])

    def outputs(inputs: Array) -> Array:
        return _outputs_of(conv._replace(inputs=inputs), kernel)

    number = len(conv.inputs)
    positions = math.prod(conv.inputs.shape[1:3])
    each = positions * max(conv.kernel.shape[-2:]) * conv.inputs.dtype.itemsize
    turns = -(-number // images_in_cache(number, each, CACHE_BYTES))
    if turns == 1:
        return outputs(conv.inputs)
    some = -(-number // turns)
    rest = number % some
    whole = conv.inputs[: number - rest].reshape(-1, some, *conv.inputs.shape[1:])
    done = lax.map(outputs, whole)
    done = done.reshape(-1, *done.shape[2:])
    return jnp.concatenate([done, outputs(conv.inputs[-rest:])]) if rest else done


def _outputs_of(
    conv: Convolution, kernel: list[list[Array]]
) -> Float[Array, "images height width outputs"]:
    """The convolution of some images, all at once; `kernel`: its sums."""
    size = output_size(conv)
    tiles = [-(-n // 2) for n in size]
    inputs = _both(_inputs, _patches(conv, tiles))
    products = [[_product(conv, inputs[i][j], kernel[i][j]) for j in range(4)] for i in range(4)]
    outputs = _both(_outputs, products)
    # [images, tile, 2, tile, 2, outputs], the two of a tile side by side.
    whole = jnp.stack([jnp.stack(row, 3) for row in outputs], 2)
    whole = whole.reshape(len(whole), 2 * tiles[0], 2 * tiles[1], -1)
    return whole[:, : size[0], : size[1]]


def _has_swapped_channels(eqn: JaxprEqn) -> bool:
    """Whether the kernel's `in` and `out` are swapped, as in derivatives with respect to inputs.

    They are `[*window, in, out]` forward, and `[out, in, *window]` where channels come first. (Also
    of derivatives with respect to kernels, where features come last: their rounding chooses nothing
    either.)
    """
    outputs, inputs, *window = eqn.params["dimension_numbers"].rhs_spec
    return bool(outputs < inputs if min(window) == 0 else outputs > inputs)


def _suits(conv: Convolution) -> bool:
    size, (inputs, outputs) = output_size(conv), conv.kernel.shape[-2:]
    return (
        conv.window == (3, 3)
        and {*conv.stride, *conv.dilation, *conv.kernel_dilation, conv.groups} == {1}
        and min(inputs, outputs) >= MIN_CHANNELS
        and len(conv.inputs) * size[0] * size[1] >= MIN_POSITIONS
        and jnp.finfo(conv.inputs.dtype).bits >= 32
    )


def _patches(conv: Convolution, tiles: list[int]) -> list[list[Array]]:
    """The 4 x 4 inputs of every tile: at each place [batch, tiles, tiles, features]."""
    x = conv.inputs
    edges = [
        (low, 2 * count + 2 - n - low, 0)
        for (low, _), count, n in zip(conv.padding, tiles, x.shape[1:3], strict=True)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    last = [2 * count - 1 for count in tiles]

    def at(i: int, j: int) -> Array:
        end = (len(x), i + last[0], j + last[1], x.shape[3])
        return lax.slice(x, (0, i, j, 0), end, (1, 2, 2, 1))

    return [[at(i, j) for j in range(4)] for i in range(4)]


def _product(conv: Convolution, inputs: Array, kernel: Array) -> Array:
    return lax.dot_general(
        inputs,
        kernel,
        (((3,), (0,)), ((), ())),
        precision=conv.precision,
        preferred_element_type=conv.dtype,
    )


def _both(
    transform: Callable[[list[Array]], list[Array]], grid: list[list[Array]]
) -> list[list[Array]]:
    """A transform of rows, then of columns."""
    rows = [transform(row) for row in grid]
    columns = [transform(list(column)) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _inputs(x: list[Array]) -> list[Array]:
    return [x[0] - x[2], x[1] + x[2], x[2] - x[1], x[1] - x[3]]


def _kernel(w: list[Array]) -> list[Array]:
    outer, inner = (w[0] + w[2]) / 2, w[1] / 2
    return [w[0], outer + inner, outer - inner, w[2]]


def _outputs(m: list[Array]) -> list[Array]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]
