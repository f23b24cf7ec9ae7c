"""Splits a score at a layer: the layer's value, and the rest of the score as a function of it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Var
from jaxtyping import Array

from jaxsal.rewrite.axes.layout import Axes, AxisLayout, layout
from jaxsal.rewrite.axes.spatial import axes_or_raise, stated_axes
from jaxsal.rewrite.layers.find import LayerName, find_layer, loops_to_unroll
from jaxsal.rewrite.layers.flatten import flatten
from jaxsal.rewrite.layers.names import Names
from jaxsal.rewrite.notes import Note, note
from jaxsal.rewrite.program import JaxValue, depending, live_equations, play, read, trace
from jaxsal.types import Image, Scalar, ScoreFn

LAYER = "layer"
"""The name that notes of the chosen layer are filed under."""


def cut(
    score: ScoreFn, image: Image, layer: LayerName = None
) -> tuple[Array, Callable[[Array], Scalar]]:
    """Splits `score` at a layer, so that `head(value) = score(image)`.

    Args:
        score: image -> scalar.
        image: `[...]` float.
        layer: `None` = the last feature map through which every path from the image to the score
            passes: after a convolution or product, with two positions or more along some spatial
            axis, before the pools that follow it. An int = that convolution in execution order,
            negative from the end. A string = a value tagged with
            `jax.ad_checkpoint.checkpoint_name`, else the last image-dependent floating value
            computed inside the named scope with that name or path suffix, else the layer that reads
            the parameter, or the parameters of the module, with that path or path suffix (where
            `score` carries `parameters`, as the explainer's does). Of a convolution by number and a
            layer by parameter the value is the last one of its shape through which every path from
            it to the score passes, before the next convolution, product or pool. A `scan` that
            holds the layer is unrolled; its turn i is a scope `[i]`.

    Returns:
        `(value, head)`: the layer's value as the program has it, with its batch axis if there is
        one, and the rest of the score as a function of it. `head` closes over everything else that
        the score computes from the image, skip connections too.

    Raises:
        ValueError: the layer is unknown or ambiguous, or inside a `while` or `cond`; it is `None`
            and no value is such a feature map, or attention comes after it.
        TypeError: `layer` is no int, string or `None`.
    """
    parts = _split(score, image, layer)[0]
    return parts.value, parts.head


class SplitScore(NamedTuple):
    """A score that was split at a layer.

    Attributes:
        value: the layer's value.
        head: from the value to the score.
        axes: the axes of `value` that run along the image's spatial axes, in their order, `None`
            for one of length one that was dropped; `None` where the value has lost one of them.
        spatial: the image's spatial axes.
        reversed_axes: the axes of `value` that run along the image from its end to its start.
        lost: where one of the image's axes was lost, in words; empty if none was.
    """

    value: Array
    head: Callable[[Array], Scalar]
    axes: Axes | None
    spatial: tuple[int, ...]
    reversed_axes: tuple[int, ...] = ()
    lost: str = ""


def split_at_layer(score: ScoreFn, image: Image, layer: LayerName = None) -> SplitScore:
    """`cut`, with how the value lies over the image.

    Raises:
        ValueError: as of `cut`; or the image's spatial axes cannot be read (`axes.spatial`).
    """
    parts, lay = _split(score, image, layer)
    axes_or_raise(score, lay, image.shape)
    return parts


def _split(score: ScoreFn, image: Image, layer: LayerName) -> tuple[SplitScore, AxisLayout]:
    layer = layer if isinstance(layer, str | None) else _index(layer)
    closed, _ = trace(score, image)
    parameters = getattr(score, "parameters", {})
    flat = flatten(closed, unroll=loops_to_unroll(closed, layer, parameters))
    names, lay = Names(flat, parameters), layout(flat, stated_axes(score, image.ndim))
    var = find_layer(names, layer, lay)
    note(Note(LAYER, names.describe(var), True))
    before, after = depending(live_equations(flat.jaxpr), [var])
    known = dict(zip(flat.jaxpr.constvars, flat.consts, strict=True))
    known[flat.jaxpr.invars[0]] = image
    play(before, known)
    head = partial(_head, flat, after, known, var)
    at = None if lay.axes(var) else lay.lost_at(flat.jaxpr, var)
    lost = names.describe(at.outvars[0]) if at else ""
    return SplitScore(
        known[var], head, lay.axes(var), lay.spatial, lay.reversed_axes(var), lost
    ), lay


def _index(layer: object) -> int:
    try:
        if not isinstance(layer, bool):
            return operator.index(layer)  # type: ignore[arg-type]
    except Exception:  # a tracer raises an error of its own
        pass
    raise TypeError(f"layer: expected None, an int or a string, got {layer!r}")


def _head(
    flat: ClosedJaxpr, after: list[JaxprEqn], known: dict[Var, JaxValue], var: Var, value: Array
) -> Scalar:
    aval: Any = var.aval
    if jnp.shape(value) != aval.shape:
        raise ValueError(f"value: expected the layer's {aval.shape}, got {jnp.shape(value)}")
    values = known | {var: value}
    play(after, values)
    return read(flat.jaxpr.outvars[0], values)
