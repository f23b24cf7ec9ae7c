"""A score as one straight list of equations that rules can be told apart on.

`jit` and `remat` calls stand in place, loops over what depends on the image are unrolled, a call
with a derivative of its own is opened unless it is one elementwise function of one value, a `split`
is slices, and what depends on the image is broadcast by equations of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Primitive, Var

from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.elementwise import POINTWISE, on_blocks
from jaxsal.rewrite.interpreter import Frame, Rule, Rules, evaluate
from jaxsal.rewrite.layers.flatten import flatten
from jaxsal.rewrite.program import (
    CUSTOM_CALLS,
    JaxValue,
    Values,
    bind,
    call_name,
    live_equations,
    shape_of,
    trace,
)
from jaxsal.types import Image, ScoreFn

_RELUS = ("relu", "relu6")
_HELD = "jaxsal: held constant by a relevance rule"


def flat_score(score: ScoreFn, image: Image, *, open_calls: bool = True) -> ClosedJaxpr:
    """The program of a score of one image, flat.

    Args:
        score: image -> scalar.
        image: one image.
        open_calls: whether calls with a derivative of their own are opened where they are no
            elementwise function of one value. Where derivatives count, they are not.
    """
    closed, _ = trace(score, image)
    flow = Dataflow(closed)
    unroll = lambda eqn: any(map(flow.depends, eqn.outvars))  # noqa: E731
    rules: Rules = dict.fromkeys(CUSTOM_CALLS, _opened) if open_calls else {}
    flat = flatten(closed, unroll, rules)
    return _live(_explicit(flat))


def _live(flat: ClosedJaxpr) -> ClosedJaxpr:
    """The same program without what its result does not read."""
    return flat.replace(jaxpr=flat.jaxpr.replace(eqns=live_equations(flat.jaxpr)))


def _opened(eqn: JaxprEqn, values: Values, frame: Frame) -> Values | None:
    """What a call computes, by the equations of its body; `None` where it stays a call."""
    floating = [v for v in eqn.invars if not isinstance(v, Literal) and shape_of(v)]
    one = len(dict.fromkeys(floating)) == 1 and shape_of(floating[0]) == shape_of(eqn.outvars[0])
    if one and (call_name(eqn) in _RELUS or on_blocks(eqn) is not None):
        return None
    return evaluate(eqn.params["call_jaxpr"], dict.fromkeys(CUSTOM_CALLS, _opened), *values)


def _explicit(flat: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, with slices for a `split` and broadcasts that are equations."""
    flow = Dataflow(flat)

    def broadcast(eqn: JaxprEqn, values: Values, frame: Frame) -> Values | None:
        del frame
        shape = shape_of(eqn.outvars[0])
        small = [flow.depends(v) and shape_of(v) != shape for v in eqn.invars]
        if not any(small) or any(len(shape_of(v)) != len(shape) for v in eqn.invars if shape_of(v)):
            return None
        wide = lambda x: lax.broadcast_in_dim(x, shape, range(x.ndim))  # noqa: E731
        return bind(eqn, [wide(x) if s else x for x, s in zip(values, small, strict=True)])

    rules: dict[Primitive | str, Rule] = dict.fromkeys(POINTWISE, broadcast)
    return replayed(flat, {**rules, "split": _slices, "unstack": _rows})


def _slices(eqn: JaxprEqn, values: Values, frame: Frame) -> Values:
    del frame
    outs, start = [], 0
    for size in eqn.params["sizes"]:
        outs.append(lax.slice_in_dim(values[0], start, start + size, axis=eqn.params["axis"]))
        start += size
    return outs


def _rows(eqn: JaxprEqn, values: Values, frame: Frame) -> Values:
    del frame
    axis = eqn.params["axis"]
    return [lax.index_in_dim(values[0], i, axis, False) for i in range(len(eqn.outvars))]


def held(flat: ClosedJaxpr, positions: Callable[[JaxprEqn], tuple[int, ...]]) -> ClosedJaxpr:
    """The same program with some operands held constant for rules, see `stopped`.

    They are named, not stopped: a derivative of the map goes through their values.

    Args:
        flat: a flat program.
        positions: of an equation, which of its operands are held; -1 is its result.
    """

    def hold(eqn: JaxprEqn, values: Values, frame: Frame) -> Values | None:
        del frame
        found = positions(eqn)
        if not found:
            return None
        outs = bind(eqn, [_named(x) if i in found else x for i, x in enumerate(values)])
        return [_named(x) for x in outs] if -1 in found else outs

    chosen = {eqn.primitive.name for eqn in flat.jaxpr.eqns if positions(eqn)}
    return replayed(flat, dict.fromkeys(chosen, hold)) if chosen else flat


def stopped(flat: ClosedJaxpr) -> frozenset[Var]:
    """The values that rules take as constants: those that are held, or stopped by the score."""
    return frozenset(
        out
        for eqn in flat.jaxpr.eqns
        if eqn.primitive.name == "stop_gradient" or eqn.params.get("name") == _HELD
        for out in eqn.outvars
    )


def _named(x: JaxValue) -> JaxValue:
    return checkpoint_name(x, _HELD)


def let_through(flat: ClosedJaxpr) -> ClosedJaxpr:
    """The same program without `stop_gradient`."""

    def same(eqn: JaxprEqn, values: Values, frame: Frame) -> Values:
        del eqn, frame
        return values

    return replayed(flat, {"stop_gradient": same})


def replayed(flat: ClosedJaxpr, rules: Rules) -> ClosedJaxpr:
    """A program as its evaluation under rules writes it."""
    return jax.make_jaxpr(lambda *xs: evaluate(flat, rules, *xs))(*flat.in_avals)
