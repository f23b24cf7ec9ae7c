"""Maxima and minima, over windows, over axes or of two values: which element is the one."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxsal.rewrite.relevance.operations import Operation
from jaxsal.rewrite.relevance.walk import Known, transposed


def winner(operation: Operation, known: Known, given: Array) -> Sequence[Array]:
    """All that is given goes to the largest (or smallest) element, to the first of equals."""
    name = operation.name
    if name in ("reduce_max", "reduce_min"):
        return [_over_axes(known[operation.inputs[0]], operation, given)]
    if name in ("max", "min"):
        one, other = (known[var] for var in operation.inputs)
        first = one >= other if name == "max" else one <= other
        none = jnp.zeros_like(given)
        return [jnp.where(first, given, none), jnp.where(first, none, given)]
    return transposed(operation, known, given)  # over windows, XLA's is the first


def _over_axes(x: Array, operation: Operation, given: Array) -> Array:
    axes = operation.equations[0].params["axes"]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    lined = jnp.transpose(x, [*kept, *axes]).reshape(*(x.shape[axis] for axis in kept), -1)
    place = jnp.argmax(lined if operation.name == "reduce_max" else -lined, axis=-1)
    chosen = lax.broadcasted_iota(place.dtype, lined.shape, lined.ndim - 1) == place[..., None]
    shares = jnp.where(chosen, given[..., None], jnp.zeros((), given.dtype))
    moved = shares.reshape([x.shape[axis] for axis in (*kept, *axes)])
    return jnp.transpose(moved, [[*kept, *axes].index(axis) for axis in range(x.ndim)])
