"""Data flow of a program: what depends on what, through the bodies of its calls and loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from jaxsal.rewrite.program import (
    Atom,
    JaxValue,
    bodies,
    equations,
    open_jaxpr,
    scan_parts,
    variables,
    while_parts,
)

T = TypeVar("T")

SAME_VALUES = frozenset(
    {"broadcast_in_dim", "convert_element_type", "copy", "copy_p", "expand_dims", "name", "pvary"}
    | {"reshape", "rev", "reduce_precision", "slice", "squeeze", "stop_gradient", "transpose"}
)
"""Operations of one operand whose result holds no other values than the operand."""

FLAT = frozenset({"ceil", "floor", "nextafter", "round", "sign", "stop_gradient"})
"""Operations on floating numbers with no derivative to speak of."""


class Dataflow:
    """The data flow of one program.

    Attributes:
        closed: the program.
        dependent: the variables that depend on the program's inputs; those that are held constant,
            and what depends on them alone, do not.
        live: the variables that its outputs depend on.
        active: those of them through which the outputs' derivative comes back.
    """

    def __init__(self, closed: ClosedJaxpr, held: frozenset[Var] = frozenset()):
        self.closed, self._held = closed, held
        self._producer: dict[Var, JaxprEqn] = {}
        self._readers: dict[Var, list[JaxprEqn]] = {}
        self._sources: dict[Var, list[Atom]] = {}
        self._targets: dict[Var, list[Var]] = {}
        self._bears_on: dict[Var, list[Var]] = {}
        self._rests_on: dict[Var, list[Var]] = {}
        self._known = dict(constants(closed))
        for eqn in equations(closed.jaxpr):
            self._add(eqn)

    @cached_property
    def dependent(self) -> frozenset[Var]:
        return self.reached(self.closed.jaxpr.invars)

    @cached_property
    def live(self) -> frozenset[Var]:
        return _reach(variables(self.closed.jaxpr.outvars), self._previous)

    @cached_property
    def active(self) -> frozenset[Var]:
        return _reach(filter(is_floating, variables(self.closed.jaxpr.outvars)), self._back)

    def depends(self, atom: Atom) -> bool:
        """Whether an atom depends on the program's inputs."""
        return not isinstance(atom, Literal) and atom in self.dependent

    def reached(self, start: Iterable[Var]) -> frozenset[Var]:
        """The variables that depend on some of these, which are among them."""
        return _reach(start, self._next)

    def readers(self, var: Var) -> list[JaxprEqn]:
        """The equations without bodies that read `var` and that the outputs depend on."""
        found = self._readers.get(var, [])
        return [eqn for eqn in found if any(out in self.live for out in eqn.outvars)]

    def leaves(self, var: Var) -> bool:
        """Whether `var` crosses the border of a body, or of the program, to where it counts."""
        inside = any(target in self.live for target in self._targets.get(var, []))
        return inside or any(out is var for out in self.closed.jaxpr.outvars)

    def producer(self, atom: Atom) -> JaxprEqn | None:
        """The equation without a body that computes an atom, if there is one."""
        return None if isinstance(atom, Literal) else self._producer.get(atom)

    def constant(self, atom: Atom) -> float | None:
        """The value of an atom that is one known number in all its elements, else `None`."""
        found = {_uniform(value) for value in self._values(atom, set())}
        return found.pop() if len(found) == 1 else None

    def _values(self, atom: Atom, seen: set[Var]) -> Iterator[JaxValue]:
        """The known values that an atom can take; `None` for one that is not known."""
        if isinstance(atom, Literal) or atom in self._known:
            yield atom.val if isinstance(atom, Literal) else self._known[atom]
        elif atom not in seen:
            seen.add(atom)
            eqn = self._producer.get(atom)
            sources = self._sources.get(atom, [])
            if eqn is not None and eqn.primitive.name in SAME_VALUES:
                sources = eqn.invars[:1]
            if not sources:
                yield None
            for source in sources:
                yield from self._values(source, seen)

    def _add(self, eqn: JaxprEqn) -> None:
        pairs = list(links(eqn))
        for source, target in pairs:
            self._sources.setdefault(target, []).append(source)
            if not isinstance(source, Literal):
                self._targets.setdefault(source, []).append(target)
        if not pairs:
            self._producer.update((out, eqn) for out in eqn.outvars)
        # What a branch or a loop's end is decided by bears on every result.
        for var in variables(_deciders(eqn) if pairs else eqn.invars):
            self._readers.setdefault(var, []).append(eqn)
            self._bears_on.setdefault(var, []).extend(eqn.outvars)
            for out in eqn.outvars:
                self._rests_on.setdefault(out, []).append(var)

    def _next(self, var: Var) -> list[Var]:
        following = self._targets.get(var, []) + self._bears_on.get(var, [])
        return [v for v in following if v not in self._held] if self._held else following

    def _previous(self, var: Var) -> list[Var]:
        return variables(self._sources.get(var, [])) + self._rests_on.get(var, [])

    def _back(self, var: Var) -> list[Var]:
        made = self._producer.get(var)
        if made is not None and made.primitive.name in FLAT:
            return []
        return list(filter(is_floating, self._previous(var)))


def links(eqn: JaxprEqn) -> Iterator[tuple[Atom, Var]]:
    """The pairs of variables that hold the same value on either side of a body's border."""
    inner = [open_jaxpr(body) for body in bodies(eqn)]
    for body, operands in zip(inner, _operands(eqn, inner), strict=True):
        yield from zip(operands, body.invars, strict=True)
    results = inner[1:] if eqn.primitive.name == "while" else inner
    for body in results:
        yield from zip(body.outvars, eqn.outvars, strict=True)
    if eqn.primitive.name == "scan":
        carries = scan_parts(eqn, inner[0].invars)[1]
        yield from zip(inner[0].outvars[: len(carries)], carries, strict=True)
    if eqn.primitive.name == "while":
        for body in inner:
            carries = body.invars[len(body.invars) - len(eqn.outvars) :]
            yield from zip(inner[1].outvars, carries, strict=True)


def constants(closed: ClosedJaxpr) -> Iterator[tuple[Var, JaxValue]]:
    """A program's constants with known values: those that are not traced."""
    pairs: Iterable[tuple[Var, JaxValue]] = zip(closed.jaxpr.constvars, closed.consts, strict=True)
    yield from ((var, None if isinstance(c, jax.core.Tracer) else c) for var, c in pairs)


def _operands(eqn: JaxprEqn, inner: list[Jaxpr]) -> list[list[Atom]]:
    if eqn.primitive.name == "cond":
        return [list(eqn.invars[1:])] * len(inner)
    if eqn.primitive.name == "while":
        condition, body, carry = while_parts(eqn, eqn.invars)
        return [[*condition, *carry], [*body, *carry]]
    return [list(eqn.invars)] * len(inner)


def _deciders(eqn: JaxprEqn) -> list[Atom]:
    if eqn.primitive.name == "cond":
        return list(eqn.invars[:1])
    if eqn.primitive.name == "while":
        return list(open_jaxpr(eqn.params["cond_jaxpr"]).outvars)
    return []


def fixed_point(
    step: Callable[[list[T]], list[T]],
    carry: list[T],
    join: Callable[[int, T, T], T],
    turns: Iterable[int],
) -> tuple[list[T], list[T]] | None:
    """What is known of a loop's carries, and of its last results, once a turn changes nothing.

    Args:
        step: from what is known of the carries to that of the body's results, carries first.
        carry: what is known of them before the first turn.
        join: of carry number i, what is known of a value that is one of two.
        turns: how many may be taken.

    Returns:
        `(carries, results)`; `None` where the turns do not suffice.
    """
    for _ in turns:
        outs = step(carry)
        pairs = zip(carry, outs[: len(carry)], strict=True)
        again = [join(i, *pair) for i, pair in enumerate(pairs)]
        if again == carry:
            return carry, outs
        carry = again
    return None


def is_floating(var: Atom) -> bool:
    """Whether an atom holds floating numbers, complex ones too."""
    dtype = getattr(var.aval, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, np.inexact)


def is_real(atom: Atom) -> bool:
    """Whether an atom holds real floating numbers."""
    return is_floating(atom) and not jnp.issubdtype(atom.aval.dtype, jnp.complexfloating)  # type: ignore[attr-defined]


def _reach(start: Iterable[Var], step: Callable[[Var], list[Var]]) -> frozenset[Var]:
    found = set(start)
    todo = list(found)
    while todo:
        new = [var for var in step(todo.pop()) if var not in found]
        found.update(new)
        todo.extend(new)
    return frozenset(found)


def _uniform(value: JaxValue) -> float | None:
    if value is None or isinstance(value, jax.core.Tracer):
        return None
    if not jax.dtypes.issubdtype(jax.dtypes.result_type(value), np.number):
        return None
    array = np.asarray(value)
    if not array.size or np.any(array != array.reshape(-1)[0]):
        return None
    return float(array.reshape(-1)[0])
