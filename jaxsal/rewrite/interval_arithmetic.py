"""Interval arithmetic: bounds of a program's outputs that hold whatever its inputs are.

Bounds are followed through elementwise operations, sums and data movement; a quotient of a part and
its whole (a softmax, however it is written) lies between 0 and 1. Any other operation may give any
number. NaN and rounding are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from jaxsal.rewrite.program import Atom, JaxValue, open_jaxpr, shape_of

Bounds = tuple[float, float]

ANY: Bounds = (-math.inf, math.inf)


class Value:
    """A value of a program: the operation and the values that it is made of, its shape and bounds.

    Attributes:
        name, inputs, eqn: of the operation; without an equation, of what none made.
    """

    __slots__ = ("bounds", "eqn", "inputs", "name", "shape")

    def __init__(
        self,
        name: str,
        inputs: Sequence[Value],
        bounds: Bounds,
        shape: Sequence[int] = (),
        eqn: JaxprEqn | None = None,
    ) -> None:
        self.name, self.inputs, self.bounds = name, inputs, bounds
        self.shape, self.eqn = tuple(shape), eqn


def bounds(closed: ClosedJaxpr) -> list[Bounds]:
    """The least and the largest number that each output can be; infinite where unknown."""
    constants = [_constant(value) for value in closed.consts]
    inputs = [Value("input", (), ANY, shape_of(var)) for var in closed.jaxpr.invars]
    return [value.bounds for value in _outputs(closed.jaxpr, constants, inputs)]


def _outputs(jaxpr: Jaxpr, constants: Sequence[Value], inputs: Sequence[Value]) -> list[Value]:
    known: dict[Var, Value] = dict(zip(jaxpr.constvars, constants, strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def value(atom: Atom) -> Value:
        return _constant(atom.val) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, _made(eqn, [value(x) for x in eqn.invars]), strict=True))
    return [value(out) for out in jaxpr.outvars]


def _made(eqn: JaxprEqn, inputs: list[Value]) -> list[Value]:
    """What an equation makes: of a call, what its body does."""
    body = next((eqn.params[name] for name in _BODIES if name in eqn.params), None)
    if body is not None and len(open_jaxpr(body).invars) == len(inputs):
        constants = [_constant(value) for value in getattr(body, "consts", ())]
        if len(open_jaxpr(body).constvars) == len(constants) and eqn.primitive.name in _CALLS:
            return _outputs(open_jaxpr(body), constants, inputs)
    name = eqn.primitive.name
    rule = _RULES.get(name)
    found = ANY if rule is None else rule(eqn, inputs)
    return [Value(name, inputs, found, shape_of(out), eqn) for out in eqn.outvars]


_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"})
_CALLS |= {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}


def _constant(value: JaxValue) -> Value:
    """A number; an array is looked into no further than its only element."""
    number = ANY
    if np.size(value) == 1 and np.asarray(value).dtype.kind in "fiu":
        number = (float(np.reshape(value, ())),) * 2
    return Value("constant", (), number, np.shape(value))


Rule = Callable[[JaxprEqn, list[Value]], Bounds]


def _same(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    del eqn
    return inputs[0].bounds


def _any_of(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    """One of the inputs, elementwise."""
    del eqn
    return _hull(inputs)


def _selected(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    """One of the cases; where NaN selects the case (`x != x`), the case for numbers."""
    del eqn
    which, *cases = inputs
    for_nan = which.name == "ne" and which.inputs[0] is which.inputs[1]
    return _hull(cases[:1] if for_nan else cases)


def _hull(values: Sequence[Value]) -> Bounds:
    return min(x.bounds[0] for x in values), max(x.bounds[1] for x in values)


def _within(least: float, most: float) -> Rule:
    return lambda eqn, inputs: (least, most)


def _rising(function: Callable[[float], float]) -> Rule:
    """Of a function that never falls."""

    def rule(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
        del eqn
        least, most = (_at(function, x) for x in inputs[0].bounds)
        return least, most

    return rule


def _at(function: Callable[[float], float], x: float) -> float:
    try:
        return function(x)
    except OverflowError:
        return math.inf
    except ValueError:  # below what a logarithm or a root takes
        return -math.inf


def _add(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    del eqn
    (a, b), (c, d) = inputs[0].bounds, inputs[1].bounds
    return a + c, b + d


def _negative(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    del eqn
    least, most = inputs[0].bounds
    return -most, -least


def _subtract(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    (a, b), (c, d) = inputs[0].bounds, inputs[1].bounds
    return a - d, 0.0 if _is_log_of_sum(inputs[1], inputs[0]) else b - c


def _products(first: Bounds, second: Bounds) -> Bounds:
    every = [0.0 if 0 in (x, y) else x * y for x in first for y in second]
    return min(every), max(every)


def _multiply(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    del eqn
    first, second = inputs
    if _alike(first, second, _facing(first, second)):
        return _even(inputs[0].bounds)
    return _products(inputs[0].bounds, inputs[1].bounds)


def _even(x: Bounds) -> Bounds:
    """Of a square."""
    ends = _products(x, x)
    return max(0.0, ends[0]), ends[1]


def _divide(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    del eqn
    part, whole = inputs
    if part.bounds[0] >= 0 and _holds(whole, part, _facing(whole, part)):
        return 0.0, 1.0
    return _products(part.bounds, _inverse(whole.bounds))


def _inverse(x: Bounds) -> Bounds:
    least, most = x
    if least < 0 < most or least == most == 0:
        return ANY
    low = 1 / most if most else -math.inf
    return low, 1 / least if least else math.inf


def _power(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    exponent, x = eqn.params["y"], inputs[0].bounds
    if exponent == 0:
        return 1.0, 1.0
    x = _inverse(x) if exponent < 0 else x
    whole = x
    for _ in range(abs(exponent) - 1):
        whole = _products(whole, x)
    return (max(0.0, whole[0]), whole[1]) if exponent % 2 == 0 else whole


def _sum(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    avals: list[Any] = [eqn.invars[0].aval, eqn.outvars[0].aval]
    count = avals[0].size / max(1, avals[1].size)
    return _products(inputs[0].bounds, (count, count))


def _absolute(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    del eqn
    least, most = inputs[0].bounds
    return max(0.0, least, -most), max(-least, most)


def _larger(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    del eqn
    (a, b), (c, d) = inputs[0].bounds, inputs[1].bounds
    return max(a, c), max(b, d)


def _smaller(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    del eqn
    (a, b), (c, d) = inputs[0].bounds, inputs[1].bounds
    return min(a, c), min(b, d)


def _clamped(eqn: JaxprEqn, inputs: list[Value]) -> Bounds:
    least, value, most = inputs
    above = Value("", (), _larger(eqn, [least, value]))
    return _smaller(eqn, [above, most])


_SHAPES = frozenset(
    {"broadcast_in_dim", "convert_element_type", "copy", "copy_p", "expand_dims", "name", "pcast"}
    | {"pvary", "reduce_precision", "reshape", "reshard", "sharding_constraint", "squeeze"}
    | {"stop_gradient", "transpose"}
)
"""Operations whose result holds all numbers of their input, and no others."""

_PICKS = ("dynamic_slice", "gather", "reduce_max", "reduce_min", "rev", "slice")
"""Operations whose result holds some numbers of their first input."""

_RULES: dict[str, Rule] = {
    **dict.fromkeys((*_SHAPES, *_PICKS), _same),
    **dict.fromkeys(("concatenate", "pad", "stack"), _any_of),
    "select_n": _selected,
    **dict.fromkeys(("erf", "tanh", "sin", "cos"), _within(-1.0, 1.0)),
    "logistic": _within(0.0, 1.0),
    "exp": _rising(math.exp),
    "exp2": _rising(lambda x: 2.0**x),
    "expm1": _rising(math.expm1),
    "log": _rising(math.log),
    "log1p": _rising(math.log1p),
    "sqrt": _rising(math.sqrt),
    "add": _add,
    "add_any": _add,
    "sub": _subtract,
    "neg": _negative,
    "mul": _multiply,
    "div": _divide,
    "square": lambda eqn, inputs: _even(inputs[0].bounds),
    "integer_pow": _power,
    "abs": _absolute,
    "max": _larger,
    "min": _smaller,
    "clamp": _clamped,
    "reduce_sum": _sum,
}


Pairs = list[tuple[int, int]]
"""Axes of two values along which their positions are the same."""


def _facing(one: Value, other: Value) -> Pairs:
    """The axes of two operands of an elementwise operation; one of length one is spread."""
    if len(one.shape) != len(other.shape):
        return []
    return [(i, i) for i, n in enumerate(one.shape) if n == other.shape[i] != 1]


def _within_pairs(pairs: Pairs, whole: Value, operand: Value) -> Pairs:
    """Those pairs of an elementwise result whose axes an operand has, too."""
    own = {i for i, _ in _facing(whole, operand)}
    return [(i, j) for i, j in pairs if i in own]


def _origin(value: Value) -> tuple[Value, list[int | None]]:
    """What a value was before its shape and type changed, and which of its axes each axis is."""
    axes = [i if n != 1 else None for i, n in enumerate(value.shape)]
    while (step := _step(value)) is not None:
        axes = [None if axis is None else step[axis] for axis in axes]
        value = value.inputs[0]
    return value, axes


def _step(value: Value) -> list[int | None] | None:
    """Which of its input's axes each of its own is; `None` for more than a change of shape."""
    if value.eqn is None or value.name not in _SHAPES:
        return None
    before, after, params = value.inputs[0].shape, value.shape, value.eqn.params
    if value.name == "transpose":
        return list(params["permutation"])
    if value.name == "broadcast_in_dim":
        source = {out: i for i, out in enumerate(params["broadcast_dimensions"])}
        kept = {out: i for out, i in source.items() if before[i] == after[out] != 1}
        return [kept.get(i) for i in range(len(after))]
    if before == after:
        return list(range(len(after)))
    long = [i for i, n in enumerate(before) if n != 1]
    if [before[i] for i in long] != [n for n in after if n != 1]:
        return None
    places = iter(long)
    return [next(places) if n != 1 else None for n in after]


def _alike(first: Value, second: Value, pairs: Pairs) -> bool:
    """Whether two values are one, or exponentials of one, position by position."""
    (one, own), (other, others) = _origin(first), _origin(second)
    found = [(own[i], others[j]) for i, j in pairs]
    if one.name == other.name == "exp" and _covers(found, own, others):
        known = [(i, j) for i, j in found if i is not None and j is not None]
        return _alike(one.inputs[0], other.inputs[0], known)
    return one is other and _covers(found, own, others) and all(i == j for i, j in found)


def _covers(
    found: list[tuple[int | None, int | None]], own: list[int | None], others: list[int | None]
) -> bool:
    """Whether every axis of both is paired with one."""
    sides = (([i for i, _ in found], own), ([j for _, j in found], others))
    return all({*axes} - {None} <= {*paired} for paired, axes in sides)


def _holds(whole: Value, part: Value, pairs: Pairs) -> bool:
    """Whether a value is a sum of another and of what is not negative, or larger than one."""
    if _alike(whole, part, pairs):
        return True
    whole, own = _origin(whole)
    pairs = [(axis, j) for i, j in pairs if (axis := own[i]) is not None]
    if whole.name == "reduce_sum" and whole.eqn is not None:
        terms, summed = whole.inputs[0], [int(i) for i in whole.eqn.params["axes"]]
        kept = [i for i in range(len(terms.shape)) if i not in summed]
        return _is_term(terms, part, [(kept[i], j) for i, j in pairs], summed)
    if whole.name == "max":
        return any(_holds(x, part, _within_pairs(pairs, whole, x)) for x in whole.inputs)
    if whole.name == "add":
        first, second = whole.inputs
        sums = ((first, second), (second, first))
        return any(
            x.bounds[0] >= 0 and _holds(y, part, _within_pairs(pairs, whole, y)) for x, y in sums
        )
    return False


def _is_term(terms: Value, part: Value, pairs: Pairs, summed: Sequence[int]) -> bool:
    """Whether a value is, at each position, one of the terms that are summed there."""
    paired = {j for _, j in pairs}
    free = [j for j in range(len(part.shape)) if j not in paired]
    (one, own), (other, others) = _origin(terms), _origin(part)
    while one.name == other.name == "exp":
        (one, deep), (other, deeper) = _origin(one.inputs[0]), _origin(other.inputs[0])
        own = [None if i is None else deep[i] for i in own]
        others = [None if j is None else deeper[j] for j in others]
    rest = {own[i] for i in summed} - {None}
    fixed = all(own[i] == others[j] for i, j in pairs)
    return one is other and fixed and all(others[j] is None or others[j] in rest for j in free)


def _is_log_of_sum(value: Value, logits: Value) -> bool:
    """Whether a value is `log(sum(exp(logits)))`, perhaps with a shift taken out and put back."""
    pairs = _facing(value, logits)
    if _is_log_of(value, Value("exp", (logits,), ANY, logits.shape), pairs):
        return True
    found, own = _origin(value)
    if found.name != "add":
        return False
    pairs = [(axis, j) for i, j in pairs if (axis := own[i]) is not None]
    return any(
        log.shape == shift.shape and _is_shifted(log, shift, logits, pairs)
        for log, shift in (found.inputs, found.inputs[::-1])
    )


def _is_log_of(value: Value, part: Value, pairs: Pairs) -> bool:
    """Whether a value is the logarithm of a sum of which another is a term."""
    found, own = _origin(value)
    if found.name != "log":
        return False
    pairs = [(axis, j) for i, j in pairs if (axis := own[i]) is not None]
    total = found.inputs[0]
    if _origin(total)[0].name == "abs":  # JAX's logsumexp takes the sum's magnitude
        total, own = _origin(total)
        pairs = [(axis, j) for i, j in pairs if (axis := own[i]) is not None]
        total = total.inputs[0]
    return _holds(total, part, pairs)


def _is_shifted(log: Value, shift: Value, logits: Value, pairs: Pairs) -> bool:
    """Whether `log` is that of a sum of `exp(logits - shift)`."""
    exponent = _exponent(log)
    if exponent is None or exponent.name != "sub" or exponent.shape != logits.shape:
        return False
    plain, taken = exponent.inputs
    part = Value("exp", (exponent,), ANY, exponent.shape)
    return (
        _is_log_of(log, part, pairs)
        and _alike(plain, logits, _facing(plain, logits))
        and _alike(shift, taken, pairs)
    )


def _exponent(value: Value) -> Value | None:
    """x of `log(sum(exp(x)))`."""
    for name in ("log", "abs", "reduce_sum", "exp"):
        value = _origin(value)[0]
        if value.name == name:
            value = value.inputs[0]
        elif name != "abs":
            return None
    return _origin(value)[0]
