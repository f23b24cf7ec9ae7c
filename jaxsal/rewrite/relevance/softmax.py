"""Finds softmaxes, by JAX's function or by hand: `exp(x - max(x)) / sum(exp(x - max(x)))`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jax.extend.core import ClosedJaxpr, JaxprEqn, Var

from jaxsal.rewrite.dataflow import Dataflow, is_floating
from jaxsal.rewrite.program import Atom, shape_of, variables

_SHAPES = frozenset({"broadcast_in_dim", "reshape", "expand_dims", "squeeze", "stop_gradient"})
_CASTS = frozenset({"convert_element_type", "copy", "copy_p"})


class Softmax(NamedTuple):
    """A softmax: what it is of, along which axes, and the equations that compute it."""

    root: Var
    axes: tuple[int, ...]
    equations: tuple[JaxprEqn, ...]


def find_softmaxes(flat: ClosedJaxpr) -> dict[Var, Softmax]:
    """The softmaxes of a flat program, by their results."""
    flow = Dataflow(flat)
    order = {out: i for i, eqn in enumerate(flat.jaxpr.eqns) for out in eqn.outvars}
    found: dict[Var, Softmax] = {}
    for eqn in flat.jaxpr.eqns:
        if eqn.primitive.name == "div" and all(map(flow.depends, eqn.invars)):
            parts = _parts(eqn, flow)
            if parts is not None:
                root, axes, equations = parts
                equations.sort(key=lambda each: order[each.outvars[0]])
                found[eqn.outvars[0]] = Softmax(root, axes, tuple(equations))
    return found


def _parts(
    division: JaxprEqn, flow: Dataflow
) -> tuple[Var, tuple[int, ...], list[JaxprEqn]] | None:
    above, below = variables(division.invars)
    exponential = flow.producer(above)
    chain = _up(below, "reduce_sum", flow)
    if exponential is None or exponential.primitive.name != "exp" or chain is None:
        return None
    rank, (summed,) = len(shape_of(above)), variables(chain[-1].invars)
    casts = []
    if (cast := flow.producer(summed)) is not None and cast.primitive.name in _CASTS:
        casts, (summed,) = [cast], variables(cast.invars)  # narrow numbers are summed in float32
    if summed is not above or not _in_place(chain, rank):
        return None
    equations = [division, exponential, *chain, *casts]
    (inside,) = variables(exponential.invars)
    axes = tuple(chain[-1].params["axes"])
    shift = flow.producer(inside)
    if shift is None or shift.primitive.name != "sub" or len(variables(shift.invars)) != 2:
        return inside, axes, equations
    root, largest = variables(shift.invars)
    maximum = _up(largest, "reduce_max", flow)
    if maximum is None or variables(maximum[-1].invars) != [root]:
        return inside, axes, equations
    if not {*axes} <= {*maximum[-1].params["axes"]} or not _in_place(maximum, rank):
        return inside, axes, equations  # what is subtracted differs along the softmax
    return root, axes, [*equations, shift, *maximum]


def _up(var: Var, name: str, flow: Dataflow) -> list[JaxprEqn] | None:
    """The equations from a value up to a reduction, through changes of shape and type."""
    chain: list[JaxprEqn] = []
    while (eqn := flow.producer(var)) is not None:
        chain.append(eqn)
        if eqn.primitive.name == name:
            return chain
        moving = [v for v in variables(eqn.invars) if flow.depends(v) and is_floating(v)]
        guard = eqn.primitive.name == "max" and name == "reduce_max"  # against -inf
        if len(moving) != 1 or not (guard or eqn.primitive.name in _SHAPES | _CASTS):
            return None
        (var,) = moving
    return None


def _in_place(chain: Sequence[JaxprEqn], rank: int) -> bool:
    """Whether a reduction's result stands, beside what it reduces, at the axes it is left with.

    Of a square e, `e / e.sum(0)[:, None]` divides rows by the sums of columns.
    """
    *moves, reduction = chain
    left = [axis for axis in range(rank) if axis not in reduction.params["axes"]]
    places = dict(enumerate(left))
    for eqn in reversed(moves):
        if eqn.primitive.name == "broadcast_in_dim":
            places = {eqn.params["broadcast_dimensions"][i]: axis for i, axis in places.items()}
        elif eqn.primitive.name in ("reshape", "expand_dims", "squeeze"):
            before, after = _wide(eqn.invars[0]), _wide(eqn.outvars[0])
            if [*before.values()] != [*after.values()]:
                return False
            pairs = zip(before, after, strict=True)
            places = {j: places[i] for i, j in pairs if i in places}
    return all(i == axis for i, axis in places.items())


def _wide(atom: Atom) -> dict[int, int]:
    """The axes that are longer than one, with their lengths."""
    return {i: n for i, n in enumerate(shape_of(atom)) if n != 1}
