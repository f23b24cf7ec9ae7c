"""The derivative of a maximum over axes: the positions that hold it, found in one array.

JAX differentiates `reduce_max(x)` to a comparison `x == max(x)`. XLA may compute x twice, in the
fusion that takes the maximum and in that which compares, and round otherwise: then no place holds
the maximum, and the gradient is lost. The first place of the maximum, a number, is the same for all
who read it; ties are compared behind a barrier, where XLA keeps to it.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import Atom, Values, bind, shape_of


def extremum_gradient(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for the comparison of an array with its own maximum, or minimum, over some axes."""
    for own, other in ((0, 1), (1, 0)):
        made, axes = _followed(frame, eqn.invars[other])
        if made is None or made.invars[0] is not eqn.invars[own] or not _is_beside(made, axes):
            continue
        if jnp.issubdtype(values[own].dtype, jnp.floating):
            return [_held(made, lax.optimization_barrier(values[own]))]
    return None


def _followed(frame: Frame, atom: Atom) -> tuple[JaxprEqn | None, list[int | None]]:
    """The reduction that an atom is moved from, and for each of its axes the one it had there."""
    made = frame.producer(atom)
    if made is None:
        return None, []
    if made.primitive.name in ("reduce_max", "reduce_min"):
        rank = len(shape_of(made.invars[0]))
        return made, [axis for axis in range(rank) if axis not in made.params["axes"]]
    if made.primitive.name not in ("broadcast_in_dim", "reshape"):
        return None, []
    found, axes = _followed(frame, made.invars[0])
    old, new = shape_of(made.invars[0]), shape_of(made.outvars[0])
    moved: list[int | None] = [None] * len(new)
    if made.primitive.name == "broadcast_in_dim":
        pairs = list(enumerate(made.params["broadcast_dimensions"]))
    else:
        pairs = list(
            zip(*([i for i, n in enumerate(s) if n != 1] for s in (old, new)), strict=False)
        )
    if found is None or any(old[i] not in (1, new[j]) for i, j in pairs):
        return None, []
    for i, j in pairs:
        moved[j] = axes[i] if old[i] == new[j] else None
    return found, moved


def _is_beside(made: JaxprEqn, axes: list[int | None]) -> bool:
    """Whether each axis that was kept lies where it lay in the array, and the others have gone."""
    shape = shape_of(made.invars[0])
    kept = [None if i in made.params["axes"] else i for i in range(len(shape))]
    return len(axes) == len(shape) and all(
        n == 1 or there == own for n, there, own in zip(shape, axes, kept, strict=True)
    )


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
