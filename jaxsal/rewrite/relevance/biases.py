"""FullGrad's decomposition: what each bias of a score contributes to it.

Each operation is affine at the image: `y = J x + b`. By the chain rule the score is the sum, over
all operations, of b times the score's derivative by y, and of the image times its gradient. Of a
sum with a constant b is the constant, of an activation `f(x) - f'(x) x`: its implicit bias, zero
for a ReLU. Batch norms are one affine operation, `b = beta - m g / sqrt(v + eps)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array

from jaxsal.rewrite.axes.layout import Axes, layout
from jaxsal.rewrite.dataflow import is_floating
from jaxsal.rewrite.relevance import folding, operations
from jaxsal.rewrite.relevance.extremum import winner
from jaxsal.rewrite.relevance.flat_score import flat_score
from jaxsal.rewrite.relevance.operations import Operation
from jaxsal.rewrite.relevance.read_operations import LAYERS
from jaxsal.rewrite.relevance.walk import Known, Walk, linear, told
from jaxsal.types import Image, ScoreFn, SpatialAxes

METHOD = "full_grad"


class BiasPart(NamedTuple):
    """What one operation's bias contributes.

    Attributes:
        where: the operation, in words.
        value: the bias times the score's derivative there, in the shape of the operation's value.
        axes: the axes of `value` that run along the image's spatial axes; `None` if it has none.
        reversed_axes: those of them that run backwards.
    """

    where: str
    value: Array
    axes: Axes | None
    reversed_axes: tuple[int, ...]


class Decomposition(NamedTuple):
    """A score taken apart: it is the sum of all values of `image` and of `biases`.

    Attributes:
        image: the image times the gradient.
        biases: from the image to the score.
    """

    image: Array
    biases: list[BiasPart]


def decomposition(score: ScoreFn, image: Image, spatial: SpatialAxes = ()) -> Decomposition:
    """Takes a score apart.

    Args:
        score: image -> scalar.
        image: one image.
        spatial: its spatial axes, where they are known.
    """
    walk = Walk(flat_score(score, image, open_calls=False))
    lay = layout(walk.flat, spatial)
    known = walk.values(image)
    parts: list[BiasPart] = []

    def pull(operation: Operation, given: Array) -> Sequence[Array]:
        chosen = operation.kind == operations.MAXIMUM
        shares = (winner if chosen else linear)(operation, known, given)
        bias = _bias(operation, known)
        if bias is not None:
            told(METHOD, operation, "bias")
            var = operation.output
            value = _times(bias, given)
            found = BiasPart(str(operation), value, lay.axes(var), lay.reversed_axes(var))
            parts.append(found)
        return shares

    slope = walk.back(jnp.ones_like(known[walk.score]), pull)
    return Decomposition(image * slope, parts[::-1])


_LINEAR = (operations.CONVOLUTION, operations.DENSE, operations.ADD)
_AFFINE = (operations.CONSTANTS, operations.MOVE, operations.SUM)


def _times(bias: Array, given: Array) -> Array:
    """A bias times its derivative: nothing of -inf (a mask's, a pad's) that the score ignores."""
    return jnp.where(given == 0, jnp.zeros_like(given), bias * given)


def _bias(operation: Operation, known: Known) -> Array | None:
    """`y - J x`; `None` where it is zero, whatever the image."""
    if operation.kind in (*_LINEAR, operations.MAXIMUM):
        return None
    values = [known[var] for var in operation.inputs]
    if operation.kind in _AFFINE:
        if not _adds(operation):
            return None
        return operation.apply(known, *map(jnp.zeros_like, values))
    if operation.homogeneous:
        return None
    return known[operation.output] - _change(operation, known, values)


def _change(operation: Operation, known: Known, values: Sequence[Array]) -> Array:
    """`J x`, of what the operation's own derivative says where it has one.

    The derivative of a `custom_vjp` call is known backwards alone, and is transposed.
    """
    function = lambda *xs: operation.apply(known, *xs)  # noqa: E731
    if not values:
        return jnp.zeros_like(known[operation.output])
    steps = [jnp.where(jnp.isinf(x), jnp.zeros_like(x), x) for x in values]
    if all(eqn.primitive.name != "custom_vjp_call" for eqn in operation.equations):
        return jax.jvp(function, values, steps)[1]
    out, back = jax.vjp(function, *values)
    return jax.linear_transpose(back, out)(tuple(steps))[0]


def _adds(operation: Operation) -> bool:
    """Whether a linear operation adds or puts in anything but its inputs."""
    if operation.kind == operations.CONSTANTS:
        return any(eqn.primitive.name not in folding.SCALES for eqn in operation.equations)
    (eqn,) = operation.equations
    others = [v for i, v in enumerate(eqn.invars) if i not in operation.positions]
    if eqn.primitive.name in LAYERS:  # a kernel that depends on the image, on a constant
        return False
    return any(is_floating(v) and not (isinstance(v, Literal) and v.val == 0) for v in others)
