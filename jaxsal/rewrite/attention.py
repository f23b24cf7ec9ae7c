"""Attention matrices in a program: softmaxes whose results weigh values by a product."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Var
from jaxtyping import Array, Float

from jaxsal.rewrite.axes.factors import image_axes
from jaxsal.rewrite.axes.layout import AxisLayout, layout
from jaxsal.rewrite.axes.spatial import stated_axes
from jaxsal.rewrite.dataflow import SAME_VALUES, Dataflow
from jaxsal.rewrite.layers.flatten import flatten
from jaxsal.rewrite.layers.names import type_of, within
from jaxsal.rewrite.notes import Note, note
from jaxsal.rewrite.program import call_name, play, read, shape_of, trace, variables
from jaxsal.rewrite.relevance.softmax import find_softmaxes
from jaxsal.types import Image, Scalar, ScoreFn


class Attention(NamedTuple):
    """One attention matrix for each head, and the score's gradient there."""

    weights: Float[Array, "heads n n"]
    gradient: Float[Array, "heads n n"]


class _Product(NamedTuple):
    """A product, and which of its two operands is the matrix."""

    eqn: JaxprEqn
    side: int


def attention(score: ScoreFn, image: Image) -> list[Attention]:
    """The self-attention matrices of a score's program, in the order of execution.

    A matrix is the softmax over its last axis of a square of image-dependent numbers, and a factor
    of a product with image-dependent values. Loops over blocks are unrolled.

    Raises:
        ValueError: there is none, one is a softmax over another axis, or one is of some of the
            image's tokens alone, as those of windows are.
    """
    closed = trace(score, image)[0]
    flat = flatten(closed, unroll=lambda eqn: any(map(_is_product, within(eqn))))
    found = _matrices(flat)
    if not found:
        raise ValueError(
            "score: expected a program with self-attention, a softmax of [..., n, n] whose result "
            "multiplies values that depend on the image; found none"
        )
    lay = layout(flat, stated_axes(score, image.ndim))
    for var, product in found.items():
        _check_leading_axes(var, product, lay)
    note(*(Note("attention", f"{len(found)} attention matrices", True),))
    run = _with_added(flat, list(found), image)
    zeros = [jnp.zeros(var.aval.shape, var.aval.dtype) for var in found]  # type: ignore[attr-defined]
    gradients, weights = jax.grad(run, has_aux=True)(zeros)
    flat_heads = lambda x: x.reshape(-1, *x.shape[-2:]).astype(jnp.float32)  # noqa: E731
    pairs = zip(weights, gradients, strict=True)
    return [Attention(flat_heads(a), flat_heads(g)) for a, g in pairs]


def _with_added(
    flat: ClosedJaxpr, found: list[Var], image: Image
) -> Callable[[list[Array]], tuple[Scalar, list[Array]]]:
    """The score as a function of what is added to each matrix, and the matrices."""

    def run(added: list[Array]) -> tuple[Scalar, list[Array]]:
        known = dict(zip(flat.jaxpr.constvars, flat.consts, strict=True))
        known[flat.jaxpr.invars[0]] = image
        for eqn in flat.jaxpr.eqns:
            play([eqn], known)
            for var, more in zip(found, added, strict=True):
                if var in eqn.outvars:
                    known[var] = known[var] + more
        return read(flat.jaxpr.outvars[0], known), [known[var] for var in found]

    return run


def _matrices(flat: ClosedJaxpr) -> dict[Var, _Product]:
    """Softmaxes of squares over their last axis, each with the product in which it weighs values.

    Raises:
        ValueError: one that weighs values is over the axis before, or over what cannot be read.
    """
    found = {}
    for var, axes in _softmaxes(flat).items():
        last = len(shape_of(var)) - 1
        product = _product_with_values(flat, var)
        if product is None or (axes and not {last - 1, last} & {*axes}):
            continue
        if axes != (last,):
            over = f"over its axes {axes}" if axes else "in whose body no sum tells its axis"
            raise ValueError(
                f"score: expected attention as a softmax over the last axis, a row for each query; "
                f"got a softmax {type_of(var)} {over}; transpose it, and the product with the "
                "values, in the model"
            )
        found[var] = product
    return found


def _check_leading_axes(var: Var, product: _Product, lay: AxisLayout) -> None:
    """Raises unless a matrix's leading axes are of heads, each of which sees all tokens.

    Windows lie along the image's positions. Where that is not known, one axis may have values of
    its own, the heads'; grouped queries have another, which shares its values with its neighbours.
    """
    shape, labels = shape_of(var)[:-2], lay.labels[var]
    long = [axis for axis, length in enumerate(shape) if length > 1]
    windows = [axis for axis in long if image_axes(labels[axis]) & {*lay.spatial}]
    if not windows and (len(long) < 2 or _shares_values(product, [shape[axis] for axis in long])):
        return
    why = (
        f"axis {windows[0]} runs along the image's positions, as windows do"
        if windows
        else f"leading axes {shape} have values of their own each, as heads and windows do"
    )
    raise ValueError(
        f"score: expected matrices of all tokens, [heads, n, n] or of grouped queries "
        f"[heads, group, n, n]; got {type_of(var)}, whose {why}. Matrices of windows have no "
        "product over layers: take another method for this model, such as a gradient or occlusion"
    )


def _shares_values(product: _Product, lengths: list[int]) -> bool:
    """Whether all leading axes but one, of these lengths, are free in the product with values."""
    eqn, side = product
    shape, batch = shape_of(eqn.invars[side]), eqn.params["dimension_numbers"][1][side]
    return math.prod(shape[axis] for axis in batch) in lengths


def _softmaxes(flat: ClosedJaxpr) -> dict[Var, tuple[int, ...]]:
    """Results of softmaxes of squares, each with the axes that it is over."""
    flow = Dataflow(flat)
    by_hand = {var: each.axes for var, each in find_softmaxes(flat).items()}
    called = {
        eqn.outvars[0]: _reduced(eqn)
        for eqn in flat.jaxpr.eqns
        if call_name(eqn).strip("_") == "softmax" and flow.depends(eqn.outvars[0])
    }
    order = [eqn.outvars[0] for eqn in flat.jaxpr.eqns if eqn.outvars]
    known = by_hand | called
    return {var: known[var] for var in order if var in known and _is_square(shape_of(var))}


def _is_square(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[-1] == shape[-2]


def _reduced(call: JaxprEqn) -> tuple[int, ...]:
    """The axes that the body of a call takes sums and maxima over; empty where it takes none."""
    rank = len(shape_of(call.outvars[0]))
    over = [
        int(axis)
        for eqn in within(call)
        if eqn.primitive.name in ("reduce_sum", "reduce_max")
        and len(shape_of(eqn.invars[0])) == rank
        for axis in eqn.params["axes"]
    ]
    return tuple(sorted({*over}))


def _product_with_values(flat: ClosedJaxpr, var: Var) -> _Product | None:
    """The product of a value, moved at most, with what depends on the image; `None` if none is."""
    flow, moved = Dataflow(flat), {var}
    for eqn in flat.jaxpr.eqns:
        mine = moved.intersection(variables(eqn.invars))
        if mine and eqn.primitive.name in SAME_VALUES:
            moved.update(eqn.outvars)
        if mine and _is_product(eqn) and all(map(flow.depends, eqn.invars)):
            return _Product(eqn, side=0 if eqn.invars[0] in mine else 1)
    return None


def _is_product(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name == "dot_general"
