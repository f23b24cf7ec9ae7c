"""The derivative of a max-pool of ReLUs, from less than either derivative keeps.

JAX differentiates `relu(x)` to a choice by `x > 0`, and a max-pool to a search for each window's
maximum: the backward pass reads x and relu(x) once more. But a window's gradient goes to one
position, and there `x > 0` holds exactly where the maximum is positive. So one byte a window is
kept: the offset of the maximum, or none.

Equal to the bit, at ties too. Faster where memory traffic limits: on a GPU.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn, Literal, Var
from jaxtyping import Array

from jaxsal.rewrite.interpreter import Frame, inline
from jaxsal.rewrite.program import CASTS, Atom, Values, is_zero
from jaxsal.rewrite.rules import max_pool

_NOWHERE = 255
"""No offset of a window: the gradient of that window goes nowhere."""


def relu_pool_gradient(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for the choice by `x > 0` of what comes back from a max-pool of `relu(x)`.

    The cotangent of a window goes to the place of the first maximum if that is positive, else
    nowhere. The place is kept from the forward pass as a byte a window.
    """
    scattered, chosen = frame.producer(eqn.invars[-1]), frame.producer(eqn.invars[0])
    if len(eqn.invars) != 3 or scattered is None or chosen is None:
        return None
    if scattered.primitive.name != "select_and_scatter_add" or chosen.primitive.name != "gt":
        return None
    cotangent, operand = scattered.invars
    relu = frame.producer(operand)
    if relu is None or relu_input(relu) is not chosen.invars[0]:
        return None
    if not all(is_zero(each.invars[1], frame.producer) for each in (chosen, eqn)):
        return None
    activation = frame.read(operand)
    windows = max_pool.windows_of(scattered, activation)
    if windows is None:
        return None
    best, place = max_pool.first_maximum(activation, windows)
    place = jnp.where(best > 0, place, _NOWHERE).astype(jnp.uint8)
    # Without the barrier XLA recomputes the offset from the activation.
    place = lax.optimization_barrier(place)
    return [max_pool.scatter_to(frame.read(cotangent), place, windows)]


def relu_input(eqn: JaxprEqn) -> Atom | None:
    """The x of a call that computes `max(x, 0)`, whatever its derivative; `None` if it does not.

    It is found by its use: a call may have other inputs too, and cast them. Casts beside x are
    followed where they change neither values nor shape (under `shard_map` the zero, or x, is cast
    to the other's mesh axes).
    """
    if eqn.primitive.name != "custom_jvp_call" or len(eqn.outvars) != 1:
        return None
    body = inline(eqn.params["call_jaxpr"]).jaxpr
    made = {var: each for each in body.eqns for var in each.outvars}
    out = _uncast(body.outvars[0], made)
    top = made.get(out) if isinstance(out, Var) else None
    if top is None or top.primitive.name != "max":
        return None
    places = {var: place for place, var in enumerate(body.invars)}
    for x, zero in (top.invars, top.invars[::-1]):
        source = _uncast(x, made)
        if is_zero(zero, made.get) and isinstance(source, Var) and source in places:
            return eqn.invars[places[source]]
    return None


def _uncast(atom: Atom, made: dict[Var, JaxprEqn]) -> Atom:
    """What an atom was before casts that left its values and its shape."""
    eqn = None if isinstance(atom, Literal) else made.get(atom)
    if eqn is None or eqn.primitive.name not in CASTS:
        return atom
    old, new = eqn.invars[0].aval, atom.aval
    same = (old.shape, old.dtype) == (new.shape, new.dtype)  # type: ignore[attr-defined]
    return _uncast(eqn.invars[0], made) if same else atom
