"""The layer that is meant where none is named: the last feature map that every path passes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from jax.extend.core import ClosedJaxpr, JaxprEqn, Var, jaxprs_in_params

from jaxsal.rewrite.axes.factors import image_axes
from jaxsal.rewrite.axes.layout import AxisLayout
from jaxsal.rewrite.dataflow import FLAT, SAME_VALUES, Dataflow, is_real
from jaxsal.rewrite.layers.names import Names, on_all_paths, type_of, within
from jaxsal.rewrite.program import Atom, bodies, equations, open_jaxpr, shape_of, variables

_PRODUCTS = ("conv_general_dilated", "dot_general", "ragged_dot")
_POOLS = ("reduce_window", "select_and_gather_add", "reduce_max", "reduce_sum", "reduce_min")
_PICKS = ("slice", "dynamic_slice", "gather")
_SHOWN = 8
_EXTRA = 8
"""The most tokens (class token, registers) that may precede those of the grid."""


class Passed(NamedTuple):
    """A value that every differentiable path from the image to the score passes."""

    eqn: JaxprEqn
    var: Var


def default_layer(names: Names, layout: AxisLayout) -> Var:
    """The last feature map that every path from the image to the score passes.

    A feature map comes after a convolution or product and has at least two positions along some
    spatial axis of the image. Pools after it belong to the rest of the score.

    Raises:
        ValueError: there is none, or attention comes after it; lists what may be given.
    """
    ways = (list(_passed(names, each)) for each in (True, False))
    passed = next(filter(None, ways), [])
    if not passed:
        raise ValueError(f"layer: the model has no convolution, name a layer; {names.listing()}")
    maps = [i for i, each in enumerate(passed) if has_extent(layout, each.var)]
    if not maps:
        why = "no value that every path from the image to the score passes lies over the image"
        raise ValueError(_asked(why, passed, names, layout))
    before = _before_pools(passed, maps[-1], names.flow, layout)
    var = passed[before if before in maps else maps[-1]].var
    if _attends(names.flat, names.flow, [var]):
        why = f"attention comes after the last value that lies over the image, {type_of(var)}"
        raise ValueError(_asked(why, passed, names, layout))
    tokens = [each for each in passed[maps[-1] + 1 :] if _is_tokens(each, var, layout)]
    if tokens:
        why = (
            f"after the last value that lies over the image, {type_of(var)}, come others in which "
            f"the image's axes are merged, the last {type_of(tokens[-1].var)}"
        )
        raise ValueError(_asked(why, passed, names, layout))
    return var


def _is_tokens(passed: Passed, last: Var, layout: AxisLayout) -> bool:
    """Whether a value still has all positions of the last feature map, in one axis of their own."""
    if _moves(passed.eqn) or layout.axes(last) is None:
        return False
    digits = {axis for f in layout.labels.get(last, ()) for axis in image_axes(f)}
    merged = {*layout.spatial} & digits
    return len(merged) > 1 and any(
        image_axes(factors) == merged and all(f.axis in merged for f in factors)
        for factors in layout.labels.get(passed.var, ())
    )


def has_extent(layout: AxisLayout, var: Var) -> bool:
    """Whether a value has two positions or more along some spatial axis of the image."""
    axes, shape = layout.axes(var), shape_of(var)
    return axes is not None and any(axis is not None and shape[axis] > 1 for axis in axes)


def _passed(names: Names, differentiable: bool) -> Iterator[Passed]:
    """The values that all paths pass, in order, from the first convolution or product on.

    Of differentiable paths, none goes through what has no derivative.
    """
    flat, flow = names.flat.jaxpr, names.flow
    counts = flow.active if differentiable else flow.live
    eqns = [
        eqn
        for eqn in flat.eqns
        if not counts.isdisjoint(eqn.outvars)
        and not (differentiable and eqn.primitive.name in FLAT)
    ]
    (image,), features = flat.invars, False
    for eqn, var in on_all_paths(eqns, image, flat.outvars, counts):
        features = features or any(e.primitive.name in _PRODUCTS for e in (eqn, *within(eqn)))
        if features and var is not None and is_real(var):
            yield Passed(eqn, var)


def _before_pools(passed: list[Passed], index: int, flow: Dataflow, layout: AxisLayout) -> int:
    """Which of them is pooled, moved and scaled to give this one; itself, if none is."""
    here = index
    while here > 0 and (_moves(passed[here].eqn) or _scales(passed[here].eqn, flow)):
        here -= 1
    if here == 0 or not _pools(passed[here].eqn, layout):
        return index
    here -= 1
    while here > 0 and _moves(passed[here].eqn):  # windows made by reshaping, a border
        here -= 1
    return _before_pools(passed, here, flow, layout)


def _pools(eqn: JaxprEqn, layout: AxisLayout) -> bool:
    """Whether an equation takes positions together, and not channels alone."""
    if not eqn.primitive.name.startswith(_POOLS):
        return False
    windows = eqn.params.get("window_dimensions", ())
    axes = eqn.params.get("axes", [i for i, n in enumerate(windows) if n > 1])
    labels = [f for v in variables(eqn.invars[:1]) for f in layout.labels.get(v, ())]
    spatial = {*layout.spatial}
    return any(i < len(labels) and image_axes(labels[i]) & spatial for i in axes)


def _moves(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name in SAME_VALUES | {"pad"}


def _scales(eqn: JaxprEqn, flow: Dataflow) -> bool:
    """Whether an equation multiplies by what does not depend on the image."""
    return eqn.primitive.name in ("mul", "div") and sum(map(flow.depends, eqn.invars)) == 1


def _attends(closed: ClosedJaxpr, flow: Dataflow, start: list[Var]) -> bool:
    """Whether values that depend on `start` are multiplied by products of such values.

    Queries and keys are such values: their products weigh the values. One product alone is not
    attention.
    """
    after = flow.reached(start)
    eqns = list(equations(closed.jaxpr))
    products = [e for e in eqns if e.primitive.name == "dot_general" and _both(e, after)]
    weighed = flow.reached([v for eqn in products for v in eqn.outvars])
    if any(not weighed.isdisjoint(variables(eqn.invars)) for eqn in products):
        return True
    return any(_attends(*inner) for eqn in eqns for inner in _closed_bodies(eqn, after))


def _both(eqn: JaxprEqn, after: frozenset[Var]) -> bool:
    return all(isinstance(v, Var) and v in after for v in eqn.invars)


def _closed_bodies(
    eqn: JaxprEqn, after: frozenset[Var]
) -> Iterator[tuple[ClosedJaxpr, Dataflow, list[Var]]]:
    """The bodies that the data flow does not enter (custom derivatives), with what is after."""
    for body in [] if bodies(eqn) else jaxprs_in_params(eqn.params):
        inner = open_jaxpr(body)
        closed = body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(inner, [])
        pairs = zip(inner.invars, eqn.invars, strict=False)
        if start := [own for own, given in pairs if isinstance(given, Var) and given in after]:
            yield closed, Dataflow(closed), start


def _asked(why: str, passed: list[Passed], names: Names, layout: AxisLayout) -> str:
    """An error in words: what may be given instead, the last first."""
    grid = _grid(passed, layout)
    called = {each.var: "/".join(each.path) for each in (*names.scopes(), *names.tags())}
    found = [
        f"layer={called[var]!r} {type_of(var)}{_tokens(var, grid)}"
        for _, var in reversed(passed)
        if var in called and _all_count(var, names)
    ]
    listed = "; ".join(found[:_SHOWN]) or f"none has a name; {names.listing()}"
    return (
        f"layer: {why}; give layer=, and where the image's axes are merged spatial=, a function "
        f"from its value to spatial axes and channels; candidates, the last first: {listed}"
    )


def _all_count(var: Var, names: Names) -> bool:
    """Whether a value has positions, and all bear on the score.

    After the last attention a class token alone may be read.
    """
    sizes = _sizes(var)
    if len(sizes) < 2:
        return False
    after = names.flow.reached([var])
    picked = any(
        eqn.primitive.name in _PICKS and _sizes(eqn.invars[0]) == sizes != _sizes(eqn.outvars[0])
        for eqn in names.flat.jaxpr.eqns
        if not after.isdisjoint(variables(eqn.invars))
    )
    return not picked or _attends(names.flat, names.flow, [var])


def _grid(passed: list[Passed], layout: AxisLayout) -> tuple[int, ...]:
    """How many positions the last feature map has along the image's spatial axes."""
    for _, var in reversed(passed):
        axes = layout.axes(var)
        if axes is not None and has_extent(layout, var):
            return tuple(1 if axis is None else shape_of(var)[axis] for axis in axes)
    return ()


def _tokens(var: Var, grid: tuple[int, ...]) -> str:
    """How tokens are made a grid, where their number says it."""
    sizes = _sizes(var)
    more = sizes[0] - math.prod(grid)
    if not grid or len(sizes) != 2 or not 0 <= more <= _EXTRA:
        return ""
    cut = f"[{more}:]" if more else ""
    return f" spatial=lambda t: t{cut}.reshape({', '.join(map(str, grid))}, -1)"


def _sizes(atom: Atom) -> list[int]:
    return [n for n in shape_of(atom) if n != 1]
