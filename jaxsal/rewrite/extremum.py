"""The derivative of a maximum over axes: the places that hold it, found in one array.

JAX differentiates `reduce_max(x)` to a comparison `x == max(x)`. XLA may compute x twice, in the
fusion that takes the maximum and in that which compares, and round otherwise: then no place holds
the maximum, and the gradient is lost. The first place of the maximum, a number, is the same for all
who read it; ties are compared behind a barrier, where XLA keeps to it.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import bind

_MOVES = ("broadcast_in_dim", "reshape")


def places(eqn: JaxprEqn, values: list[Any], frame: Frame) -> list[Array] | None:
    """Rule for the comparison of an array with its own maximum, or minimum, over some axes."""
    for own, other in ((0, 1), (1, 0)):
        made = frame.producer(eqn.invars[other])
        while made is not None and made.primitive.name in _MOVES:
            made = frame.producer(made.invars[0])
        if made is None or made.primitive.name not in ("reduce_max", "reduce_min"):
            continue
        if made.invars[0] is eqn.invars[own] and jnp.issubdtype(values[own].dtype, jnp.floating):
            return [_held(made, lax.optimization_barrier(values[own]))]
    return None


def _held(made: JaxprEqn, x: Array) -> Array:
    """Where `x` is its extremum: at the first place that has it, and at all that are equal."""
    axes = made.params["axes"]
    extremum = jnp.expand_dims(bind(made, [x])[0], axes)
    rows = jnp.moveaxis(x, axes, range(-len(axes), 0))
    flat = rows.reshape(*rows.shape[: x.ndim - len(axes)], -1)
    find = lax.argmax if made.primitive.name == "reduce_max" else lax.argmin
    first = jnp.expand_dims(find(flat, flat.ndim - 1, jnp.int32), -1)
    here = lax.broadcasted_iota(jnp.int32, flat.shape, flat.ndim - 1) == first
    here = jnp.moveaxis(here.reshape(rows.shape), range(-len(axes), 0), axes)
    # A NaN is equal to nothing.
    return (x == extremum) | (here & (extremum == extremum))
