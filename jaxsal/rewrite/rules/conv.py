"""Convolutions rewritten to forms that XLA runs faster.

XLA's CPU compiler hands a convolution to its fast library only if inputs and output lie batch first
and features last, the kernel as `[*window, in, out]`. At the top of a program it brings others into
that order, but not inside a loop, where they run one product at a time, up to a hundred times
slower. Derivatives have other orders: with respect to the inputs the kernel's `in` and `out` are
swapped, with respect to the kernel batch and features are (on a CPU `kernel_gradient` makes those
matrix products first). `channels_last_conv` changes the order explicitly.

A convolution from or to one to three channels (the first layer of a model, and its gradient) runs
at a few per cent of the processor's rate in that library. `im2col_conv` makes it one matrix product
of shifted inputs, `matmul_shift_conv` one matrix product whose outputs are shifted and added.
`spread_volume_conv` does so for volumes that are spread out, as they are in the gradient of a
strided first layer. On a GPU, where such a layer is limited by memory, `unrolled_conv` makes it a
sum of products that is fused into its readers.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array, Float

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import Values, shape_of
from jaxsal.types import accumulator

FEW_CHANNELS = 3
"""The most channels that count as few: one of a scan or a radiograph, three of a photograph."""
MAX_PATCH_SIZE = 9
"""The most kernel positions times channels in a patch or a sum: 3 x 3 of one channel. Larger ones
take more memory traffic as patches, and are not measured as sums."""
MAX_PRODUCT_SIZE = 32
"""The most kernel positions times channels in the result of a product."""


class Convolution(NamedTuple):
    """A convolution whose operands have been brought into the order batch, window, features."""

    inputs: Float[Array, "batch *window features"]
    kernel: Float[Array, "*window features outputs"]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    kernel_dilation: tuple[int, ...]
    groups: int
    precision: Any
    dtype: Any

    @property
    def window(self) -> tuple[int, ...]:
        """The kernel's spatial size."""
        return self.kernel.shape[:-2]

    @property
    def taps(self) -> list[tuple[int, ...]]:
        """The positions in the kernel, in row-major order."""
        return list(itertools.product(*map(range, self.window)))


def channels_last_conv(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule: the same convolution with its operands in the order that XLA's CPU library takes."""
    del frame
    if not is_supported(eqn, values) or is_channels_last(eqn):
        return None
    return [from_channels_last(eqn, convolve(to_channels_last(eqn, values)))]


def im2col_conv(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule: a convolution from few channels as one matrix product of its patches."""
    del frame
    if not is_supported(eqn, values) or not has_few_inputs(eqn):
        return None
    return [from_channels_last(eqn, patches_and_product(to_channels_last(eqn, values)))]


def unrolled_conv(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule: a convolution from few channels as a sum of products, for what follows to fuse."""
    del frame
    if not is_supported(eqn, values) or not has_few_inputs(eqn):
        return None
    return [from_channels_last(eqn, sum_of_products(to_channels_last(eqn, values)))]


def has_few_inputs(eqn: JaxprEqn) -> bool:
    """Whether a convolution reads few channels, at few places, and could be a sum of products."""
    params, kernel = eqn.params, shape_of(eqn.invars[1])
    _, inputs, *window = params["dimension_numbers"].rhs_spec
    features = kernel[inputs]
    return (
        features <= FEW_CHANNELS
        and features * math.prod(kernel[axis] for axis in window) <= MAX_PATCH_SIZE
        and params["feature_group_count"] == 1
        and all(d == 1 for d in params["lhs_dilation"])
    )


def matmul_shift_conv(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule: a convolution to few channels as one matrix product and shifted adds."""
    del frame
    if not is_supported(eqn, values):
        return None
    conv = to_channels_last(eqn, values)
    if not writes_few(conv) or any(d > 1 for d in conv.dilation):
        return None
    return [from_channels_last(eqn, product_and_shifts(conv))]


def spread_volume_conv(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule: the same of volumes that are spread out, as in the gradient of a strided first layer.

    XLA's CPU library takes those of pictures, but not of volumes: it runs one product at a time.
    """
    del frame
    if not is_supported(eqn, values) or values[0].ndim != 5:
        return None
    conv = to_channels_last(eqn, values)
    if not writes_few(conv) or all(d == 1 for d in conv.dilation):
        return None
    return [from_channels_last(eqn, product_and_shifts(conv))]


def writes_few(conv: Convolution) -> bool:
    """Whether a convolution writes so few channels that it can be one product that is shifted."""
    outputs, taps = conv.kernel.shape[-1], len(conv.taps)
    thin = outputs <= FEW_CHANNELS and 1 < taps and outputs * taps <= MAX_PRODUCT_SIZE
    return thin and conv.groups == 1 and all(step == 1 for step in conv.stride)


def convolve(conv: Convolution) -> Float[Array, "batch *window outputs"]:
    """The convolution as it stands."""
    space = "".join("DHW"[-len(conv.window) :])
    return lax.conv_general_dilated(
        conv.inputs,
        conv.kernel,
        conv.stride,
        conv.padding,
        lhs_dilation=conv.dilation,
        rhs_dilation=conv.kernel_dilation,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        feature_group_count=conv.groups,
        precision=conv.precision,
        preferred_element_type=conv.dtype,
    )


def patches_and_product(conv: Convolution) -> Float[Array, "batch *window outputs"]:
    """`y[n] = sum_k x[n stride + k dilation - low] w[k]`, for all places and channels at once.

    Written as a sum of products it would be fused into whatever reads it, and on a CPU computed
    again for each reader and each window of a pool; a matrix product is computed once.
    """
    rank = conv.inputs.ndim
    return lax.dot_general(
        lax.concatenate(_shifted_inputs(conv), rank - 1),
        conv.kernel.reshape(-1, conv.kernel.shape[-1]),
        (((rank - 1,), (0,)), ((), ())),
        precision=conv.precision,
        preferred_element_type=conv.dtype,
    )


def sum_of_products(conv: Convolution) -> Float[Array, "batch *window outputs"]:
    """The same, place by place and channel by channel: a few multiplications a value.

    Elementwise, so that it is fused into what reads it; on a GPU that costs less than to write it
    and read it again. Summed in float32, or wider.
    """
    dtype, rank = conv.dtype or conv.inputs.dtype, conv.inputs.ndim
    exact = accumulator(dtype)
    kernel = conv.kernel.astype(exact)
    terms = [
        part[..., channel, None].astype(exact)
        * jnp.expand_dims(kernel[(*place, channel)], range(rank - 1))
        for place, part in zip(conv.taps, _shifted_inputs(conv), strict=True)
        for channel in range(conv.inputs.shape[-1])
    ]
    return functools.reduce(jnp.add, terms).astype(dtype)


def _shifted_inputs(conv: Convolution) -> list[Float[Array, "batch *window features"]]:
    """The inputs at each position of the kernel, an array for each."""
    x = padded(conv.inputs, conv.padding)
    return shifted(x, conv.window, conv.kernel_dilation, output_size(conv), conv.stride)


def shifted(
    x: Float[Array, "batch *padded features"],
    taps: Sequence[int],
    spacing: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
) -> list[Float[Array, "batch *size features"]]:
    """`x[k spacing + n stride]` for all `n < size`: an array for each `k < places`, row-major."""
    spans = [step * (n - 1) + 1 for n, step in zip(size, stride, strict=True)]
    parts = []
    for place in itertools.product(*map(range, taps)):
        start = [k * d for k, d in zip(place, spacing, strict=True)]
        limit = [s + span for s, span in zip(start, spans, strict=True)]
        parts.append(
            lax.slice(x, (0, *start, 0), (x.shape[0], *limit, x.shape[-1]), (1, *stride, 1))
        )
    return parts


def product_and_shifts(conv: Convolution) -> Float[Array, "batch *window outputs"]:
    """`y[n] = sum_k (x w[k])[n + k dilation - low]`: every `x w[k]` from one matrix product."""
    rank, dtype = conv.inputs.ndim, conv.dtype or conv.inputs.dtype
    exact = accumulator(dtype)
    terms = lax.dot_general(
        conv.inputs,
        conv.kernel,
        (((rank - 1,), (rank - 2,)), ((), ())),
        precision=conv.precision,
        preferred_element_type=exact,
    )
    moved = []
    for place in conv.taps:
        term = terms[(slice(None),) * (rank - 1) + place]
        edges = [
            (low - k * d, n - size - low + k * d, apart - 1)
            for low, k, d, n, size, apart in zip(
                [low for low, _ in conv.padding],
                place,
                conv.kernel_dilation,
                output_size(conv),
                spread(conv),
                conv.dilation,
                strict=True,
            )
        ]
        moved.append(lax.pad(term, jnp.zeros((), exact), [(0, 0, 0), *edges, (0, 0, 0)]))
    return functools.reduce(jnp.add, moved).astype(dtype)


def padded(x: Array, padding: tuple[tuple[int, int], ...]) -> Array:
    edges = [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges) if np.any(padding) else x


def spread(conv: Convolution) -> list[int]:
    """The inputs' size with what their dilation puts between them."""
    sizes = conv.inputs.shape[1:-1]
    return [apart * (n - 1) + 1 for n, apart in zip(sizes, conv.dilation, strict=True)]


def output_size(conv: Convolution) -> list[int]:
    return [
        (n + low + high - d * (k - 1) - 1) // stride + 1
        for n, (low, high), d, k, stride in zip(
            spread(conv),
            conv.padding,
            conv.kernel_dilation,
            conv.window,
            conv.stride,
            strict=True,
        )
    ]


def images_in_cache(number: int, each: int, cache: int) -> int:
    """How many of a number of images, of so many bytes each, are worked on at a time."""
    return min(max(1, cache // each), number)


def is_supported(eqn: JaxprEqn, values: Values) -> bool:
    inputs, kernel = values
    return (
        inputs.dtype == kernel.dtype
        and jnp.issubdtype(inputs.dtype, jnp.floating)
        and eqn.params["batch_group_count"] == 1
        and 1 <= inputs.ndim - 2 <= 3
        and 0 not in (*inputs.shape, *kernel.shape, *shape_of(eqn.outvars[0]))
    )


def _orders(numbers: lax.ConvDimensionNumbers) -> list[tuple[int, ...]]:
    """The axes of inputs, kernel and output in the order that the library takes."""
    batch, features, *space = numbers.lhs_spec
    outputs, inputs, *window = numbers.rhs_spec
    out_batch, out_features, *out_space = numbers.out_spec
    return [
        (batch, *space, features),
        (*window, inputs, outputs),
        (out_batch, *out_space, out_features),
    ]


def is_channels_last(eqn: JaxprEqn) -> bool:
    """Whether the operands and the output of a convolution lie in that order."""
    orders = _orders(eqn.params["dimension_numbers"])
    return all(order == tuple(range(len(order))) for order in orders)


def to_channels_last(eqn: JaxprEqn, values: Values) -> Convolution:
    params = eqn.params
    inputs, kernel, _ = _orders(params["dimension_numbers"])
    return Convolution(
        lax.transpose(values[0], inputs),
        lax.transpose(values[1], kernel),
        tuple(params["window_strides"]),
        tuple(params["padding"]),
        tuple(params["lhs_dilation"]),
        tuple(params["rhs_dilation"]),
        params["feature_group_count"],
        params["precision"],
        params["preferred_element_type"],
    )


def channels_last_kernel(eqn: JaxprEqn, kernel: Array) -> Float[Array, "*window features outputs"]:
    """The kernel alone in that order."""
    return lax.transpose(kernel, _orders(eqn.params["dimension_numbers"])[1])


def from_channels_last(eqn: JaxprEqn, out: Array) -> Array:
    order = _orders(eqn.params["dimension_numbers"])[2]
    return lax.transpose(out, np.argsort(order))
