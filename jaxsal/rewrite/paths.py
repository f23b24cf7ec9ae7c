"""From what a program's outputs are reached: by any path, or by one that a derivative passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

from jaxsal.rewrite.cost import products
from jaxsal.rewrite.flow import Flow, links
from jaxsal.rewrite.program import bodies, equations

FLAT = frozenset({"stop_gradient", "floor", "ceil", "round", "sign", "nextafter"})
"""Operations between floating values whose derivative is zero."""


def differentiable(closed: ClosedJaxpr) -> frozenset[Var]:
    """The variables from which a derivative passes to the outputs.

    It passes between floating values; what a branch or a loop's end is decided by bears on nothing.
    A call with a derivative of its own passes it, whatever its body does.
    """
    before: dict[Var, list[Any]] = {}
    for eqn in equations(closed.jaxpr):
        pairs = list(links(eqn))
        if not pairs and passes(eqn):
            pairs = [(source, target) for target in eqn.outvars for source in eqn.invars]
        for source, target in pairs:
            if _is_floating(source) and _is_floating(target):
                before.setdefault(target, []).append(source)
    found: set[Var] = set()
    todo: list[Any] = [var for var in closed.jaxpr.outvars if _is_floating(var)]
    while todo:
        if (var := todo.pop()) not in found:
            found.add(var)
            todo += before.get(var, [])
    return frozenset(found)


def passes(eqn: JaxprEqn) -> bool:
    """Whether an equation without a body has a derivative that is not zero everywhere."""
    return eqn.primitive.name not in FLAT and all(
        any(_is_floating(v, literals=True) for v in atoms) for atoms in (eqn.invars, eqn.outvars)
    )


def obstacles(closed: ClosedJaxpr, start: Var) -> list[str]:
    """The operations on the way from `start` to the outputs that let no derivative through."""
    flow = Flow(closed)
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


def weights(closed: ClosedJaxpr) -> int:
    """How many numbers a program's convolutions and products find in its constants, at most.

    None, where each of these reads its inputs alone, or numbers made in the program.
    """
    flow = Flow(closed)
    fixed = any(not flow.depends(v) for eqn in products(closed.jaxpr) for v in eqn.invars)
    found = [
        c
        for c in _constants(closed)
        if jnp.ndim(c) > 1 and jnp.issubdtype(jnp.result_type(c), jnp.floating)
    ]
    return sum(int(jnp.size(c)) for c in found) if fixed else 0


def _constants(closed: ClosedJaxpr) -> Iterator[Any]:
    yield from closed.consts
    for eqn in equations(closed.jaxpr):
        for body in bodies(eqn):
            yield from getattr(body, "consts", ())


def _is_floating(atom: Any, *, literals: bool = False) -> bool:
    if isinstance(atom, Literal) and not literals:
        return False
    dtype = getattr(atom.aval, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jnp.inexact)
