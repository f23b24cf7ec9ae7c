"""The block rule for matrix products (`dot_general`)."""

from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.occlusion.blocks import (
    BlockUpdate,
    ChangedBlock,
    Corner,
    Operand,
    Spans,
    read_block,
    union,
    widened,
)
from jaxsal.rewrite.program import Values, bind


def dot_general(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    """Block rule for `dot_general`: changed rows of one operand, batch entries of both.

    Where both operands change, any row of one meets any column of the other, so only the batch
    axes keep their spans.
    """
    del out
    contracted, batch = eqn.params["dimension_numbers"]
    both = all(isinstance(value, BlockUpdate) for value in values)
    own = [v.spans if isinstance(v, BlockUpdate) else (None,) * jnp.ndim(v) for v in values]
    if any(s[axis] is not None for s, axes in zip(own, contracted, strict=True) for axis in axes):
        return None
    lengths = jnp.shape(bases[0])
    common = tuple(
        union(own[0][a], own[1][b], lengths[a]) if both else own[0][a] or own[1][b]
        for a, b in zip(*batch, strict=True)
    )
    blocks: list[Array] = []
    free: tuple[Any, ...] = ()
    for value, spans, axes, inner in zip(values, own, batch, contracted, strict=True):
        at = {axis: None if both else span for axis, span in enumerate(spans)}
        at |= dict(zip(axes, common, strict=True))
        blocks.append(_block(value, tuple(at.values()), corner))
        free += tuple(span for axis, span in at.items() if axis not in (*axes, *inner))
    return bind(eqn, blocks)[0], (*common, *free)


def _block(value: Operand, spans: Spans, corner: Corner) -> Array:
    if isinstance(value, BlockUpdate):
        return widened(value, spans, corner)
    array = jnp.asarray(value)
    return read_block(array, spans, corner) if any(spans) else array
