"""A convolution from few channels, ReLU and a max-pool as one convolution with the pool's stride.

Its output channels are those of the convolution at each offset in a window, so that the maximum is
one of channels at the same place, and no window is ever taken apart:

.. math:: y[n, k] = \\sum_j w[j]\\, x[s n + k + j - l], \\quad p[n] = \\max_k relu(y[n, k])

The byte that says where the maximum lies leads back in the same way: what goes to an offset is
convolved with its place in the windows as the dilation of the input.

Faster where operations over windows are slow and products are cheap: on a TPU.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array, Float, UInt8

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import Values, shape_of
from jaxsal.rewrite.rules import conv, max_pool, relu_pool_gradient, stage
from jaxsal.rewrite.rules.channelwise import STEPS, Step, before, vectors_of
from jaxsal.rewrite.rules.conv import Convolution
from jaxsal.rewrite.rules.max_pool import PoolWindows
from jaxsal.types import accumulator


class _Stage(NamedTuple):
    """A stage that the rules replace: a convolution, what is done to each channel, ReLU, pool."""

    made: JaxprEqn
    steps: list[Step]
    relu: JaxprEqn
    windows: PoolWindows


def strided_conv_pool(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for the max-pool of a stage, where the program takes the derivative of that pool.

    Of one image: of several, XLA keeps their axis apart, and finds no good order for the rest.
    """
    del values
    found = _stage(eqn, frame)
    if found is None or not _is_alone(found.made, frame):
        return None
    convolution = conv.to_channels_last(found.made, [frame.read(x) for x in found.made.invars])
    y, offsets = conv.convolve(_strided(convolution, found.windows)), len(found.windows.offsets)
    for step, vector in zip(found.steps, vectors_of(found.steps, frame), strict=True):
        y = STEPS[step.eqn.primitive.name](y, jnp.tile(vector, offsets).reshape(1, 1, 1, -1))
    parts = jnp.split(jnp.where(y <= 0, 0, y), offsets, -1)
    # Without the barrier XLA computes the maximum once more in whatever reads it.
    pooled, place = lax.optimization_barrier(_pooled(parts))
    relu_pool_gradient.keep_place(place, eqn.invars[0], found.windows, frame)
    return [pooled]


def strided_conv_pool_gradient(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for a convolution to few channels of what comes back from such a stage."""
    made, steps = before(eqn.invars[0], frame, ("mul",))
    if made is None or made.primitive.name != "select_n":
        return None
    found = relu_pool_gradient.relu_pool_cotangent(made, frame)
    if found is None or not _is_one(windows := found.windows):
        return None
    place = relu_pool_gradient.place_if_kept(found.operand, windows, frame)
    if place is None or not (_is_to_few(eqn) and stage.is_beside(eqn, windows)):
        return None
    cotangent = frame.read(found.cotangent)
    for vector in vectors_of(steps, frame):
        cotangent = cotangent * vector.reshape(1, 1, 1, -1)
    convolution = conv.to_channels_last(eqn, values)
    # The terms of one sum, which is rounded once.
    dtype = convolution.dtype or cotangent.dtype
    convolution = convolution._replace(dtype=accumulator(dtype))
    terms = [
        conv.convolve(_from_offset(convolution, jnp.where(place == k, cotangent, 0), windows, k))
        for k in range(len(windows.offsets))
    ]
    return [functools.reduce(jnp.add, terms).astype(dtype)]


def _stage(eqn: JaxprEqn, frame: Frame) -> _Stage | None:
    """The stage that a max-pool ends, of which nothing but its derivative reads inner values."""
    operand = eqn.invars[0]
    windows, relu = max_pool.windows_of(eqn, stage.shaped(operand)), frame.producer(operand)
    x = None if relu is None else relu_pool_gradient.relu_input(relu)
    if windows is None or relu is None or x is None or not _is_one(windows):
        return None
    made, steps = before(x, frame, tuple(STEPS))
    if made is None or any(step.side is None for step in steps):
        return None
    if not (stage.is_beside(made, windows) and conv.has_few_inputs(made)):
        return None
    found = _Stage(made, steps, relu, windows)
    return None if _is_read_elsewhere(found, frame) else found


def _is_read_elsewhere(found: _Stage, frame: Frame) -> bool:
    """Whether more reads the stage's inner values than the two rules replace."""
    eqns = (found.made, *(step.eqn for step in found.steps), found.relu)
    *inner, before_relu, after = [eqn.outvars[0] for eqn in eqns]
    once = all(len(stage.users(var, frame)) == 1 for var in inner)
    masks = {eqn.primitive.name for eqn in stage.users(before_relu, frame)}
    back = [eqn for eqn in stage.users(after, frame) if eqn.primitive.name != "reduce_window_max"]
    replaced = once and masks == {"custom_jvp_call", "gt"} and len(back) > 0
    is_output = any(eqn.outvars[0] in frame.jaxpr.outvars for eqn in eqns)
    return is_output or not (replaced and all(_leads_to_few_channels(eqn, frame) for eqn in back))


def _is_alone(made: JaxprEqn, frame: Frame) -> bool:
    """Whether all convolutions with its kernel are replaced.

    Another method's pass through the same layer would else no longer be the same: XLA computes
    once what it finds twice.
    """
    pools = (eqn for eqn in frame.jaxpr.eqns if eqn.primitive.name == "reduce_window_max")
    replaced = [found.made for eqn in pools if (found := _stage(eqn, frame)) is not None]
    same = [
        eqn
        for eqn in stage.users(made.invars[1], frame)
        if eqn.primitive is made.primitive and eqn.invars[1] is made.invars[1]
    ]
    return all(any(eqn is each for each in replaced) for eqn in same)


def _leads_to_few_channels(eqn: JaxprEqn, frame: Frame) -> bool:
    """Whether what an equation computes only reaches, channel by channel, the image's gradient."""
    if eqn.primitive.name != "select_and_scatter_add":
        return False
    while eqn.primitive.name in ("select_and_scatter_add", "select_n", "mul"):
        found = stage.users(eqn.outvars[0], frame)
        if len(found) != 1:
            return False
        (eqn,) = found
    return _is_to_few(eqn)


def _is_to_few(eqn: JaxprEqn) -> bool:
    """Whether it is a convolution to few channels."""
    is_conv = eqn.primitive.name == "conv_general_dilated"
    return is_conv and shape_of(eqn.outvars[0])[-1] <= conv.FEW_CHANNELS


def _is_one(windows: PoolWindows) -> bool:
    """Whether the windows are of one image."""
    return len(windows.shape) == 4 and windows.shape[0] == 1


def _pooled(values: Sequence[Array]) -> tuple[Array, UInt8[Array, ...]]:
    """The maximum of arrays that are not negative, place by place, and which it is of, the first.

    Nowhere if that is zero, or a NaN. One comparison decides both: XLA computes them at once.
    """
    best, place = max_pool.first_of(values, nan_stays=True)
    return best, relu_pool_gradient.where_positive(best, place)


def _strided(convolution: Convolution, windows: PoolWindows) -> Convolution:
    """The convolution at the windows' places, with all their offsets as outputs."""
    size, kernel = windows.size[1:-1], convolution.kernel
    edges = [
        [(k, n - 1 - k, 0) for k, n in zip(offset, size, strict=True)]
        for offset in itertools.product(*map(range, size))
    ]
    zero = jnp.zeros((), kernel.dtype)
    kernels = [lax.pad(kernel, zero, [*edge, (0, 0, 0), (0, 0, 0)]) for edge in edges]
    padding = [
        (low, count * stride + window - 1 - low - length)
        for (low, _), count, stride, window, length in zip(
            convolution.padding,
            windows.counts[1:-1],
            size,
            convolution.window,
            convolution.inputs.shape[1:-1],
            strict=True,
        )
    ]
    return convolution._replace(
        kernel=jnp.concatenate(kernels, -1), stride=size, padding=tuple(padding)
    )


def _from_offset(
    convolution: Convolution,
    values: Float[Array, "batch *counts features"],
    windows: PoolWindows,
    number: int,
) -> Convolution:
    """The convolution of what lies at one offset of each window, and zeros elsewhere."""
    offset, size = windows.offsets[number][1:-1], windows.size[1:-1]
    padding = [
        (low + k, high + length - k - (count - 1) * stride - 1)
        for (low, high), k, length, count, stride in zip(
            convolution.padding,
            offset,
            windows.shape[1:-1],
            windows.counts[1:-1],
            size,
            strict=True,
        )
    ]
    return convolution._replace(inputs=values, padding=tuple(padding), dilation=size)
