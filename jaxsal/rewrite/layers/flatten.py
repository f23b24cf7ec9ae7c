"""A program as one straight list of equations: calls in place, loops unrolled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Primitive, primitives

from jaxsal.rewrite.interpreter import Frame, Rule, evaluate
from jaxsal.rewrite.program import Values, scan_parts


def flatten(
    closed: ClosedJaxpr,
    unroll: Callable[[JaxprEqn], bool],
    more: Mapping[Primitive | str, Rule] | None = None,
) -> ClosedJaxpr:
    """The same program with `jit` and `remat` calls in place and some `scan`s unrolled.

    The equations of turn i of a `scan` stand in a named scope `[i]`.

    Args:
        closed: a program.
        unroll: which `scan` equations to unroll.
        more: rules for other equations.
    """
    rules: dict[Primitive | str, Rule] = dict(more or {})

    def remat(eqn: JaxprEqn, values: Values, frame: Frame) -> Values:
        del frame
        return evaluate(eqn.params["jaxpr"], rules, *values)

    def scan(eqn: JaxprEqn, values: Values, frame: Frame) -> Values | None:
        del frame
        return _turns(eqn, values, rules) if unroll(eqn) else None

    rules.update({primitives.remat_p: remat, primitives.scan_p: scan})
    return jax.make_jaxpr(lambda *xs: evaluate(closed, rules, *xs))(*closed.in_avals)


def _turns(eqn: JaxprEqn, values: Values, rules: dict[Primitive | str, Rule]) -> Values:
    constants, carry, sequences = scan_parts(eqn, values)
    order = range(eqn.params["length"])
    rows: dict[int, list[Any]] = {}
    for i in reversed(order) if eqn.params["reverse"] else order:
        xs = [jax.lax.index_in_dim(x, i, keepdims=False) for x in sequences]
        with jax.named_scope(f"[{i}]"):
            outs = evaluate(eqn.params["jaxpr"], rules, *constants, *carry, *xs)
        carry, rows[i] = outs[: len(carry)], outs[len(carry) :]
    columns = zip(*(rows[i] for i in order), strict=True)
    return [*carry, *(jnp.stack(column) for column in columns)]
