"""How far a changed block reaches: a rule for each operation, from its operands' blocks to its own.

A rule gets the equation, its operands (arrays and `Local`s), their unchanged values, the unchanged
result and the corner of the window in the image. It returns the block of the result and its spans,
or `None` where the whole result has to be computed.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.elementwise import OnBlocks, on_blocks
from jaxsal.rewrite.local import Corner, Local, Span, Spans, Windows, cut, union, widened, windowed
from jaxsal.rewrite.outside import sum_dtype, sum_outside
from jaxsal.rewrite.program import bind

Rule = Callable[[JaxprEqn, list[Any], list[Any], Array, Corner], "tuple[Array, Spans] | None"]


def rule_of(eqn: JaxprEqn) -> Rule | None:
    """The rule of an equation, if there is one."""
    known = _RULES.get(eqn.primitive.name)
    apply = None if known else on_blocks(eqn)
    return functools.partial(_elementwise, apply) if apply else known


def _elementwise(
    apply: OnBlocks,
    eqn: JaxprEqn,
    values: list[Any],
    bases: list[Any],
    out: Array,
    corner: Corner,
) -> tuple[Array, Spans] | None:
    del eqn, bases
    spans = _common(values, out.shape)
    if spans is None:
        return None
    return apply([_block(value, spans, corner) for value in values])[0], spans


def _common(values: list[Any], shape: tuple[int, ...]) -> Spans | None:
    """Spans that hold those of all local arrays among `values`; `None` if that is everything."""
    moving = [value.spans for value in values if isinstance(value, Local)]
    spans = moving[0]
    for other in moving[1:]:
        spans = tuple(union(a, b, n) for a, b, n in zip(spans, other, shape, strict=True))
    return spans if any(spans) else None


def _block(value: Any, spans: Spans, corner: Corner) -> Any:
    if isinstance(value, Local):
        return widened(value, _stretched(spans, value.base.shape), corner)
    if not jnp.ndim(value):
        return value
    return cut(jnp.asarray(value), _stretched(spans, np.shape(value)), corner)


def _stretched(spans: Spans, shape: tuple[int, ...]) -> Spans:
    """Spans for an operand whose axes of length 1 are broadcast."""
    return tuple(None if n == 1 else span for span, n in zip(spans, shape, strict=True))


def _concatenate(
    eqn: JaxprEqn, values: list[Any], bases: list[Any], out: Array, corner: Corner
) -> tuple[Array, Spans] | None:
    axis = eqn.params["dimension"]
    if any(isinstance(v, Local) and v.spans[axis] is not None for v in values):
        return None
    lengths = tuple(np.shape(bases[0]))
    spans = _common(values, lengths)
    if spans is None:
        return None
    blocks = [_block(value, spans, corner) for value in values]
    return lax.concatenate(blocks, axis), spans


def _moved(
    eqn: JaxprEqn, values: list[Any], bases: list[Any], out: Array, corner: Corner
) -> tuple[Array, Spans] | None:
    """`broadcast_in_dim`, `squeeze`, `transpose` and reshapes that only add or drop axes of 1."""
    del bases, corner
    (value, *rest) = values
    places = _places(eqn, value.base.shape, out.shape)
    if places is None or rest:
        return None
    spans: list[Span | None] = [None] * out.ndim
    shape = list(out.shape)
    for axis, place in places.items():
        spans[place] = value.spans[axis]
        shape[place] = value.block.shape[axis] if value.spans[axis] else out.shape[place]
    if eqn.primitive.name == "transpose":
        return lax.transpose(value.block, eqn.params["permutation"]), tuple(spans)
    if eqn.primitive.name == "broadcast_in_dim":
        dimensions = eqn.params["broadcast_dimensions"]
        return lax.broadcast_in_dim(value.block, shape, dimensions), tuple(spans)
    return value.block.reshape(shape), tuple(spans)


def _places(eqn: JaxprEqn, old: tuple[int, ...], new: tuple[int, ...]) -> dict[int, int] | None:
    """From each axis of an operand (longer than 1) to its place in the result."""
    if eqn.primitive.name == "transpose":
        return {axis: place for place, axis in enumerate(eqn.params["permutation"])}
    if eqn.primitive.name == "broadcast_in_dim":
        return dict(enumerate(eqn.params["broadcast_dimensions"]))
    if eqn.primitive.name == "reshape" and eqn.params["dimensions"] is not None:  # it transposes
        return None
    before, after = ([i for i, n in enumerate(shape) if n > 1] for shape in (old, new))
    if [old[i] for i in before] != [new[i] for i in after]:
        return None
    return dict(zip(before, after, strict=True))


def _summed(
    eqn: JaxprEqn, values: list[Any], bases: list[Any], out: Array, corner: Corner
) -> tuple[Array, Spans] | None:
    """The sum of the block, and of what lies outside it where it is a part of what is summed."""
    del bases
    (value,), axes = values, tuple(map(int, eqn.params["axes"]))
    spans = tuple(span for axis, span in enumerate(value.spans) if axis not in axes)
    if all(value.spans[axis] is None for axis in axes):  # all that is summed is in the block
        return bind(eqn, [value.block])[0], spans
    inside = jnp.sum(value.block.astype(sum_dtype(out.dtype)), axes)
    return (inside + sum_outside(value.base, axes, value.spans, corner)).astype(out.dtype), spans


def _convolved(
    eqn: JaxprEqn, values: list[Any], bases: list[Any], out: Array, corner: Corner
) -> tuple[Array, Spans] | None:
    (value, kernel), params = values, eqn.params
    numbers = params["dimension_numbers"]
    batch, features, *space = numbers.lhs_spec
    plain = params["batch_group_count"] == 1 and all(d == 1 for d in params["lhs_dilation"])
    if not plain or not isinstance(value, Local) or isinstance(kernel, Local):
        return None
    if value.spans[batch] is not None or value.spans[features] is not None:
        return None
    windows = [Windows()] * value.base.ndim
    counts = list(value.base.shape)
    for k, axis in enumerate(space):
        windows[axis] = Windows(
            bases[1].shape[numbers.rhs_spec[2 + k]],
            params["rhs_dilation"][k],
            params["window_strides"][k],
            tuple(params["padding"][k]),
        )
        counts[axis] = out.shape[numbers.out_spec[2 + k]]

    def apply(block: Array) -> Array:
        return bind(eqn, [block, kernel], padding=((0, 0),) * len(space))[0]

    found = windowed(value, counts, windows, 0.0, apply, corner)
    if found is None:
        return None
    spans: list[Span | None] = [None] * out.ndim
    for axis, place in zip(space, numbers.out_spec[2:], strict=True):
        spans[place] = found[1][axis]
    return found[0], tuple(spans)


def _pooled(
    eqn: JaxprEqn, values: list[Any], bases: list[Any], out: Array, corner: Corner
) -> tuple[Array, Spans] | None:
    del bases
    (value,), params = values, eqn.params
    if not jnp.issubdtype(value.base.dtype, jnp.floating):  # the padding has another value there
        return None
    if any(d != 1 for d in params["base_dilation"]):
        return None
    names = ("window_dimensions", "window_dilation", "window_strides", "padding")
    windows = [Windows(*each) for each in zip(*(params[n] for n in names), strict=True)]
    fill = -math.inf if eqn.primitive.name == "reduce_window_max" else 0.0

    def apply(block: Array) -> Array:
        return bind(eqn, [block], padding=((0, 0),) * block.ndim)[0]

    return windowed(value, out.shape, windows, fill, apply, corner)


_RULES: dict[str, Rule] = {
    "concatenate": _concatenate,
    "broadcast_in_dim": _moved,
    "reshape": _moved,
    "squeeze": _moved,
    "transpose": _moved,
    "reduce_sum": _summed,
    "conv_general_dilated": _convolved,
    "reduce_window_max": _pooled,
    "reduce_window_sum": _pooled,
}
