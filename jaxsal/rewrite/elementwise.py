"""Elementwise operations on blocks of their operands, with their own derivatives.

An elementwise operation makes a block of its result from the same block of its operands. So does a
`custom_jvp` or `custom_vjp` call (`jax.nn.relu`, a user's own activation) whose body and whose
derivative are elementwise: both are evaluated as they stand at the block's shape.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.interpreter import inline
from jaxsal.rewrite.program import (
    CUSTOM_CALLS,
    Atom,
    JaxValue,
    Values,
    bind,
    call_name,
    read,
    scope,
    shape_of,
)

OnBlocks = Callable[[Sequence[JaxValue]], list[Array]]
"""From blocks of an equation's operands (and scalars) to the blocks of its results."""

_OPERATIONS = frozenset(
    {"abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh"}
    | {"cbrt", "ceil", "clamp", "convert_element_type", "copy", "copy_p", "cos", "cosh", "digamma"}
    | {"div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt"}
    | {"integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min"}
    | {"mul", "ne", "neg", "not", "or", "pow", "reduce_precision", "rem", "round", "rsqrt"}
    | {"select_n", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh"}
    | {"xor"}
)
POINTWISE = _OPERATIONS | {
    *("complex", "conj", "imag", "name", "nextafter", "pcast", "pvary", "real"),
    "sharding_constraint",
}
"""Operations whose result at a position is of the operands there alone."""

_INSIDE = _OPERATIONS | {"pcast", "pvary"}
"""What the body of a call may hold besides calls and scalars that are broadcast."""

_FORWARD = "custom_jvp_call"


def on_blocks(eqn: JaxprEqn) -> OnBlocks | None:
    """An equation as a function of blocks; `None` if it is not known to be elementwise."""
    if eqn.primitive.name in _OPERATIONS:
        return lambda blocks: bind(eqn, blocks)
    if eqn.primitive.name not in CUSTOM_CALLS or len(eqn.outvars) != 1:
        return None
    floating = _is_floating(eqn.outvars[0].aval) and any(_is_floating(v.aval) for v in eqn.invars)
    if not floating or not _elementwise(_body(eqn)):
        return None
    try:
        derivative = _derivative(eqn)
    except Exception:  # raised by the user's rule, where no derivative is asked for
        return None
    return _call(eqn) if _elementwise(derivative) else None


def _body(eqn: JaxprEqn) -> ClosedJaxpr:
    return inline(eqn.params["call_jaxpr"])


def _elementwise(closed: ClosedJaxpr) -> bool:
    """Whether a program of arrays of its results' shape, and of scalars, is elementwise."""
    program = closed.jaxpr
    atoms: list[Atom] = [*program.invars, *program.constvars]
    atoms += [atom for eqn in program.eqns for atom in (*eqn.invars, *eqn.outvars)]
    (shape, *others) = _shapes(program.outvars)
    return (
        all(other == shape for other in others)
        and all(other in ((), shape) for other in _shapes(atoms))
        and not any(map(np.ndim, closed.consts))
        and all(map(_is_known, program.eqns))
    )


def _shapes(atoms: Iterable[Atom]) -> list[tuple[int, ...]]:
    return list(map(shape_of, atoms))


def _is_known(eqn: JaxprEqn) -> bool:
    if eqn.primitive.name == "broadcast_in_dim":
        return not eqn.params["broadcast_dimensions"]
    if eqn.primitive.name in CUSTOM_CALLS:
        return _elementwise(_body(eqn))
    return eqn.primitive.name in _INSIDE


def _derivative(eqn: JaxprEqn) -> ClosedJaxpr:
    """A call's own derivative as a program, in its floating inputs.

    From its inputs and their tangents to the result's tangent; of a `custom_vjp` call, from its
    inputs and the result's cotangent to theirs.
    """
    operands = [atom.aval for atom in eqn.invars]
    floating = list(filter(_is_floating, operands))

    def derivative(values: Values, moved: Values) -> Values:
        def call(*floating: JaxValue) -> Values:
            given = iter(floating)
            return bind(eqn, [next(given) if _is_floating(v) else v for v in values])

        at = list(filter(_is_floating, values))
        if eqn.primitive.name == _FORWARD:
            return jax.jvp(call, at, moved)[1]
        return list(jax.vjp(call, *at)[1](moved))

    moved = floating if eqn.primitive.name == _FORWARD else [var.aval for var in eqn.outvars]
    return inline(jax.make_jaxpr(derivative)(operands, moved))


def _call(eqn: JaxprEqn) -> OnBlocks:
    body = _body(eqn)

    def value(*blocks: Array) -> list[Array]:
        return _play(body, blocks)

    def derivative(blocks: Sequence[JaxValue], moved: Sequence[JaxValue]) -> list[Array]:
        program = _derivative(eqn)
        if not _elementwise(program):  # a derivative's; the first was looked at before
            raise ValueError(
                f"score: expected elementwise derivatives of {call_name(eqn)}, whose second one "
                "sees other positions; rewrite=False computes it from the whole image"
            )
        return _play(program, [*blocks, *moved])

    def forward(
        blocks: Sequence[JaxValue], tangents: Sequence[JaxValue]
    ) -> tuple[list[Array], list[Array]]:
        pairs = zip(blocks, tangents, strict=True)
        return call(*blocks), derivative(blocks, [t for block, t in pairs if _is_floating(block)])

    def backward(
        blocks: Sequence[JaxValue], cotangents: Sequence[JaxValue]
    ) -> tuple[Array | None, ...]:
        found = iter(derivative(blocks, cotangents))
        return tuple(next(found) if _is_floating(block) else None for block in blocks)

    call: Any
    if eqn.primitive.name == _FORWARD:
        call = jax.custom_jvp(value)
        call.defjvp(forward)
    else:
        call = jax.custom_vjp(value)
        call.defvjp(lambda *blocks: (call(*blocks), blocks), backward)
    return lambda blocks: call(*blocks)


def _play(closed: ClosedJaxpr, blocks: Sequence[JaxValue]) -> list[Array]:
    """The results of an elementwise program at the shape of `blocks`."""
    shape = np.broadcast_shapes(*map(np.shape, blocks))
    known = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    known |= dict(zip(closed.jaxpr.invars, blocks, strict=True))
    for eqn in closed.jaxpr.eqns:
        values = [read(atom, known) for atom in eqn.invars]
        with scope(eqn), eqn.ctx.manager:
            if eqn.primitive.name in CUSTOM_CALLS:
                outs = _call(eqn)(values)
            elif eqn.primitive.name == "broadcast_in_dim":
                outs = bind(eqn, values, shape=shape)
            else:
                outs = bind(eqn, values)
        known.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom, known) for atom in closed.jaxpr.outvars]


def _is_floating(value: JaxValue) -> bool:
    return jnp.issubdtype(value.dtype, jnp.inexact)
