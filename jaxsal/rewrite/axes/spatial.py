"""Which of an image's axes are spatial and which hold channels, for every method and metric.

A score may state them (`score.spatial_axes`, the explainer's option). Else they follow from its
program: the axes that its first convolution slides along, or else those that its first pool or
reshape into patches tiles. Else they follow from the shape, where it has one short axis at an end
(`jaxsal.types.axes_by_shape`). Where none of these tells, an error asks for them.
"""

from __future__ import annotations

import functools
import inspect
import operator
from typing import Any, TypeVar

from jaxsal.rewrite.axes.layout import AxisLayout, layout
from jaxsal.rewrite.program import trace
from jaxsal.types import Image, ScoreFn, SpatialAxes, usual_axes

T = TypeVar("T")

_NOT_SAID = object()


def spatial_axes(score: ScoreFn | None, image: Image) -> SpatialAxes:
    """The image's spatial axes; the others hold channels.

    Args:
        score: image -> scalar; `None` where there is no model.
        image: one image; its shape alone counts.

    Raises:
        ValueError: the score is an explainer's, and nothing says which they are. (Of a plain
            function and of `None` they are `usual_axes` then, all but the last by convention: a
            function may have an attribute `spatial_axes` that says otherwise. An image [H, W] needs
            it, or a channel, [H, W, 1].)
    """
    if score is None:
        return usual_axes(image.shape)
    known = stated_axes(score, image.ndim)
    readings: dict[tuple[int, ...], SpatialAxes] = getattr(score, "readings", {})
    if known:
        return known
    if image.shape not in readings:
        readings[image.shape] = axes_or_raise(score, layout(trace(score, image)[0]), image.shape)
    return readings[image.shape]


def stated_axes(score: ScoreFn, rank: int) -> SpatialAxes:
    """What a score says of an image of so many axes; empty where it says nothing."""
    return checked(getattr(score, "spatial_axes", None), rank) or ()


def axes_or_raise(score: ScoreFn, lay: AxisLayout, shape: tuple[int, ...]) -> SpatialAxes:
    """The spatial axes by a program's layout.

    Raises:
        ValueError: as of `spatial_axes`.
    """
    plain = getattr(score, "spatial_axes", _NOT_SAID) is _NOT_SAID
    if lay.is_known or (plain and len(shape) > 1):
        return lay.spatial
    raise ValueError(
        f"spatial_axes: the model has no convolution, pool or patches that tell which axes of an "
        f"image of the shape {shape} are spatial and which hold channels; give them, without the "
        f"batch axis: spatial_axes={usual_axes(shape)} if channels are last"
    )


def checked(axes: object, rank: int | None = None) -> SpatialAxes | None:
    """The option `spatial_axes`: in increasing order, from 0 where the image's rank is known.

    Raises:
        TypeError: no integers.
        ValueError: none, one twice, or an axis that an image of that rank has not.
    """
    if axes is None:
        return None
    expected = "spatial_axes: expected axes of one image, such as (0, 1), without its batch axis"
    try:
        found = [operator.index(axis) for axis in axes]  # type: ignore[attr-defined]
    except Exception as error:  # a tracer raises an error of its own
        raise TypeError(f"{expected}; got {axes!r}") from error
    if rank is not None:
        if not all(-rank <= axis < rank for axis in found):
            raise ValueError(f"{expected}; got {axes!r} of an image of {rank} axes")
        found = sorted(axis % rank for axis in found)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{expected}; got {axes!r}")
    return tuple(found)


def with_axes(function: T, score: ScoreFn | None, image: Image) -> T:
    """A baseline or a perturbation that takes `spatial_axes`, with the score's bound.

    Anything else, and what has them bound already, as it is.
    """
    return bind_axes(function, spatial_axes(score, image)) if takes_axes(function) else function


def bind_axes(function: T, axes: SpatialAxes | None) -> T:
    """`with_axes`, of axes that are known."""
    unbound: Any = function
    bound: Any = functools.partial(unbound, spatial_axes=axes) if takes_axes(function) else function
    return bound


def takes_axes(function: object) -> bool:
    """Whether a function has an option `spatial_axes` that is not bound yet."""
    if not callable(function):
        return False
    try:
        parameter = inspect.signature(function).parameters.get("spatial_axes")
    except (TypeError, ValueError):  # a builtin without a signature
        return False
    return parameter is not None and parameter.default is None
