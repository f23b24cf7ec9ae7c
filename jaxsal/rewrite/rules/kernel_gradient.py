"""The derivative of a convolution with respect to its kernel, as matrix products.

It is a convolution itself, of a window as large as the image, with a value for each place of the
kernel. XLA's CPU compiler gives it a fifth of the rate of a matrix product and less: it gathers
what each of those values sees into an array nine times as large as the image. Here each place is
one matrix product of the inputs, shifted, and the outputs' cotangents, a few images at a time:
while these lie in the cache, nine passes over them cost no more than one.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array, Float

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import Values
from jaxsal.rewrite.rules.conv import (
    FEW_CHANNELS,
    Convolution,
    from_channels_last,
    images_in_cache,
    is_channels_last,
    is_supported,
    output_size,
    padded,
    shifted,
    to_channels_last,
)
from jaxsal.types import accumulator

CACHE_BYTES = 4 * 2**20
"""Bytes of operands that are multiplied at a time."""


def kernel_gradient(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule: a convolution with more places in its window than in its output, place by place."""
    del frame
    if not is_supported(eqn, values) or is_channels_last(eqn):
        return None
    conv = to_channels_last(eqn, values)
    undilated = conv.groups == 1 and set(conv.dilation) == {1}
    if not undilated or math.prod(conv.window) <= math.prod(output_size(conv)):
        return None
    return [from_channels_last(eqn, by_kernel_position(conv))]


def by_kernel_position(conv: Convolution) -> Float[Array, "batch *window outputs"]:
    """`y[p] = sum_q x[p stride + q dilation - low] w[q]`: a matrix product for each place p.

    The features that are summed are the images of the model's batch.
    """
    inputs, kernel = jnp.swapaxes(conv.inputs, 0, -1), jnp.moveaxis(conv.kernel, -2, 0)
    number = len(inputs)
    each = (inputs.size + kernel.size) // number * inputs.dtype.itemsize
    some = images_in_cache(number, each, CACHE_BYTES)
    rest = number % some
    in_turn = [x[: number - rest].reshape(-1, some, *x.shape[1:]) for x in (inputs, kernel)]
    total = jnp.sum(lax.map(lambda pair: _products(conv, *pair), in_turn), 0)
    if rest:
        total = total + _products(conv, inputs[-rest:], kernel[-rest:])
    places = total.reshape(*output_size(conv), inputs.shape[-1], -1)
    return jnp.moveaxis(places, -2, 0).astype(conv.dtype or inputs.dtype)


def _products(
    conv: Convolution,
    inputs: Float[Array, "images *space features"],
    kernel: Float[Array, "images *window outputs"],
) -> Float[Array, "places_features outputs"]:
    """Of some images, for each place of the output; of few channels, for all places at once."""
    x = padded(inputs, conv.padding)
    seen = shifted(x, output_size(conv), conv.stride, conv.window, conv.kernel_dilation)
    if x.shape[-1] <= FEW_CHANNELS:
        seen = [lax.concatenate(seen, x.ndim - 1)]
    flat = kernel.reshape(-1, kernel.shape[-1])
    products = [
        lax.dot_general(
            each.reshape(len(flat), -1),
            flat,
            (((0,), (0,)), ((), ())),
            precision=conv.precision,
            preferred_element_type=accumulator(flat.dtype),
        )
        for each in seen
    ]
    return jnp.concatenate(products)
