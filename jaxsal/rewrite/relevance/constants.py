"""What relevance rules hold constant although it depends on the image.

A norm divides by a deviation that it computes from its input; rules send all relevance through what
is divided. What is held constant keeps its value.
"""

from __future__ import annotations

from collections.abc import Callable

from jax.extend.core import ClosedJaxpr, JaxprEqn, Var

from jaxsal.rewrite.dataflow import Dataflow, is_floating
from jaxsal.rewrite.program import Atom, variables
from jaxsal.rewrite.relevance import folding
from jaxsal.rewrite.relevance.flat_score import held
from jaxsal.rewrite.relevance.softmax import find_softmaxes

RESULT = -1
_TOTALS = frozenset({"reduce_sum", "reduce_window_sum"})
_THROUGH = folding.RESHAPES | folding.SAME
Positions = Callable[[JaxprEqn], tuple[int, ...]]


def hold_deviations(flat: ClosedJaxpr) -> ClosedJaxpr:
    """The same program with the deviations that norms divide by held constant.

    These are roots that are one over something (`rsqrt`, negative powers) and only scale other
    values, and denominators of what depends on the image; those of a softmax are not.
    """
    flow, inside = Dataflow(flat), _inside_softmaxes(flat)

    def positions(eqn: JaxprEqn) -> tuple[int, ...]:
        if id(eqn) in inside:
            return ()
        if eqn.primitive.name == "div" and all(map(flow.depends, eqn.invars)):
            return (1,)
        inverse = _is_inverse(eqn, flow) and _only_scales(eqn.outvars[0], flow)
        return (RESULT,) if inverse else ()

    return held(flat, positions)


def hold_means(flat: ClosedJaxpr) -> ClosedJaxpr:
    """The same program with a value's own mean held constant where it is taken from it."""
    flow = Dataflow(flat)

    def positions(eqn: JaxprEqn) -> tuple[int, ...]:
        if eqn.primitive.name != "sub" or not all(map(flow.depends, eqn.invars)):
            return ()
        whole, mean = variables(eqn.invars)
        return (1,) if _is_mean(mean, _source(whole, flow), flow) else ()

    return held(flat, positions)


def hold_attention(flat: ClosedJaxpr) -> ClosedJaxpr:
    """The same program with every softmax held constant."""
    found = {id(each.equations[-1]) for each in find_softmaxes(flat).values()}
    return held(flat, lambda eqn: (RESULT,) if id(eqn) in found else ())


def _inside_softmaxes(flat: ClosedJaxpr) -> set[int]:
    found = find_softmaxes(flat).values()
    return {id(eqn) for softmax in found for eqn in softmax.equations}


def _is_inverse(eqn: JaxprEqn, flow: Dataflow) -> bool:
    name = eqn.primitive.name
    if name == "div":  # 1 / sqrt(variance); another quotient may be a gate
        return not flow.depends(eqn.invars[0]) and _is_root(eqn.invars[1], flow)
    if name not in ("rsqrt", "integer_pow", "pow") or not flow.depends(eqn.invars[0]):
        return False
    power = eqn.params["y"] if name == "integer_pow" else -1
    power = flow.constant(eqn.invars[1]) if name == "pow" else power
    return power is not None and power < 0


def _is_root(atom: Atom, flow: Dataflow) -> bool:
    """Whether a value is a square root, perhaps with a constant added to it."""
    eqn = flow.producer(atom)
    if eqn is None or not flow.depends(atom):
        return False
    name = eqn.primitive.name
    if name == "sqrt" or (name == "pow" and flow.constant(eqn.invars[1]) == 0.5):
        return True
    moving = [v for v in variables(eqn.invars) if flow.depends(v)]
    through = name in _THROUGH or name in ("add", "max")
    return through and len(moving) == 1 and _is_root(moving[0], flow)


def _only_scales(var: Var, flow: Dataflow) -> bool:
    """Whether a value is only multiplied with others that depend on the image."""
    readers = flow.readers(var)
    return bool(readers) and not flow.leaves(var) and all(_scales(e, flow) for e in readers)


def _scales(eqn: JaxprEqn, flow: Dataflow) -> bool:
    moving = [v for v in variables(eqn.invars) if flow.depends(v)]
    name = eqn.primitive.name
    if name in ("mul", "div") and len(moving) == 2:
        return True
    through = name in ("mul", "div") or name in _THROUGH
    return through and len(moving) == 1 and _only_scales(eqn.outvars[0], flow)


def _source(var: Var, flow: Dataflow) -> Var:
    """The value that a value is a copy of in another shape."""
    while (eqn := flow.producer(var)) is not None and eqn.primitive.name in _THROUGH:
        (var,) = variables(eqn.invars)[:1]
    return var


def _is_mean(var: Var, whole: Var, flow: Dataflow) -> bool:
    """Whether a value is sums of another, scaled and in another shape."""
    summed = False
    while (eqn := flow.producer(var)) is not None and var is not whole:
        moving = [v for v in variables(eqn.invars) if flow.depends(v) and is_floating(v)]
        name = eqn.primitive.name
        if len(moving) != 1 or not (name in _TOTALS | _THROUGH or name in ("mul", "div")):
            return False
        if name == "div" and moving[0] is not eqn.invars[0]:
            return False
        summed = summed or name in _TOTALS
        (var,) = moving
    return summed and var is whole
