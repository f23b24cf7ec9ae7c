"""Operations of a program that no derivative passes, and weights that it holds as constants."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

from jaxsal.rewrite.cost import products
from jaxsal.rewrite.dataflow import FLAT, Dataflow, is_floating
from jaxsal.rewrite.program import JaxValue, bodies, equations


def passes(eqn: JaxprEqn) -> bool:
    """Whether an equation without a body has a derivative that is not zero everywhere."""
    return eqn.primitive.name not in FLAT and all(
        any(map(is_floating, atoms)) for atoms in (eqn.invars, eqn.outvars)
    )


def non_differentiable(closed: ClosedJaxpr, start: Var) -> list[str]:
    """The operations on the way from `start` to the outputs that let no derivative through."""
    flow = Dataflow(closed)
    after = flow.reached([start])
    found = [
        eqn.primitive.name
        for eqn in equations(closed.jaxpr)
        if not bodies(eqn)
        and any(not isinstance(v, Literal) and v in after for v in eqn.invars)
        and any(out in flow.live for out in eqn.outvars)
        and not passes(eqn)
    ]
    return list(dict.fromkeys(found))


def constant_weights(closed: ClosedJaxpr) -> int:
    """How many numbers a program's convolutions and products find in its constants, at most.

    None, where each of these reads its inputs alone, or numbers made in the program.
    """
    flow = Dataflow(closed)
    fixed = any(not flow.depends(v) for eqn in products(closed.jaxpr) for v in eqn.invars)
    found = [
        c
        for c in _constants(closed)
        if jnp.ndim(c) > 1 and jnp.issubdtype(jnp.result_type(c), jnp.floating)
    ]
    return sum(int(jnp.size(c)) for c in found) if fixed else 0


def _constants(closed: ClosedJaxpr) -> Iterator[JaxValue]:
    yield from closed.consts
    for eqn in equations(closed.jaxpr):
        for body in bodies(eqn):
            yield from getattr(body, "consts", ())
