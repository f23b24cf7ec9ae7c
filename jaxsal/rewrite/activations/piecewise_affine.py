"""Functions of one number that are affine in pieces, and what elementwise operations make of them.

`max(x, 0)`, `where(x > 0, x, 0)`, `x * (x > 0)` and `(x + |x|) / 2` are one function: 0 below 0,
and x above. Operations on such functions are carried out exactly, piece by piece; what leaves them
(a product of two slopes, an exponential) is not known, `None`.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jax.typing import DTypeLike


class Part(NamedTuple):
    """`slope * x + start`, of which JAX says that its derivative is `derivative`."""

    slope: float
    start: float
    derivative: float

    def at(self, x: float) -> float:
        return self.slope * x + self.start if self.slope else self.start


class Piecewise(NamedTuple):
    """A function that is affine between its knots.

    Attributes:
        knots: in order; `n` of them.
        parts: `2 n + 1`: below the first knot, at it, between it and the second, at that one, ...
    """

    knots: tuple[float, ...]
    parts: tuple[Part, ...]

    @property
    def pieces(self) -> tuple[Part, ...]:
        """The parts between the knots."""
        return self.parts[::2]

    @property
    def has_kink(self) -> bool:
        """Whether its derivative is not the same everywhere."""
        return len({part.derivative for part in self.pieces}) > 1

    def meeting(self, x: float) -> Part:
        """The part in which `x` lies."""
        place = bisect_left(self.knots, x)
        at_knot = place < len(self.knots) and self.knots[place] == x
        return self.parts[2 * place + at_knot]


def _flat(value: float) -> Part:
    return Part(0.0, value, 0.0)


def constant(value: float) -> Piecewise:
    return Piecewise((), (_flat(value),))


IDENTITY = Piecewise((), (Part(1.0, 0.0, 1.0),))
ZERO = constant(0.0)


def apply(eqn: JaxprEqn, functions: Sequence[Piecewise | None]) -> Piecewise | None:
    """What an elementwise equation makes of functions, one for each of its inputs."""
    known = [function for function in functions if function is not None]
    rule = _rule(eqn)
    if rule is None or len(known) < len(functions):
        return None
    compared = _COMPARED.get(eqn.primitive.name, lambda fs: [])(known)
    return _combined(rule, known, {knot for pair in compared for knot in _zeros(*pair)})


def differentiated(value: Piecewise, outer: Piecewise, inner: Piecewise) -> Piecewise | None:
    """`value`, with `outer`'s values times `inner`'s derivative for its derivative."""

    def rule(x: float, f: Part, g: Part, h: Part) -> Part | None:
        return None if g.slope else f._replace(derivative=g.start * h.derivative)

    return _combined(rule, [value, outer, inner])


def clipped(x: Piecewise, high: float) -> Piecewise | None:
    """`clip(x, 0, high)`."""
    top = constant(high)
    return _combined(
        lambda place, f: _min(place, _max(place, f, _flat(0.0)), _flat(high)),
        [x],
        {*_zeros(x, ZERO), *_zeros(x, top)},
    )


def _combined(
    rule: _Rule, functions: Sequence[Piecewise], more: Iterable[float] = ()
) -> Piecewise | None:
    """What `rule` makes of functions part by part; `more` are the knots that it adds."""
    knots = sorted({*more, *(knot for function in functions for knot in function.knots)})
    parts = [rule(x, *(function.meeting(x) for function in functions)) for x in _places(knots)]
    whole = [part for part in parts if part is not None and not any(map(math.isnan, part))]
    return _simplest(knots, whole) if len(whole) == len(parts) else None


def _places(knots: Sequence[float]) -> list[float]:
    """A number in every part: below the first knot, the knot, between it and the next, ..."""
    if not knots:
        return [0.0]
    between = [(low + high) / 2 for low, high in pairwise(knots)]
    inner = [place for pair in zip(knots, [*between, knots[-1] + 1], strict=True) for place in pair]
    return [knots[0] - 1, *inner]


def _zeros(f: Piecewise, g: Piecewise) -> Iterable[float]:
    """Where two functions cross, inside the pieces of both."""
    ends = [-math.inf, *sorted({*f.knots, *g.knots}), math.inf]
    for place, (low, high) in zip(_places(ends[1:-1])[::2], pairwise(ends), strict=True):
        one, other = f.meeting(place), g.meeting(place)
        slope, start = one.slope - other.slope, one.start - other.start
        if slope and math.isfinite(start) and low < -start / slope < high:
            yield -start / slope


def _simplest(knots: Sequence[float], parts: Sequence[Part]) -> Piecewise:
    """The function without the knots at which nothing changes."""
    kept, found = [], [parts[0]]
    for i, knot in enumerate(knots):
        here, after = parts[2 * i + 1], parts[2 * i + 2]
        if found[-1] != after or here.at(knot) != after.at(knot):
            kept.append(knot)
            found += [here, after]
    return Piecewise(tuple(kept), tuple(found))


_Rule = Callable[..., "Part | None"]
"""From a number and the parts of the operands there to the part of the result."""


def _add(x: float, f: Part, g: Part) -> Part:
    return Part(f.slope + g.slope, f.start + g.start, f.derivative + g.derivative)


def _neg(x: float, f: Part) -> Part:
    return Part(-f.slope, -f.start, -f.derivative)


def _mul(x: float, f: Part, g: Part) -> Part | None:
    if f.slope or f.derivative:
        f, g = g, f
    if f.slope or f.derivative:
        return None
    return Part(f.start * g.slope, f.start * g.start, f.start * g.derivative)


def _div(x: float, f: Part, g: Part) -> Part | None:
    return _mul(x, f, _flat(1 / g.start)) if not (g.slope or g.derivative) and g.start else None


def _max(x: float, f: Part, g: Part) -> Part:
    return _either(f, g) if f.at(x) == g.at(x) else max(f, g, key=lambda part: part.at(x))


def _min(x: float, f: Part, g: Part) -> Part:
    return _either(f, g) if f.at(x) == g.at(x) else min(f, g, key=lambda part: part.at(x))


def _either(f: Part, g: Part) -> Part:
    """Two parts of the same value, of which JAX takes the mean derivative."""
    return f._replace(derivative=(f.derivative + g.derivative) / 2)


def _select(x: float, which: Part, *cases: Part) -> Part | None:
    return None if which.slope else cases[int(which.start)]


def _compare(operation: Callable[..., float]) -> _Rule:
    """An operation that has one result between the places where its operands cross."""
    return lambda x, *parts: _flat(float(operation(*(part.at(x) for part in parts))))


def _decide(operation: Callable[..., bool]) -> _Rule:
    """An operation on truth values."""

    def rule(x: float, *parts: Part) -> Part | None:
        known = not any(part.slope for part in parts)
        return _flat(float(operation(*(bool(part.start) for part in parts)))) if known else None

    return rule


_SAME: _Rule = lambda x, f: f  # noqa: E731
_RULES: dict[str, _Rule] = {
    "add": _add,
    "add_any": _add,
    "sub": lambda x, f, g: _add(x, f, _neg(x, g)),
    "neg": _neg,
    "mul": _mul,
    "div": _div,
    "max": _max,
    "min": _min,
    "clamp": lambda x, low, f, high: _min(x, _max(x, f, low), high),
    "abs": lambda x, f: f if f.at(x) >= 0 else _neg(x, f),
    "sign": _compare(lambda f: (f > 0) - (f < 0)),
    "select_n": _select,
    "stop_gradient": lambda x, f: f._replace(derivative=0.0),
    "is_finite": _compare(math.isfinite),
    "not": _decide(operator.not_),
    "and": _decide(operator.and_),
    "or": _decide(operator.or_),
    **{name: _SAME for name in ("copy", "copy_p", "pvary", "pcast", "broadcast_in_dim", "reshape")},
    **{name: _compare(getattr(operator, name)) for name in ("gt", "ge", "lt", "le", "eq", "ne")},
}
_COMPARED: dict[str, Callable[[list[Piecewise]], list[tuple[Piecewise, Piecewise]]]] = {
    **{name: lambda fs: [(fs[0], fs[1])] for name in ("max", "min", "gt", "ge", "lt", "le")},
    **{name: lambda fs: [(fs[0], fs[1])] for name in ("eq", "ne")},
    **{name: lambda fs: [(fs[0], ZERO)] for name in ("abs", "sign")},
    "clamp": lambda fs: [(fs[0], fs[1]), (fs[1], fs[2])],
}
"""The pairs of functions at whose crossings an operation's result has a knot."""


def _rule(eqn: JaxprEqn) -> _Rule | None:
    name = eqn.primitive.name
    if name == "convert_element_type":
        return _cast(eqn.invars[0].aval.dtype, eqn.params["new_dtype"])  # type: ignore[attr-defined]
    if name in ("and", "or", "not") and eqn.outvars[0].aval.dtype != bool:  # type: ignore[attr-defined]
        return None
    if name == "integer_pow":
        return _SAME if eqn.params["y"] == 1 else None
    return _RULES.get(name)


def _cast(old: DTypeLike, new: DTypeLike) -> _Rule | None:
    """A cast; one that rounds is not known."""
    if jnp.issubdtype(new, jnp.bool_):
        return None if jnp.issubdtype(old, jnp.floating) else _decide(bool)
    if not jnp.issubdtype(old, jnp.floating):
        return _SAME
    if not jnp.issubdtype(new, jnp.floating):
        return None
    one, other = jnp.finfo(old), jnp.finfo(new)
    return _SAME if one.nmant <= other.nmant and one.maxexp <= other.maxexp else None
