"""AttnLRP: relevance of transformers as input times a gradient of changed operations.

| operation | in the place of its derivative |
|---|---|
| elementwise f of one value | the secant `(f(x) - f(0)) / x`; f'(x) where f(0) is not finite |
| product of two values (attention, gates) | half of each derivative |
| norm | the deviation is held constant |
| softmax and all others | the derivative |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from jaxsal.rewrite.relevance import operations
from jaxsal.rewrite.relevance.constants import hold_attention, hold_deviations
from jaxsal.rewrite.relevance.extremum import winner
from jaxsal.rewrite.relevance.flat_score import flat_score
from jaxsal.rewrite.relevance.operations import Operation
from jaxsal.rewrite.relevance.walk import Known, Walk, linear, no_rule, told, transposed
from jaxsal.types import Image, ScoreFn

METHOD = "attn_lrp"
_NEAR = 1e-6  # nearer to zero than this, a secant is the derivative


def modified_gradient(score: ScoreFn, image: Image, *, values_only: bool) -> Image:
    """The gradient of the changed operations.

    Args:
        values_only: whether softmaxes are held constant too, so that relevance goes through the
            values of an attention alone (CP-LRP).
    """
    flat = hold_deviations(flat_score(score, image))
    walk = Walk(hold_attention(flat) if values_only else flat)
    known = walk.values(image)
    return walk.back(jnp.ones_like(known[walk.score]), partial(_pull, known))


def _pull(known: Known, operation: Operation, given: Array) -> Sequence[Array]:
    kind = operation.kind
    if kind in (operations.OTHER, operations.QUOTIENT):
        raise no_rule(operation, METHOD)
    if kind == operations.ACTIVATION:
        told(METHOD, operation, "secant")
        return [given * _secant(operation, known)]
    if kind == operations.PRODUCT:
        told(METHOD, operation, "halves")
        return [share / 2 for share in transposed(operation, known, given)]
    if kind == operations.MAXIMUM:
        told(METHOD, operation, "winner takes all")
        return winner(operation, known, given)
    told(METHOD, operation, "derivative")
    return linear(operation, known, given)


def _secant(operation: Operation, known: Known) -> Array:
    """(f(x) - f(0)) / x; f'(x) near zero, where f is smooth and the quotient is not exact, and
    where f(0) is not finite, as a logarithm's.
    """
    x, y = known[operation.inputs[0]], known[operation.output]
    (slope,) = transposed(operation, known, jnp.ones_like(y))
    slope = jnp.where(jnp.isinf(slope) & (x == 0), jnp.zeros_like(slope), slope)  # as sqrt's
    if operation.homogeneous:  # the same, without rounding
        return slope
    at_zero = operation.apply(known, jnp.zeros_like(x))
    near = (jnp.abs(x) < jnp.asarray(_NEAR, x.dtype)) | ~jnp.isfinite(at_zero)
    return jnp.where(near, slope, (y - at_zero) / jnp.where(near, jnp.ones_like(x), x))
