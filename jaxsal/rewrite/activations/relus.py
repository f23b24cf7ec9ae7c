"""Finds the functions of a program that are ReLUs, however they are written.

A ReLU is a function of one value x of the program that is 0 on one side of a number and rises or
falls from there on the other: `max(x, 0)`, `where(x > 0, x, 0)`, `x * (x > 0)`, `(x + |x|) / 2`,
`-min(-x, 0)`; or relu6. It is found by what it computes: its constants are known by constant
propagation and do not depend on the image, and its derivative is the ReLU's own. A call named
`relu` or `relu6` whose body is not understood is one by its name.

It is no ReLU where its result only reaches a root, a logarithm or a denominator (layer norm has
`max(0, var)`), where it is half of a clip to another range, nor where it is more than a ReLU: where
its result and x meet again, elementwise, in a larger function of x. So no ReLU is replaced in a
leaky or parametric ReLU (`relu(x) - a * relu(-x)`, `where(x > 0, x, a * x)`), in ELU, CELU, a
softplus, in `x * relu6(x + 3) / 6` and its gate `relu6(x + 3) / 6`, however they are written.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from jax.extend.core import Jaxpr, JaxprEqn, Var

from jaxsal.rewrite.activations.functions import NAMED, ElementwiseGraph
from jaxsal.rewrite.activations.piecewise_affine import Piecewise
from jaxsal.rewrite.dataflow import SAME_VALUES, Dataflow, is_floating
from jaxsal.rewrite.program import call_name

MORE = "it is more than a ReLU"
_ROOTS = frozenset({"sqrt", "rsqrt", "log", "cbrt"})
_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "max", "min", "select_n", "neg"})
_SUMS = frozenset({"reduce_sum", "reduce_max"})


class Ramp(NamedTuple):
    """`scale * clip(sign * (x - knot), 0, upper)`."""

    scale: float
    sign: float
    knot: float
    upper: float = math.inf


class Activations:
    """The elementwise functions of one value in a body of a program.

    Attributes:
        functions: each floating value that is a function of one other, as far as it is known.
        ramps: those of them that have a ReLU's form.
        why: for each ramp, why it is no ReLU; empty if it is one.
        whole: from a value inside a function of one other that is used nowhere else to the
            function's result; the largest such function.
    """

    def __init__(self, jaxpr: Jaxpr, flow: Dataflow):
        self.flow, self.graph = flow, ElementwiseGraph(jaxpr, flow)
        self.functions: dict[Var, Piecewise | None] = {}
        for var in self.graph.made:
            top = self.graph.above(var)
            if top is not None and is_floating(var) and var in flow.live:
                self.functions[var] = self.graph.function(var, top)
        self.ramps = {v: found for v, f in self.functions.items() if f and (found := ramp(f))}
        self.whole = self._whole()
        self.why: dict[Var, str] = {}
        for var in reversed(self.ramps):
            self.why[var] = self._why(var)

    def is_relu(self, var: Var | None) -> bool:
        return var is not None and self.why.get(var) == ""

    def meets(self, var: Var) -> bool:
        """Whether paths meet in a value, other than by a choice that the image has no part in."""
        eqn = self.graph.made[var]
        chosen = eqn.primitive.name == "select_n" and not self.flow.depends(eqn.invars[0])
        return len(self.graph.sources(eqn)) > 1 and not chosen

    def bound(self, var: Var | None, side: float = 1.0) -> float | None:
        """Where a value is another, cut off above (below, if `side` is -1); NaN if not known."""
        if var not in self.functions:
            return None
        function = self.functions[var]
        if function is None:
            eqn = self.graph.made[var]
            cut = eqn.primitive.name == ("min" if side > 0 else "max")
            return math.nan if cut and len(self.graph.sources(eqn)) == 1 else None
        if len(function.knots) != 1:
            return None
        through, flat = function.pieces[:: int(side)]
        return side * flat.start if (through.slope, flat.slope) == (1, 0) else None

    def _whole(self) -> dict[Var, Var]:
        whole: dict[Var, Var] = {}
        for var in filter(self.meets, reversed(self.functions)):
            whole = dict.fromkeys(self._staying(var), var) | whole
        return whole

    def _staying(self, end: Var) -> list[Var]:
        """What `end` is computed from, below the value above it, that bears on nothing else."""
        staying = {end}
        for eqn in reversed(self.graph.between(end)[:-1]):
            (var,) = eqn.outvars
            outs = [out for reader in self.flow.readers(var) for out in reader.outvars]
            if staying.issuperset(outs) and not self.flow.leaves(var):
                staying.add(var)
        return list(staying - {end})

    def _why(self, var: Var) -> str:
        """Why a ramp is no ReLU; empty if it is one."""
        more = MORE if var in self.whole else ""
        # A call named relu is one wherever it stands: a norm's guard is never called so.
        guards = "" if call_name(self.graph.made[var]) in NAMED else guard(var, self.flow)
        own = guards or more or self._clip(var) or self._gate(var)
        return own or self._why_after(var)

    def _why_after(self, var: Var) -> str:
        """Why ramps of a ramp are no ReLUs, if it is read by nothing else; they are one with it."""
        outs = [out for eqn in self.flow.readers(var) for out in eqn.outvars]
        alike = bool(outs) and not self.flow.leaves(var) and all(map(self.why.get, outs))
        return self.why[outs[0]] if alike else ""

    def _clip(self, var: Var) -> str:
        """Why a ramp is a clip, or half of one, to a range other than relu6's; else empty."""
        bounds = [self.ramps[var].upper, *self._bounds(var)]
        others = [bound for bound in bounds if bound not in (6, math.inf)]
        if not others:
            return ""
        return f"it clips to [0, {'?' if math.isnan(others[0]) else format(others[0], 'g')}]"

    def _bounds(self, var: Var) -> list[float]:
        """The bounds that a ramp is given by what it reads, and by all that read it."""
        top, side = self.graph.above(var), math.copysign(1, self.ramps[var].scale)
        found = [self.bound(top, self.ramps[var].sign)]
        readers = [] if self.flow.leaves(var) else self.flow.readers(var)
        after = [eqn.outvars[0] for eqn in readers]
        if all(self.graph.above(each) is var for each in after):
            ends = [self.bound(each, side) for each in after]
            found += [] if None in ends else ends[:1]
        return [bound for bound in found if bound is not None]

    def _gate(self, var: Var) -> str:
        """Why a relu6 is a gate: its middle is another value's zero."""
        if self.ramps[var].upper != 6 and 6 not in self._bounds(var):
            return ""
        base = self.graph.above(var)
        base = self.graph.above(base) if base and self.bound(base) == 6 else base
        top = self.graph.above(base) if base else None
        while base is not None and top is not None:
            function = self.graph.function(base, top)
            if function is None or function.knots or not function.parts[0].slope:
                return ""
            if function.parts[0].start == 3:
                return f"{MORE}: relu6(x + 3) is the gate of hard_swish"
            top = self.graph.above(top)
        return ""


def ramp(function: Piecewise) -> Ramp | None:
    """A function of the form of a ReLU, or of a clip between zero and another number."""
    if not 1 <= len(function.knots) <= 2 or any(p.slope != p.derivative for p in function.pieces):
        return None
    low, *rest = function.pieces
    if low.slope and len(rest) == 1:
        mirrored, slope = rest[0], -low.slope
        flat, risen, sign = mirrored, low, -1.0
    else:
        flat, risen, sign, slope = low, rest[0], 1.0, rest[0].slope
    knot = function.knots[0]
    meets = all(
        abs(part.at(knot)) <= 1e-6 * max(1, abs(slope * knot)) for part in function.parts[:3]
    )
    if flat[:2] != (0, 0) or not slope or not meets or not math.isfinite(risen.start):
        return None
    if len(rest) == 1:
        return Ramp(slope, sign, knot)
    end = function.knots[1]
    closes = not rest[1].slope and math.isclose(rest[1].start, slope * (end - knot), rel_tol=1e-6)
    return Ramp(slope, sign, knot, end - knot) if closes and slope > 0 else None


def guard(var: Var, flow: Dataflow) -> str:
    """Why a value is no activation: it only reaches roots, logarithms and denominators."""
    return "it only normalises" if _normalises(var, flow) else ""


def _normalises(var: Var, flow: Dataflow) -> bool:
    if flow.leaves(var):
        return False
    return all(_normalised(eqn, var, flow) for eqn in flow.readers(var))


def _normalised(eqn: JaxprEqn, var: Var, flow: Dataflow) -> bool:
    name = eqn.primitive.name
    if name in _ROOTS or (name == "div" and eqn.invars[0] is not var):
        return True
    if name == "integer_pow" and eqn.params["y"] < 0:
        return True
    if name == "pow":
        power = flow.constant(eqn.invars[1])
        return eqn.invars[0] is var and power is not None and (power < 0 or 0 < power < 1)
    others = [v for v in eqn.invars if v is not var]
    through = name in _ARITHMETIC and not any(flow.depends(v) for v in others)
    kept = through or name in SAME_VALUES or name in _SUMS
    return kept and _normalises(eqn.outvars[0], flow)
