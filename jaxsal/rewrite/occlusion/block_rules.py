"""Block rules: which block of an operation's result changes with a block of its operands.

A rule gets the equation, its operands (arrays and `BlockUpdate`s), their unchanged values, the
unchanged result and the corner of the window in the image. It returns the block of the result and
its spans, or `None` where the whole result has to be computed.
"""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.elementwise import OnBlocks, on_blocks
from jaxsal.rewrite.occlusion import data_movement
from jaxsal.rewrite.occlusion.blocks import (
    BlockUpdate,
    ChangedBlock,
    Corner,
    Operand,
    Span,
    Spans,
    Windows1D,
    read_block,
    union,
    widened,
    windowed,
)
from jaxsal.rewrite.occlusion.dot_general import dot_general
from jaxsal.rewrite.occlusion.sum_outside import sum_dtype, sum_outside
from jaxsal.rewrite.program import JaxValue, Values, bind

Rule = Callable[[JaxprEqn, list[Operand], Values, Array, Corner], ChangedBlock | None]


def rule_of(eqn: JaxprEqn) -> Rule | None:
    """The rule of an equation, if there is one."""
    known = _RULES.get(eqn.primitive.name)
    apply = None if known else on_blocks(eqn)
    return functools.partial(_elementwise, apply) if apply else known


def _elementwise(
    apply: OnBlocks,
    eqn: JaxprEqn,
    values: list[Operand],
    bases: Values,
    out: Array,
    corner: Corner,
) -> ChangedBlock | None:
    del eqn, bases
    spans = _common(values, out.shape)
    if spans is None:
        return None
    return apply([_block(value, spans, corner) for value in values])[0], spans


def _common(values: list[Operand], shape: tuple[int, ...]) -> Spans | None:
    """Spans that hold those of all local arrays among `values`; `None` if that is everything."""
    moving = [value.spans for value in values if isinstance(value, BlockUpdate)]
    spans = moving[0]
    for other in moving[1:]:
        spans = tuple(union(a, b, n) for a, b, n in zip(spans, other, shape, strict=True))
    return spans if any(spans) else None


def _block(value: Operand, spans: Spans, corner: Corner) -> JaxValue:
    if isinstance(value, BlockUpdate):
        return widened(value, _stretched(spans, value.base.shape), corner)
    if not jnp.ndim(value):
        return value
    return read_block(jnp.asarray(value), _stretched(spans, np.shape(value)), corner)


def _stretched(spans: Spans, shape: tuple[int, ...]) -> Spans:
    """Spans for an operand whose axes of length 1 are broadcast."""
    return tuple(None if n == 1 else span for span, n in zip(spans, shape, strict=True))


def _concatenate(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    axis = eqn.params["dimension"]
    if any(isinstance(v, BlockUpdate) and v.spans[axis] is not None for v in values):
        return data_movement.concatenated(eqn, values, bases, out, corner)
    lengths = tuple(np.shape(bases[0]))
    spans = _common(values, lengths)
    if spans is None:
        return None
    blocks = [_block(value, spans, corner) for value in values]
    return lax.concatenate(blocks, axis), spans


def _broadcast(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    del bases, corner
    (value, *rest), dimensions = values, eqn.params["broadcast_dimensions"]
    if rest:
        return None
    spans: list[Span | None] = [None] * out.ndim
    shape = list(out.shape)
    for axis, place in enumerate(dimensions):
        spans[place] = value.spans[axis]
        shape[place] = value.block.shape[axis] if value.spans[axis] else out.shape[place]
    return lax.broadcast_in_dim(value.block, shape, dimensions), tuple(spans)


def _transposed(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    del bases, out, corner
    (value,), order = values, eqn.params["permutation"]
    return lax.transpose(value.block, order), tuple(value.spans[axis] for axis in order)


def _reduced(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    """A reduction along axes that the block has the whole of."""
    del bases, out, corner
    (value,), axes = values, tuple(map(int, eqn.params["axes"]))
    if any(value.spans[axis] is not None for axis in axes):
        return None
    spans = tuple(span for axis, span in enumerate(value.spans) if axis not in axes)
    return bind(eqn, [value.block])[0], spans


def _summed(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    """The sum of the block, and of what lies outside it where it is a part of what is summed."""
    found = _reduced(eqn, values, bases, out, corner)
    if found is not None:  # all that is summed is in the block
        return found
    (value,), axes = values, tuple(map(int, eqn.params["axes"]))
    spans = tuple(span for axis, span in enumerate(value.spans) if axis not in axes)
    inside = jnp.sum(value.block.astype(sum_dtype(out.dtype)), axes)
    return (inside + sum_outside(value.base, axes, value.spans, corner)).astype(out.dtype), spans


def _convolved(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    (value, kernel), params = values, eqn.params
    numbers = params["dimension_numbers"]
    batch, features, *space = numbers.lhs_spec
    if params["batch_group_count"] != 1 or not isinstance(value, BlockUpdate):
        return None
    if isinstance(kernel, BlockUpdate) or value.spans[features] is not None:
        return None
    value = _dilated(value, dict(zip(space, params["lhs_dilation"], strict=True)))
    windows = [Windows1D()] * value.base.ndim
    counts = list(value.base.shape)
    for k, axis in enumerate(space):
        windows[axis] = Windows1D(
            bases[1].shape[numbers.rhs_spec[2 + k]],
            params["rhs_dilation"][k],
            params["window_strides"][k],
            tuple(params["padding"][k]),
        )
        counts[axis] = out.shape[numbers.out_spec[2 + k]]

    def apply(block: Array) -> Array:
        pads, ones = ((0, 0),) * len(space), (1,) * len(space)
        return bind(eqn, [block, kernel], padding=pads, lhs_dilation=ones)[0]

    made, found = windowed(value, counts, windows, 0.0, apply, corner)
    spans: list[Span | None] = [None] * out.ndim
    for axis, place in zip(
        (batch, *space), (numbers.out_spec[0], *numbers.out_spec[2:]), strict=True
    ):
        spans[place] = found[axis]
    return made, tuple(spans)


def _dilated(value: BlockUpdate, by: dict[int, int]) -> BlockUpdate:
    """With zeros between the elements along some axes, as before a transposed convolution."""
    if all(dilation == 1 for dilation in by.values()):
        return value
    gaps = [(0, 0, by.get(axis, 1) - 1) for axis in range(value.base.ndim)]
    return data_movement.grow(value, jnp.zeros((), value.base.dtype), gaps)


def _pooled(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    del bases
    (value,), params = values, eqn.params
    if not jnp.issubdtype(value.base.dtype, jnp.floating):  # the padding has another value there
        return None
    if any(d != 1 for d in params["base_dilation"]):
        return None
    names = ("window_dimensions", "window_dilation", "window_strides", "padding")
    windows = [Windows1D(*each) for each in zip(*(params[n] for n in names), strict=True)]
    fill = _NEUTRAL[eqn.primitive.name]

    def apply(block: Array) -> Array:
        return bind(eqn, [block], padding=((0, 0),) * block.ndim)[0]

    return windowed(value, out.shape, windows, fill, apply, corner)


_NEUTRAL = {
    "reduce_window_max": -math.inf,
    "reduce_window_min": math.inf,
    "reduce_window_sum": 0.0,
}

_RULES: dict[str, Rule] = {
    "concatenate": _concatenate,
    "pad": data_movement.padded,
    "slice": data_movement.sliced,
    "rev": data_movement.reversed_axes,
    "reshape": data_movement.reshaped,
    "squeeze": data_movement.reshaped,
    "broadcast_in_dim": _broadcast,
    "transpose": _transposed,
    "reduce_sum": _summed,
    "conv_general_dilated": _convolved,
    "dot_general": dot_general,
}
_RULES |= dict.fromkeys(_NEUTRAL, _pooled)
_RULES |= dict.fromkeys(
    ("reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin"),
    _reduced,
)
