"""Finds activations with a kink that are no ReLUs and that the gradient of the image passes.

Leaky and parametric ReLUs, hard_tanh, hard_swish, ELU, an absolute value, a call with a derivative
of its own: functions of one value whose derivative has cases. Not among them are maxima of
several values (pools, a softmax), masks and choices that another value makes, guards of
denominators, roots and logarithms, what no gradient goes through, and the image cut to a range.
"""

from __future__ import annotations

import math
from collections.abc import Set

from jax.extend.core import ClosedJaxpr, JaxprEqn, Var

from jaxsal.rewrite.activations.functions import NAMED, derivative
from jaxsal.rewrite.activations.relus import Activations, guard
from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.program import CUSTOM_CALLS, call_name, equations

_KINKED = frozenset({"abs", "clamp", "max", "min"})
_CASES = frozenset({"ge", "gt", "le", "lt", "sign"})
_DECIDING = _CASES.union({"clamp", "max", "min"})


def find_kinks(body: Activations, image: Set[Var]) -> set[Var]:
    """The results of a body's activations with a kink that are no ReLUs.

    Of functions that follow each other, or lie in each other, it is the first, or the outer.

    Args:
        body: the functions of one body of a program.
        image: the program's inputs.
    """
    found: set[Var] = set()
    for var in filter(body.flow.active.__contains__, body.functions):
        end = body.whole.get(var, var)
        if not _bends(body, var) or body.is_relu(end) or _is_bound_of_relu6(body, end):
            continue
        if guard(var, body.flow) or guard(end, body.flow) or _is_range_of_image(body, end, image):
            continue
        if body.graph.above(end) not in found:
            found.add(end)
    return found


def is_maximum_with_constant(eqn: JaxprEqn, flow: Dataflow) -> bool:
    """Whether an equation is the maximum over a stack of an activation and a finite constant."""
    if eqn.primitive.name not in ("reduce_max", "reduce_min"):
        return False
    stack = flow.producer(eqn.invars[0])
    if stack is None or stack.primitive.name not in ("concatenate", "stack"):
        return False
    fixed = [flow.constant(v) for v in stack.invars if not flow.depends(v)]
    return any(value is None or math.isfinite(value) for value in fixed)


def _bends(body: Activations, var: Var) -> bool:
    """Whether a value's derivative has cases that those of what it is computed from have not."""
    function, eqn = body.functions[var], body.graph.made[var]
    if function is not None:
        return function.has_kink
    inside = body.graph.between(var) if body.meets(var) else []
    return _is_kinked(body, eqn) or any(_decides(body, each) for each in inside)


def _decides(body: Activations, eqn: JaxprEqn) -> bool:
    """Whether an equation makes cases in a value that a gradient goes through."""
    if eqn.primitive.name in _CASES:
        return _steers(body, eqn.outvars[0])
    active = eqn.outvars[0] in body.flow.active and not guard(eqn.outvars[0], body.flow)
    return active and _is_kinked(body, eqn)


def _steers(body: Activations, var: Var) -> bool:
    """Whether a truth value takes part in one that a gradient goes through."""
    outs = [out for eqn in body.flow.readers(var) for out in eqn.outvars]
    return any(v in body.flow.active or (v in body.graph.made and _steers(body, v)) for v in outs)


def _is_kinked(body: Activations, eqn: JaxprEqn) -> bool:
    """Whether an operation has a kink, or a call's own derivative has cases."""
    if eqn.primitive.name not in CUSTOM_CALLS or call_name(eqn) in NAMED:
        return eqn.primitive.name in _KINKED
    places = [i for i, atom in enumerate(eqn.invars) if body.flow.depends(atom)]
    programs = [derivative(eqn, place) for place in places]
    return any(_has_cases(program) for program in programs if program is not None)


def _has_cases(program: ClosedJaxpr) -> bool:
    flow = Dataflow(program)
    return any(
        eqn.primitive.name in _DECIDING and any(map(flow.depends, eqn.invars))
        for eqn in equations(program.jaxpr)
        if any(out in flow.live for out in eqn.outvars)
    )


def _is_bound_of_relu6(body: Activations, var: Var) -> bool:
    ends = [body.graph.above(var), *(out for eqn in body.flow.readers(var) for out in eqn.outvars)]
    return 6 in (body.bound(var), body.bound(var, -1.0)) and any(map(body.is_relu, ends))


def _is_range_of_image(body: Activations, var: Var, image: Set[Var]) -> bool:
    """Whether a value is the image, cut to a range."""
    top = body.graph.above(var)
    beside = [body.graph.made.get(top), *body.flow.readers(var)] if top else []
    names = {body.graph.made[var].primitive.name, *(eqn.primitive.name for eqn in beside if eqn)}
    while top in body.functions:
        top = body.graph.above(top)
    return top in image and (names >= {"max", "min"} or "clamp" in names)
