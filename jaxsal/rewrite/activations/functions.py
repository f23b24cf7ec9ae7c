"""Finds the values of a program that are elementwise functions of one other value, and which.

In `x * (x > 0)` and in `where(x > 0, x, a * x)` all paths from the image to the result pass through
`x`, and after it all operations are elementwise: the result is a function of `x` alone. The nearest
such value is the one `above` the result.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from jaxsal.rewrite.activations import piecewise_affine
from jaxsal.rewrite.activations.piecewise_affine import IDENTITY, Piecewise
from jaxsal.rewrite.dataflow import Dataflow, is_floating
from jaxsal.rewrite.elementwise import on_blocks
from jaxsal.rewrite.program import CUSTOM_CALLS, Atom, JaxValue, bind, call_name, shape_of

NAMED = frozenset({"relu", "relu6"})
"""Calls that are known by their name."""

_SAME_SHAPE = frozenset({"add_any", "broadcast_in_dim", "copy_p", "pcast", "pvary", "reshape"})
_MORE = _SAME_SHAPE.union({"cbrt", "erfc", "expm1", "rem", "round", "stop_gradient", "tan"})

_LONGEST = 100
"""The most equations of a function that is examined; a ReLU has far fewer."""

_COUNTING = frozenset({"argmax", "broadcast_in_dim", "concatenate", "cumsum", "reshape", "stack"})
"""What `jnp.select` and `jnp.piecewise` do to truth values."""


class ElementwiseGraph:
    """The elementwise functions in one body of a program.

    Args:
        jaxpr: the body.
        flow: the data flow of the program.
    """

    def __init__(self, jaxpr: Jaxpr, flow: Dataflow):
        self.flow = flow
        self.made: dict[Var, JaxprEqn] = {}
        self._above: dict[Var, Var | None] = {}
        self._depth: dict[Var, int] = {}
        self._order: dict[Var, int] = {}
        self._same: dict[Var, Var] = {}
        self._first: dict[Any, Var] = {}
        for eqn in jaxpr.eqns:
            if len(eqn.outvars) == 1 and not eqn.effects and not any(jaxprs_in_params(eqn.params)):
                self._number(eqn)
            self._add(eqn)

    def above(self, var: Var) -> Var | None:
        """The nearest floating value that `var` is an elementwise function of, alone."""
        top = self._above.get(var)
        return top if top is None or is_floating(top) else self.above(top)

    @property
    def same(self) -> dict[Var, Var]:
        """From a value to the first one that is computed in the same way."""
        return self._same

    def sources(self, eqn: JaxprEqn) -> list[Var]:
        """The values that depend on the image and that an elementwise equation is a function of."""
        moving = (v for v in eqn.invars if not isinstance(v, Literal) and self.flow.depends(v))
        return list(dict.fromkeys(self._same.get(v, v) for v in moving))

    def between(self, var: Var, root: Var | None = None) -> list[JaxprEqn]:
        """The equations that compute `var` from what is above it, or from `root`, in order."""
        top, found, todo = root or self.above(var), {var}, [var]
        while todo:
            new = [v for v in self.sources(self.made[todo.pop()]) if v is not top]
            todo += {v for v in new if v not in found}
            found.update(new)
        return [self.made[v] for v in sorted(found, key=self._order.__getitem__)]

    def function(self, var: Var, root: Var) -> Piecewise | None:
        """`var` as a function of a value above it, where it is known to be affine in pieces."""
        equations = self.between(var, root)
        if len(equations) > _LONGEST:
            return None
        known: dict[Any, Piecewise | None] = {root: IDENTITY}
        for eqn in equations:
            read = [v if isinstance(v, Literal) else self._same.get(v, v) for v in eqn.invars]
            functions = [
                self._constant(v) if isinstance(v, Literal) or v not in known else known[v]
                for v in read
            ]
            known[eqn.outvars[0]] = evaluated(eqn, functions)
        return known[var]

    def _add(self, eqn: JaxprEqn) -> None:
        if len(eqn.outvars) != 1 or not self.flow.depends(eqn.outvars[0]):
            return
        if not _is_elementwise(eqn, self.sources(eqn)):
            return
        out = eqn.outvars[0]
        self._order[out] = len(self.made)
        self.made[out] = eqn
        top = self._meeting(self.sources(eqn))
        self._above[out] = top
        self._depth[out] = 0 if top is None else 1 + self._depth.get(top, 0)

    def _number(self, eqn: JaxprEqn) -> None:
        """Notes where an equation computes what another has computed before."""
        (out,) = eqn.outvars
        operands = [
            (v.aval, repr(v.val)) if isinstance(v, Literal) else self._same.get(v, v)
            for v in eqn.invars
        ]
        computed = (eqn.primitive, tuple(operands), tuple(sorted(eqn.params.items())))
        with contextlib.suppress(TypeError):  # a parameter that has no hash
            self._same[out] = self._first.setdefault(computed, out)

    def _meeting(self, values: Sequence[Var]) -> Var | None:
        """The nearest value that all paths to `values` pass through."""
        meeting: Var | None = values[0]
        for other in values[1:]:
            there: Var | None = other
            while meeting is not there and meeting is not None and there is not None:
                if self._depth.get(meeting, 0) >= self._depth.get(there, 0):
                    meeting = self._above.get(meeting)
                else:
                    there = self._above.get(there)
            meeting = meeting if meeting is there else None
        return meeting

    def _constant(self, atom: Atom, depth: int = 8) -> Piecewise | None:
        """The value of an atom that does not depend on the image, where it is one number."""
        value = self.flow.constant(atom)
        eqn = self.flow.producer(atom)
        if value is not None:
            return piecewise_affine.constant(value)
        if eqn is None or len(eqn.outvars) != 1 or not depth:
            return None
        return evaluated(eqn, [self._constant(v, depth - 1) for v in eqn.invars])


def evaluated(
    eqn: JaxprEqn, functions: Sequence[Piecewise | None], slopes: bool = True
) -> Piecewise | None:
    """What an equation, or a call, makes of functions, one for each of its inputs.

    Args:
        slopes: whether derivatives are asked for: a call's value is looked up in its body, its
            derivative by its rule.
    """
    if eqn.primitive.name not in (*CUSTOM_CALLS, "jit"):
        return piecewise_affine.apply(eqn, functions)
    body = eqn.params["call_jaxpr" if "call_jaxpr" in eqn.params else "jaxpr"]
    if call_name(eqn) in NAMED:
        return played(body, functions) or _by_name(eqn, functions)
    value = played(body, functions, slopes)
    if value is None or not slopes or eqn.primitive.name not in CUSTOM_CALLS:
        return value
    place = _moving(functions)
    x = None if place is None else functions[place]
    program = None if x is None or place is None else derivative(eqn, place)
    slope = None if program is None else played(program, functions, slopes=False)
    return x and slope and piecewise_affine.differentiated(value, slope, x)


def derivative(eqn: JaxprEqn, place: int) -> ClosedJaxpr | None:
    """The program of a call's derivative by its input number `place`, as its rule has it."""

    def slope(*xs: JaxValue) -> JaxValue:
        call = lambda x: bind(eqn, [*xs[:place], x, *xs[place + 1 :]])[0]  # noqa: E731
        out, back = jax.vjp(call, xs[place])
        return back(jnp.ones_like(out))[0]

    try:
        return jax.make_jaxpr(slope)(*(v.aval for v in eqn.invars))
    except Exception:  # raised by the user's rule: there is no derivative
        return None


def _is_elementwise(eqn: JaxprEqn, sources: Sequence[Var]) -> bool:
    out = eqn.outvars[0].aval
    shapes = {getattr(v.aval, "shape", None) for v in sources}
    if eqn.primitive.name in _COUNTING and sources and not any(map(is_floating, sources)):
        return _is_along_one_more_axis({*map(shape_of, sources), shape_of(eqn.outvars[0])})
    if shapes != {getattr(out, "shape", None)}:
        return False
    if call_name(eqn) in NAMED:
        return len(sources) == 1 and sources[0].aval.dtype == out.dtype  # type: ignore[attr-defined]
    return eqn.primitive.name in _MORE or on_blocks(eqn) is not None


def _is_along_one_more_axis(shapes: set[tuple[int, ...]]) -> bool:
    """Whether shapes are the same but for their first axis, which not all need to have."""
    rank = min(map(len, shapes))
    return len({s[len(s) - rank :] for s in shapes}) == 1 or len({s[1:] for s in shapes}) == 1


def played(
    closed: ClosedJaxpr, functions: Sequence[Piecewise | None], slopes: bool = True
) -> Piecewise | None:
    """What a program of one result makes of functions, one for each of its inputs."""
    known: dict[Any, Piecewise | None] = dict(zip(closed.jaxpr.invars, functions, strict=True))
    flow = Dataflow(closed)

    def read(atom: Atom) -> Piecewise | None:
        if not isinstance(atom, Literal) and atom in known:
            return known[atom]
        value = flow.constant(atom)
        return None if value is None else piecewise_affine.constant(value)

    for eqn in closed.jaxpr.eqns:
        if len(eqn.outvars) == 1:
            found = evaluated(eqn, [read(atom) for atom in eqn.invars], slopes)
            known.update({} if found is None else {eqn.outvars[0]: found})
    return read(closed.jaxpr.outvars[0])


def _moving(functions: Sequence[Piecewise | None]) -> int | None:
    """The number of the only function that is not constant; `None` where several are not."""
    moving = [i for i, f in enumerate(functions) if f is None or f.knots or f.parts[0].slope]
    return moving[0] if len(moving) == 1 else None


def _by_name(eqn: JaxprEqn, functions: Sequence[Piecewise | None]) -> Piecewise | None:
    """The ReLU that a call is by its name."""
    place = _moving(functions)
    x = None if place is None else functions[place]
    return x and piecewise_affine.clipped(x, 6.0 if call_name(eqn) == "relu6" else math.inf)
