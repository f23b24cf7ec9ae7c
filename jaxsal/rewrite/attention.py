"""Attention matrices in a program: softmaxes whose results weigh values by a product."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Var
from jaxtyping import Array, Float

from jaxsal.rewrite.dataflow import SAME_VALUES, Dataflow
from jaxsal.rewrite.layers.flatten import flatten
from jaxsal.rewrite.layers.names import within
from jaxsal.rewrite.notes import Note, note
from jaxsal.rewrite.program import call_name, play, read, shape_of, trace, variables
from jaxsal.types import Image, Scalar, ScoreFn


class Attention(NamedTuple):
    """One attention matrix for each head, and the score's gradient there."""

    weights: Float[Array, "heads n n"]
    gradient: Float[Array, "heads n n"]


def attention(score: ScoreFn, image: Image) -> list[Attention]:
    """The self-attention matrices of a score's program, in the order of execution.

    A matrix is the softmax over its last axis of a square of image-dependent numbers, and a factor
    of a product with image-dependent values. Loops over blocks are unrolled.

    Raises:
        ValueError: there is none.
    """
    closed = trace(score, image)[0]
    flat = flatten(closed, unroll=lambda eqn: any(map(_is_product, within(eqn))))
    found = [var for var in _softmaxes(flat) if _weighs(flat, var)]
    if not found:
        raise ValueError(
            "score: expected a program with self-attention, a softmax of [..., n, n] whose result "
            "multiplies values that depend on the image; found none"
        )
    note(*(Note("attention", f"{len(found)} attention matrices", True),))
    run = _with_added(flat, found, image)
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


def _softmaxes(flat: ClosedJaxpr) -> list[Var]:
    """Results of softmaxes of squares: a call of that name, or exp(x) divided by its sum."""
    flow = Dataflow(flat)
    made = {var: eqn for eqn in flat.jaxpr.eqns for var in eqn.outvars}
    return [
        eqn.outvars[0]
        for eqn in flat.jaxpr.eqns
        if (call_name(eqn).strip("_") == "softmax" or _divides_by_sum(eqn, made))
        and flow.depends(eqn.outvars[0])
        and len(shape_of(eqn.outvars[0])) > 1
        and shape_of(eqn.outvars[0])[-1] == shape_of(eqn.outvars[0])[-2]
    ]


def _divides_by_sum(eqn: JaxprEqn, made: dict[Var, JaxprEqn]) -> bool:
    if eqn.primitive.name != "div" or len(variables(eqn.invars)) < 2:
        return False
    above, below = eqn.invars
    while below in made and made[below].primitive.name in SAME_VALUES | {"broadcast_in_dim"}:
        below = made[below].invars[0]
    last = len(shape_of(above)) - 1
    return (
        above in made
        and made[above].primitive.name == "exp"
        and below in made
        and made[below].primitive.name == "reduce_sum"
        and made[below].invars[0] is above
        and tuple(made[below].params["axes"]) == (last,)
    )


def _weighs(flat: ClosedJaxpr, var: Var) -> bool:
    """Whether a value, moved at most, is a factor of a product with what depends on the image."""
    flow, moved = Dataflow(flat), {var}
    for eqn in flat.jaxpr.eqns:
        mine = moved.intersection(variables(eqn.invars))
        if mine and eqn.primitive.name in SAME_VALUES:
            moved.update(eqn.outvars)
        if mine and _is_product(eqn) and all(map(flow.depends, eqn.invars)):
            return True
    return False


def _is_product(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name == "dot_general"
