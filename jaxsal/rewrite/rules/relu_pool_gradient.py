"""The derivative of a max-pool of ReLUs, from less than either derivative keeps.

JAX differentiates `relu(x)` to a choice by `x > 0`, and a max-pool to a search for each window's
maximum: the backward pass reads x and relu(x) once more. But a window's gradient goes to one
position, and there `x > 0` holds exactly where the maximum is positive. So one byte a window is
kept: the offset of the maximum, or none.

Equal to the bit, at ties too. Faster where memory traffic limits: on a GPU.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.extend.core import JaxprEqn, Literal, Var
from jaxtyping import Array, Float, Int, UInt8

from jaxsal.rewrite.interpreter import Frame, inline
from jaxsal.rewrite.program import CASTS, Atom, Values, is_zero
from jaxsal.rewrite.rules import max_pool


class ReluPoolCotangent(NamedTuple):
    """What comes back from a max-pool of `relu(x)`.

    Attributes:
        cotangent: of the windows.
        operand: `relu(x)`.
        windows: the pool's.
    """

    cotangent: Atom
    operand: Atom
    windows: max_pool.PoolWindows


def relu_pool_gradient(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for the choice by `x > 0` of what comes back from a max-pool of `relu(x)`.

    The cotangent of a window goes to the place of the first maximum if that is positive, else
    nowhere. The place is kept from the forward pass as a byte a window.
    """
    del values
    found = relu_pool_cotangent(eqn, frame)
    if found is None:
        return None
    place = kept_place(found.operand, found.windows, frame)
    return [max_pool.scatter_to(frame.read(found.cotangent), place, found.windows)]


def relu_pool_cotangent(eqn: JaxprEqn, frame: Frame) -> ReluPoolCotangent | None:
    """What such a choice is of; `None` where it is another."""
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
    windows = max_pool.windows_of(scattered, frame.read(operand))
    return None if windows is None else ReluPoolCotangent(cotangent, operand, windows)


def kept_place(operand: Atom, windows: max_pool.PoolWindows, frame: Frame) -> UInt8[Array, "..."]:
    """The place of each window's first maximum, found once; nowhere if that is not positive."""
    key = "place", operand, windows
    if key not in frame.kept:
        # Without the barrier XLA recomputes the offset from the activation.
        frame.kept[key] = lax.optimization_barrier(positive_place(frame.read(operand), windows))
    return frame.kept[key]


def keep_place(
    place: UInt8[Array, "..."], operand: Atom, windows: max_pool.PoolWindows, frame: Frame
) -> None:
    """Leaves what `kept_place` finds."""
    frame.kept["place", operand, windows] = place


def place_if_kept(
    operand: Atom, windows: max_pool.PoolWindows, frame: Frame
) -> UInt8[Array, "..."] | None:
    """What `keep_place` left, if it did."""
    return frame.kept.get(("place", operand, windows))


def positive_place(
    activation: Float[Array, "..."], windows: max_pool.PoolWindows
) -> UInt8[Array, "..."]:
    """The place of each window's first maximum; nowhere if that is not positive."""
    return where_positive(*max_pool.first_maximum(activation, windows))


def where_positive(best: Float[Array, "..."], place: Int[Array, "..."]) -> UInt8[Array, "..."]:
    """The place as a byte where the maximum is positive, else nowhere."""
    return jnp.where(best > 0, place, max_pool.NOWHERE).astype(jnp.uint8)


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
