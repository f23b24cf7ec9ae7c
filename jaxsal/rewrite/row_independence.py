"""A proof that a program computes each row of a batch from that row alone, and all rows alike.

The batch's axis is followed through a program of a batch of two. A value that depends on the batch
either has one axis in which position i is of row i, in all of the axis or as one of its digits; or
its rows are mixed. A value that does not is the same for all rows where it has no such axis, or
holds copies along it. An operation that is not known to keep rows apart counts as mixing them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from jaxsal.rewrite.axes.factors import COPY, Factors, Labels, copies, reshaped, unknown, whole
from jaxsal.rewrite.axes.preserved import AxisMap, preserved_axes
from jaxsal.rewrite.dataflow import SAME_VALUES, Dataflow, fixed_point
from jaxsal.rewrite.program import (
    Atom,
    JaxValue,
    equations,
    fits,
    open_jaxpr,
    scan_parts,
    shape_of,
    while_parts,
)

ROW = 0
"""The batch's axis, as the axis of a factor."""

ROWS = 2
"""Rows of the batch that a program is traced for: a prime, so that no reshape splits them."""

MAX_TURNS = 8
"""How often a loop's body is looked at until its carries stay what they are."""


class Value(NamedTuple):
    """What is known of a value: its axes' factors, and whether it depends on the batch."""

    labels: Labels
    depends: bool = False


@dataclass(frozen=True)
class Mixed:
    """A value that may hold parts of several rows, since this operation."""

    eqn: JaxprEqn | None = None


State = Value | Mixed


def first_mixing(closed: ClosedJaxpr, batch: Var) -> Mixed | None:
    """Where rows may be mixed on the way to the outputs; `None`: all are apart, and treated alike.

    Args:
        closed: a program of a batch of `ROWS` rows.
        batch: its input whose first axis is the batch's; the first axis of all outputs is, too.
    """
    jaxpr = closed.jaxpr
    first = tuple(whole(ROW, ROWS) if i == 0 else unknown(n) for i, n in enumerate(shape_of(batch)))
    given = [Value(first, True) if var is batch else _constant(var) for var in jaxpr.invars]
    outs = _run(jaxpr, given)
    for out in outs:
        if isinstance(out, Mixed):
            return out
        if not out.labels or (_row(out.labels[0]) is None and not _is_copied(out.labels[0], 1)):
            return Mixed()
    return None


def same_program(one: ClosedJaxpr, other: ClosedJaxpr, batch: int) -> bool:
    """Whether a model is one program at two sizes of a batch, but for the size of its rows.

    It is not where it computes with the size: by a number that it is written with, a constant, a
    loop's length, or what it reduces that does not depend on the images.

    Args:
        one, other: its programs. batch: which of their inputs holds the images.
    """
    constants = zip(one.consts, other.consts, strict=False)
    same = len(one.consts) == len(other.consts) and all(_equal(*pair) for pair in constants)
    return same and _written(one, batch) == _written(other, batch)


def _equal(one: JaxValue, other: JaxValue) -> bool:
    if one is other:
        return True
    if any(isinstance(x, jax.core.Tracer) for x in (one, other)):
        return False
    return np.shape(one) == np.shape(other) and bool(np.all(np.asarray(one) == np.asarray(other)))


def _written(closed: ClosedJaxpr, batch: int) -> list[tuple[str, ...]]:
    """The numbers of a program, its loops' lengths, and how much it reduces without the images.

    What only moves and spreads values is left out: of one image there is less of it.
    """
    dependent = Dataflow(closed).reached([closed.jaxpr.invars[batch]])
    found = []
    for eqn in equations(closed.jaxpr):
        numbers = [repr(atom.val) for atom in eqn.invars if isinstance(atom, Literal)]
        sizes = [math.prod(shape_of(atom)) for atom in eqn.invars]
        out = math.prod(shape_of(eqn.outvars[0])) if eqn.outvars else 0
        shrinks = 0 if dependent.intersection(eqn.outvars) else max(sizes, default=0) // max(out, 1)
        told: list[Any] = [shrinks] if shrinks > 1 else []
        if eqn.primitive.name not in SAME_VALUES:
            told += [*numbers, eqn.params.get("length", 0)]
        if any(told):
            found.append((eqn.primitive.name, *map(str, told)))
    return sorted(found)


def _run(body: Jaxpr | ClosedJaxpr, given: Sequence[State]) -> list[State]:
    jaxpr = open_jaxpr(body)
    known: dict[Var, State] = {var: _constant(var) for var in jaxpr.constvars}
    known.update(zip(jaxpr.invars, given, strict=True))

    def read(atom: Atom) -> State:
        return _constant(atom) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, _outputs(eqn, [read(v) for v in eqn.invars]), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _outputs(eqn: JaxprEqn, given: list[State]) -> list[State]:
    mixed = next((each for each in given if isinstance(each, Mixed)), None)
    if mixed is not None:
        return [mixed] * len(eqn.outvars)
    values = [each for each in given if isinstance(each, Value)]
    if eqn.primitive.name in _LOOPS:
        return _LOOPS[eqn.primitive.name](eqn, values)
    for body in jaxprs_in_params(eqn.params):
        if fits(body, eqn):
            return _run(body, values)
    if not any(value.depends for value in values):
        return _independent(eqn, values)
    if eqn.primitive.name == "reshape" and eqn.params["dimensions"] is None:
        return [_held(eqn, _reshaped(eqn, values[0]))]
    if eqn.primitive.name == "optimization_barrier":
        return list(values)
    axes = preserved_axes(eqn)
    return [Mixed(eqn) if axes is None else _joined(eqn, values, axes, v) for v in eqn.outvars]


def _independent(eqn: JaxprEqn, values: list[Value]) -> list[State]:
    """Of what does not depend on the batch, it matters where it holds copies."""
    if eqn.primitive.name == "reshape" and eqn.params["dimensions"] is None:
        return [_reshaped(eqn, values[0])]
    if eqn.primitive.name == "iota":
        along = eqn.params["dimension"]
        sizes = enumerate(shape_of(eqn.outvars[0]))
        return [Value(tuple(unknown(n) if i == along else copies(n) for i, n in sizes))]
    axes = preserved_axes(eqn) if values else None
    outs = [_constant(v) for v in eqn.outvars]
    if axes is None:
        return [*outs]
    joined = [_joined(eqn, values, axes, v) for v in eqn.outvars]
    return [
        out if isinstance(each, Mixed) else each for each, out in zip(joined, outs, strict=True)
    ]


def _reshaped(eqn: JaxprEqn, value: Value) -> Value:
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    return Value(reshaped(value.labels, before, after), value.depends)


def _joined(eqn: JaxprEqn, values: Sequence[Value], axes: Sequence[AxisMap], out: Atom) -> State:
    """A result whose axes are those that the operands keep."""
    shape = shape_of(out)
    copied = eqn.primitive.name == "broadcast_in_dim"
    labels = [copies(n) if copied else unknown(n) for n in shape]
    for target, size in enumerate(shape):
        parts = [
            value.labels[source]
            for value, places in zip(values, axes, strict=True)
            for source, place in places.items()
            if place == target
        ]
        if parts:
            found = _met(parts, size)
            if found is None:
                return Mixed(eqn)
            labels[target] = found
    for value, places in zip(values, axes, strict=True):
        if value.depends and not any(_row(value.labels[i]) for i in places):
            return Mixed(eqn)
    return _held(eqn, Value(tuple(labels), any(value.depends for value in values)))


def _met(parts: Sequence[Factors], size: int) -> Factors | None:
    """An axis that several operands have; `None` where one differs from row to row in another way.

    Operands with rows have them in one place; all others hold copies there.
    """
    rows = [(part, at) for part in parts if (at := _row(part))]
    if rows:
        first, place = rows[0]
        fine = all(_row(part) == place or _is_copied(part, place) for part in parts)
        return first if fine else None
    return parts[0] if all(part == parts[0] for part in parts) else unknown(size)


def _held(eqn: JaxprEqn, value: Value) -> State:
    """The value, if it depends on the batch and has one axis of rows."""
    count = sum(_row(factors) is not None for factors in value.labels)
    return Mixed(eqn) if value.depends and count != 1 else value


def _row(factors: Factors) -> int | None:
    """Where in an axis the digit of the row is: the product of the slower digits."""
    places = [
        math.prod(f.size for f in factors[:i]) for i, f in enumerate(factors) if f.axis == ROW
    ]
    return places[0] if places else None


def _is_copied(factors: Factors, place: int) -> bool:
    """Whether an axis holds copies where another has the digit of the row."""
    start = 1
    for factor in factors:
        stop = start * factor.size
        fits = start <= place and place % start == 0 and stop % (place * ROWS) == 0
        if factor.axis == COPY and fits:
            return True
        start = stop
    return False


def _either(eqn: JaxprEqn, choices: Sequence[State]) -> State:
    """A value that is one of several."""
    mixed = next((each for each in choices if isinstance(each, Mixed)), None)
    if mixed is not None:
        return mixed
    values = [each for each in choices if isinstance(each, Value)]
    depends = any(value.depends for value in values)
    columns = [
        _met(column, _size(column[0])) for column in zip(*(v.labels for v in values), strict=True)
    ]
    if any(column is None for column in columns):
        return Mixed(eqn)
    return _held(eqn, Value(tuple(c for c in columns if c is not None), depends))


def _size(factors: Factors) -> int:
    return math.prod(f.size for f in factors)


def _cond(eqn: JaxprEqn, values: list[Value]) -> list[State]:
    if values[0].depends:
        return [Mixed(eqn)] * len(eqn.outvars)
    outs = [_run(body, values[1:]) for body in eqn.params["branches"]]
    return [_either(eqn, column) for column in zip(*outs, strict=True)]


def _scan(eqn: JaxprEqn, values: list[Value]) -> list[State]:
    constants, carry, rows = scan_parts(eqn, values)
    if any(row.depends and _row(row.labels[0]) is not None for row in rows):
        return _by_row(eqn, constants, carry, rows)
    inside = [Value(row.labels[1:], row.depends) for row in rows]
    carries, outs = _settled(eqn, eqn.params["jaxpr"], constants, carry, inside)
    lead = unknown(eqn.params["length"])
    return [
        *carries,
        *(
            out if isinstance(out, Mixed) else Value((lead, *out.labels), out.depends)
            for out in outs[len(carries) :]
        ),
    ]


def _by_row(
    eqn: JaxprEqn, constants: list[Value], carry: list[Value], rows: list[Value]
) -> list[State]:
    """A loop over the batch: a turn has its own row, and nothing of the turns before."""
    apart = all(
        row.labels[0] == whole(ROW, ROWS) if row.depends else _is_copied(row.labels[0], 1)
        for row in rows
    )
    if not apart or carry or any(value.depends for value in constants):
        return [Mixed(eqn)] * len(eqn.outvars)
    shapes = map(shape_of, eqn.outvars)
    return [Value((whole(ROW, ROWS), *map(unknown, shape[1:])), True) for shape in shapes]


def _while(eqn: JaxprEqn, values: list[Value]) -> list[State]:
    condition, constants, init = while_parts(eqn, values)
    carry, _ = _settled(eqn, eqn.params["body_jaxpr"], constants, init, [])
    (goes_on,) = _run(eqn.params["cond_jaxpr"], [*condition, *carry])
    decided = isinstance(goes_on, Mixed) or goes_on.depends
    return [Mixed(eqn)] * len(carry) if decided else carry


def _settled(
    eqn: JaxprEqn,
    body: Jaxpr | ClosedJaxpr,
    constants: Sequence[State],
    carry: Sequence[State],
    rows: Sequence[State],
) -> tuple[list[State], list[State]]:
    """A loop's carries and its last results, once a turn changes nothing that is known."""
    step = lambda now: _run(body, [*constants, *now, *rows])  # noqa: E731
    join = lambda i, one, other: _either(eqn, (one, other))  # noqa: E731
    found = fixed_point(step, list(carry), join, range(MAX_TURNS))
    mixed: list[State] = [Mixed(eqn)] * len(open_jaxpr(body).outvars)
    return found or (mixed[: len(carry)], mixed)


_LOOPS = {"cond": _cond, "scan": _scan, "while": _while}


def _constant(atom: Atom) -> Value:
    return Value(tuple(map(unknown, shape_of(atom))))
