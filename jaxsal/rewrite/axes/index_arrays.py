"""Index arrays and resize matrices, recognised by how they are computed from `iota`."""

from __future__ import annotations

from collections.abc import Container

from jax.extend.core import JaxprEqn, Literal, Var

_SHIFTS = frozenset({"add", "max", "min", "sub", "mul", "div", "floor", "ceil", "round", "clamp"})
_SHAPES = frozenset({"broadcast_in_dim", "convert_element_type", "reshape", "squeeze", "copy"})
_PLAIN = frozenset(
    {"abs", "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "select_n", "sign"}
    | {"reduce_sum", "integer_pow", "slice", "transpose", "square"}
)


def is_increasing(eqn: JaxprEqn, rising: Container[Var]) -> bool:
    """Whether the equation makes numbers that never fall, from `iota` or from `rising` ones."""
    name = eqn.primitive.name
    if name == "iota":
        return len(eqn.params["shape"]) == 1
    if name == "select_n":  # numpy's indices from the end
        return all(not isinstance(v, Literal) and v in rising for v in eqn.invars[1:])
    if name not in _SHIFTS | _SHAPES or not eqn.invars:
        return False
    at = 1 if name == "clamp" else 0
    rest = [v for i, v in enumerate(eqn.invars) if i != at]
    if name in ("add", "mul", "max", "min") and isinstance(eqn.invars[0], Literal):
        at, rest = 1, [eqn.invars[0]]
    start, scalars = eqn.invars[at], [v.val for v in rest if isinstance(v, Literal)]
    positive = name not in ("mul", "div") or all(v > 0 for v in scalars)
    known = not isinstance(start, Literal) and len(scalars) == len(rest)
    return known and start in rising and positive


def is_plain(eqn: JaxprEqn, plain: Container[Var], small: Container[Var]) -> bool:
    """Whether the equation makes an array by simple arithmetic of positions, as a resize does.

    It reads literals, `small` constants, and at least one `plain` array.
    """
    if eqn.primitive.name == "iota":
        return True
    arrays = [v for v in eqn.invars if not isinstance(v, Literal)]
    known = all(v in plain or v in small for v in arrays)
    starts = any(v in plain for v in arrays)
    return known and starts and eqn.primitive.name in _SHIFTS | _SHAPES | _PLAIN


def is_small(eqn: JaxprEqn, small: Container[Var]) -> bool:
    """Whether the equation makes a number, a row or copies of a number, from such constants."""
    rank = max((len(v.aval.shape) for v in eqn.outvars), default=0)  # type: ignore[attr-defined]
    scalars = all(v.aval.shape == () for v in eqn.invars)  # type: ignore[attr-defined]
    copied = eqn.primitive.name == "broadcast_in_dim" and scalars
    known = all(isinstance(v, Literal) or v in small for v in eqn.invars)
    return known and (rank < 2 or copied)
