"""Finds a layer in an unmodified program: the default, or by number, tag, scope or parameter."""

from __future__ import annotations

from collections.abc import Callable

from jax.extend.core import ClosedJaxpr, JaxprEqn, Var

from jaxsal.rewrite.axes.layout import AxisLayout
from jaxsal.rewrite.dataflow import Dataflow, is_real
from jaxsal.rewrite.layers.default import default_layer
from jaxsal.rewrite.layers.names import (
    CONV,
    LayerCandidate,
    Names,
    Parameters,
    on_all_paths,
    scopes,
    tag,
    within,
    without_turns,
)
from jaxsal.rewrite.program import equations, variables

LayerName = int | str | None
"""`None` = the last feature map that every path passes; an int = that convolution; a string = a
tag, a named scope or a parameter."""

_PRODUCTS = ("dot_general", "ragged_dot")
_BARRIERS = (CONV, *_PRODUCTS, "reduce_window", "select_and_")


def loops_to_unroll(
    closed: ClosedJaxpr, layer: LayerName, parameters: Parameters
) -> Callable[[JaxprEqn], bool]:
    """Which loops hold what `layer` may mean, so that they have to be unrolled."""
    if layer is None:
        return lambda eqn: False
    if isinstance(layer, int):
        return lambda eqn: any(inner.primitive.name == CONV for inner in within(eqn))
    last = layer.split("/")[-1]
    mentioned = lambda eqn: tag(eqn) == layer or last in scopes(eqn)  # noqa: E731
    everything = (e for eqn in equations(closed.jaxpr) for e in (eqn, *within(eqn)))
    if any(map(mentioned, everything)):
        return lambda eqn: any(map(mentioned, within(eqn)))
    leaves = {id(leaf) for path, leaf in parameters.items() if _matched(path, _parts(layer))}
    constants = zip(closed.jaxpr.constvars, closed.consts, strict=True)
    flow = Dataflow(closed)
    made = flow.reached(var for var, value in constants if id(value) in leaves) - flow.dependent
    return lambda eqn: not made.isdisjoint(variables(eqn.invars))


def find_layer(names: Names, layer: LayerName, layout: AxisLayout) -> Var:
    """The value of a layer of a flat program.

    Args:
        names: what the values of a program of one image are called.
        layer: see `LayerName`.
        layout: how its values lie over the image.

    Raises:
        ValueError: unknown or ambiguous, or out of reach in the body of a `while` or `cond`; lists
            what there is, with shapes.
    """
    if layer is None:
        return default_layer(names, layout)
    if not isinstance(layer, str):
        return _settled(names, _reached(names, layer, _numbered(names, layer)), layout)
    if found := _tagged(names, layer) or _scoped(names, layer):
        return _reached(names, layer, found)
    return _settled(names, _reached(names, layer, _reading(names, layer)), layout)


def _reached(names: Names, layer: LayerName, found: LayerCandidate) -> Var:
    if found.var is None:
        raise ValueError(
            f"layer: {layer!r} lies inside a `{found.inside}`, where a program cannot be cut; "
            + names.listing()
        )
    return found.var


def _numbered(names: Names, number: int) -> LayerCandidate:
    convolutions = list(names.convolutions())
    if not -len(convolutions) <= number < len(convolutions):
        raise ValueError(
            f"layer: expected a convolution from {-len(convolutions)} to {len(convolutions) - 1}, "
            f"got {number}; {names.listing()}"
            if convolutions
            else f"layer: the model has no convolution, name a layer; {names.listing()}"
        )
    return convolutions[number]


def _tagged(names: Names, name: str) -> LayerCandidate | None:
    found = [each for each in names.tags() if each.path[-1] == name]
    _one_of(names, name, found)
    values = [each for each in found if each.var is not None]
    if len({each.path for each in values}) < len(values):
        raise ValueError(
            f"layer: {name!r} is ambiguous, {len(values)} values are tagged with it; "
            + names.listing()
        )
    return next(reversed(values or found), None)


def _scoped(names: Names, name: str) -> LayerCandidate | None:
    found = [each for each in names.scopes() if _ends(each.path, tuple(name.split("/")))]
    _one_of(names, name, found)
    values = [each for each in found if each.var is not None]
    visits = len({each.visit for each in values if each.path == values[-1].path})
    if visits > 1:
        raise ValueError(
            f"layer: {name!r} is ambiguous, the program enters that scope {visits} times: give a "
            f"number, or a parameter that the layer reads; {names.listing()}"
        )
    return next(reversed(values or found), None)


def _reading(names: Names, name: str) -> LayerCandidate:
    """Where the parameters of that name, or of the module of that name, last meet the image."""
    parts = _parts(name)
    read = [(each, _matched(each.path, parts)) for each in names.by_parameter()]
    found = [(each, path) for each, path in read if path]
    if any(path == parts for _, path in found):  # from the root on: no other is meant
        found = [(each, path) for each, path in found if path == parts]
    if not found:
        raise ValueError(f"layer: there is no {name!r}; {names.listing()}")
    # Collections (parameters, statistics) hold parts of one module.
    roots = 1 if len({path[1:] for _, path in found}) == 1 else 0
    _one_of(names, name, [each._replace(path=path[roots:]) for each, path in found])
    return found[-1][0]


def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.replace(".", "/").split("/"))


def _matched(path: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...]:
    """The shortest beginning of a parameter's path that ends with the parts; empty if none does."""
    split = tuple(each for part in path for each in part.split("."))
    whole = (split[:n] for n in range(len(parts), len(split) + 1))
    return next((each for each in whole if each[-len(parts) :] == parts), ())


def _one_of(names: Names, name: str, found: list[LayerCandidate]) -> None:
    paths = list(dict.fromkeys("/".join(without_turns(each.path)) for each in found))
    if len(paths) > 1:
        raise ValueError(
            f"layer: {name!r} is ambiguous, it may be any of {', '.join(paths)}; " + names.listing()
        )


def _settled(names: Names, start: Var, layout: AxisLayout) -> Var:
    """The last value of a layer's shape through which all paths from it to the score pass.

    The search ends at the next convolution, product or pool.
    """
    flat, live = names.flat.jaxpr, names.flow.live
    eqns = [eqn for eqn in flat.eqns if any(v in live for v in eqn.outvars)]
    best = start
    for eqn, var in on_all_paths(eqns, start, flat.outvars, live):
        if _is_barrier(eqn):
            break
        if var is not None and _lies_as(var, start, layout):
            best = var
    return best


def _lies_as(var: Var, start: Var, layout: AxisLayout) -> bool:
    """Whether a value has a layer's shape, but for axes of length one (a batch of one)."""
    sizes = [[n for n in v.aval.shape if n != 1] for v in (var, start)]  # type: ignore[attr-defined]
    kept = layout.axes(start) is None or layout.axes(var) is not None
    return is_real(var) and sizes[0] == sizes[1] and kept


def _is_barrier(eqn: JaxprEqn) -> bool:
    return any(e.primitive.name.startswith(_BARRIERS) for e in (eqn, *within(eqn)))


def _ends(path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    return any(p[len(p) - len(parts) :] == parts for p in (path, without_turns(path)))
