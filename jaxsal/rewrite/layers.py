"""Layers of a program nobody prepared: by number, by tag, by named scope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Var, jaxprs_in_params

from jaxsal.rewrite.axes import Layout
from jaxsal.rewrite.flow import Flow

LayerName = int | str | None
"""`None` = the last convolution; an int = that one; a string = a tag or a named scope."""

_CONV = "conv_general_dilated"
_BARRIERS = (_CONV, "dot_general", "ragged_dot", "reduce_window", "select_and_")
_SHOWN = 40


class Layer(NamedTuple):
    """A place where a program may be cut.

    Attributes:
      path: the named scopes around it.
      var: its value; `None` where it is out of reach, inside the call `inside`.
      shape: its value's type, in words.
      inside: the name of the operation whose body hides it.
    """

    path: tuple[str, ...]
    var: Var | None
    shape: str
    inside: str = ""


def mentions(eqn: JaxprEqn, layer: LayerName) -> bool:
    """Whether the body of a loop holds what `layer` may mean, so that it has to be unrolled."""
    last = layer.split("/")[-1] if isinstance(layer, str) else ""
    return any(
        (_tag(inner) == layer or last in scopes(inner))
        if isinstance(layer, str)
        else inner.primitive.name == _CONV
        for inner in _within(eqn)
    )


def find(flat: ClosedJaxpr, layer: LayerName, layout: Layout) -> Var:
    """The value of a layer of a flat program.

    Args:
      flat: a program of one image, one straight list of equations.
      layer: see `LayerName`.
      layout: how its values lie over the image.

    Raises:
      ValueError: unknown or ambiguous, or out of reach in the body of a `while` or `cond`; lists
        what there is, with shapes.
    """
    flow = Flow(flat)
    if isinstance(layer, str):
        found = _named(flat, flow, layer)
    else:
        found = _numbered(flat, flow, -1 if layer is None else layer)
    if found.var is None:
        raise ValueError(
            f"layer: {layer!r} lies inside a `{found.inside}`, where a program cannot be cut; "
            + _there_is(flat, flow)
        )
    return found.var if isinstance(layer, str) else _settled(flat, flow, found.var, layout)


def scopes(eqn: JaxprEqn) -> tuple[str, ...]:
    """The named scopes around an equation, without the names of transformations."""
    stack = eqn.source_info.name_stack.stack
    names = [part.name for part in stack if type(part).__name__ != "Transform"]
    return tuple(name for part in names for name in part.split("/"))


def _numbered(flat: ClosedJaxpr, flow: Flow, number: int) -> Layer:
    convolutions = list(_convolutions(flat, flow))
    if not -len(convolutions) <= number < len(convolutions):
        raise ValueError(
            f"layer: expected a convolution from {-len(convolutions)} to {len(convolutions) - 1}, "
            f"got {number}; {_there_is(flat, flow)}"
            if convolutions
            else f"layer: the model has no convolution, name a layer; {_there_is(flat, flow)}"
        )
    return convolutions[number]


def _named(flat: ClosedJaxpr, flow: Flow, name: str) -> Layer:
    tagged = [each for each in _tags(flat, flow) if each.path[-1] == name]
    parts = tuple(name.split("/"))
    scoped = [each for each in _scopes(flat, flow) if _ends(each.path, parts)]
    found = tagged or scoped
    if not found:
        raise ValueError(f"layer: there is no {name!r}; {_there_is(flat, flow)}")
    paths = list(dict.fromkeys("/".join(_no_turns(each.path)) for each in found))
    if len(paths) > 1:
        raise ValueError(
            f"layer: {name!r} is ambiguous, it may be any of {', '.join(paths)}; "
            + _there_is(flat, flow)
        )
    values = [each for each in found if each.var is not None]
    if len({each.path for each in values}) < len(values):
        raise ValueError(
            f"layer: {name!r} is ambiguous, {len(values)} values are tagged with it; "
            + _there_is(flat, flow)
        )
    return values[-1] if values else found[-1]


def _convolutions(flat: ClosedJaxpr, flow: Flow) -> Iterator[Layer]:
    for eqn, out in _values(flat, flow):
        if eqn.primitive.name == _CONV:
            yield Layer(scopes(eqn), out, _type(out))
        for inner in _within(eqn):
            if inner.primitive.name == _CONV:
                path = scopes(eqn) + scopes(inner)
                yield Layer(path, None, _type(inner.outvars[0]), eqn.primitive.name)


def _tags(flat: ClosedJaxpr, flow: Flow) -> Iterator[Layer]:
    for eqn, out in _values(flat, flow):
        if _tag(eqn):
            yield Layer((*scopes(eqn), _tag(eqn)), out, _type(out))
        for inner in _within(eqn):
            if _tag(inner):
                path = (*scopes(eqn), *scopes(inner), _tag(inner))
                yield Layer(path, None, _type(inner.outvars[0]), eqn.primitive.name)


def _scopes(flat: ClosedJaxpr, flow: Flow) -> Iterator[Layer]:
    """Every named scope with its last value, in the order in which they close."""
    found: dict[tuple[str, ...], Layer] = {}
    for eqn, out in _values(flat, flow):
        path = scopes(eqn)
        for inner in _within(eqn):
            for n in range(1, len(scopes(inner)) + 1):
                deep = path + scopes(inner)[:n]
                found.setdefault(
                    deep, Layer(deep, None, _type(inner.outvars[0]), eqn.primitive.name)
                )
        for n in range(1, len(path) + 1):
            found.pop(path[:n], None)
            found[path[:n]] = Layer(path[:n], out, _type(out))
    yield from found.values()


def _values(flat: ClosedJaxpr, flow: Flow) -> Iterator[tuple[JaxprEqn, Var]]:
    """The equations that carry the image to the score, with their last floating result."""
    for eqn in flat.jaxpr.eqns:
        outs = [v for v in eqn.outvars if v in flow.live and v in flow.dependent and _floating(v)]
        if outs:
            yield eqn, outs[-1]


def _settled(flat: ClosedJaxpr, flow: Flow, start: Var, layout: Layout) -> Var:
    """The last value of a convolution's shape through which all paths from it to the score pass.

    A value computed by equation i is passed by all paths if nothing that was reached before is read
    after i. The search ends at the next convolution, product or pool.
    """
    eqns = [eqn for eqn in flat.jaxpr.eqns if any(v in flow.live for v in eqn.outvars)]
    last = {v: i for i, eqn in enumerate(eqns) for v in eqn.invars if isinstance(v, Var)}
    last.update((v, len(eqns)) for v in flat.jaxpr.outvars if isinstance(v, Var))
    reached, best, needed = {start}, start, last[start]
    for i, eqn in enumerate(eqns):
        if not any(isinstance(v, Var) and v in reached for v in eqn.invars):
            continue
        if _is_barrier(eqn):
            break
        outs = [v for v in eqn.outvars if v in flow.live]
        if len(outs) == 1 and needed <= i and _lies_as(outs[0], start, layout):
            best = outs[0]
        reached.update(outs)
        needed = max([needed, *(last[v] for v in outs)])
    return best


def _lies_as(var: Var, start: Var, layout: Layout) -> bool:
    """Whether a value has a convolution's shape, but for axes of length one (a batch of one)."""
    sizes = [[n for n in v.aval.shape if n != 1] for v in (var, start)]  # type: ignore[attr-defined]
    kept = layout.axes(start) is None or layout.axes(var) is not None
    return _floating(var) and sizes[0] == sizes[1] and kept


def _is_barrier(eqn: JaxprEqn) -> bool:
    return any(e.primitive.name.startswith(_BARRIERS) for e in (eqn, *_within(eqn)))


def _within(eqn: JaxprEqn) -> Iterator[JaxprEqn]:
    """All equations in the bodies of an equation."""
    for body in jaxprs_in_params(eqn.params):
        for inner in body.eqns:
            yield inner
            yield from _within(inner)


def _there_is(flat: ClosedJaxpr, flow: Flow) -> str:
    """What there is to choose from, in words."""
    convolutions = [
        f"{i}: {each.shape} in {'/'.join(each.path) or 'no scope'}"
        for i, each in enumerate(_convolutions(flat, flow))
    ]
    lists = {"convolutions": convolutions}
    for kind, layers in (("tags", _tags(flat, flow)), ("scopes", _scopes(flat, flow))):
        lists[kind] = [f"{'/'.join(each.path)}: {each.shape}" for each in layers]
    words = [f"{kind}: {', '.join(_shown(names)) or 'none'}" for kind, names in lists.items()]
    return "there are " + "; ".join(words)


def _shown(names: list[str]) -> list[str]:
    more = len(names) - _SHOWN
    return names if more <= 0 else [*names[:_SHOWN], f"and {more} more"]


def _ends(path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    return any(p[len(p) - len(parts) :] == parts for p in (path, _no_turns(path)))


def _no_turns(path: tuple[str, ...]) -> tuple[str, ...]:
    """A path without the `[i]` of unrolled loops."""
    return tuple(name for name in path if not (name.startswith("[") and name.endswith("]")))


def _tag(eqn: JaxprEqn) -> str:
    return str(eqn.params["name"]) if eqn.primitive.name == "name" else ""


def _floating(var: Var) -> bool:
    return jnp.issubdtype(var.aval.dtype, jnp.floating)  # type: ignore[attr-defined]


def _type(var: Any) -> str:
    return str(var.aval.str_short(short_dtypes=True))
