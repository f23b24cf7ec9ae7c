"""DeepLIFT: the multipliers of each operation, from its values at an image and at a baseline.

A multiplier m says what a difference of a value adds to the difference of the score. Each rule is
exact, Σ m Δinput = m Δoutput, so that the map (x - r) m sums to s(x) - s(r).

| operation | multiplier |
|---|---|
| linear: convolution, product with a kernel, sum, constants, moves | the transpose |
| elementwise f of one value | rescale: `(f(x) - f(r)) / (x - r)`, or `f'(x)` |
| product of two values | of each, the mean of the other at image and baseline |
| quotient a / b | of a, the mean of 1 / b; of b, - mean of a / (b b_r) |
| maximum, max pool | to the place of the image's and of the baseline's maximum, below |
| softmax | rescale of `exp(x - lse(x))`, below |

No derivative is stopped: what `stop_gradient` holds differs between image and baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxsal.rewrite.relevance import operations
from jaxsal.rewrite.relevance.extremum import winner
from jaxsal.rewrite.relevance.flat_score import flat_score, let_through
from jaxsal.rewrite.relevance.operations import Operation
from jaxsal.rewrite.relevance.walk import Known, Walk, linear, no_rule, told, transposed
from jaxsal.types import Image, ScoreFn

METHOD = "deep_lift"


def multipliers(score: ScoreFn, image: Image, eps: ArrayLike) -> Callable[[Image], Image]:
    """From a baseline to the multipliers of an image's values; the image is evaluated once."""
    walk = Walk(let_through(flat_score(score, image)))
    here = walk.values(image)

    def against(baseline: Image) -> Image:
        pair = _Pair(here, walk.values(baseline), eps)
        return walk.back(jnp.ones_like(here[walk.score]), partial(_pull, pair))

    return against


class _Pair(NamedTuple):
    """A program's values at the image and at the baseline, and what counts as no difference."""

    here: Known
    there: Known
    eps: ArrayLike

    def inputs(self, operation: Operation) -> tuple[list[Array], list[Array]]:
        values = [(self.here[var], self.there[var]) for var in operation.inputs]
        return [x for x, _ in values], [r for _, r in values]

    def output(self, operation: Operation) -> tuple[Array, Array]:
        return self.here[operation.output], self.there[operation.output]


def _pull(pair: _Pair, operation: Operation, given: Array) -> Sequence[Array]:
    found = _RULES.get(operation.kind)
    if found is None:
        raise no_rule(operation, METHOD)
    name, rule = found
    told(METHOD, operation, name)
    return rule(pair, operation, given)


def _linear(pair: _Pair, operation: Operation, given: Array) -> Sequence[Array]:
    return linear(operation, pair.here, given)


def _rescale(pair: _Pair, operation: Operation, given: Array) -> Sequence[Array]:
    ((x,), (r,)), (y, y_r) = pair.inputs(operation), pair.output(operation)
    (slope,) = transposed(operation, pair.here, jnp.ones_like(y))
    return [given * _secant(y - y_r, x - r, slope, pair.eps)]


def _secant(rise: Array, run: Array, slope: Array, eps: ArrayLike) -> Array:
    """rise / run, or the slope where there is no run; an infinite one, of no difference, is 0."""
    slope = jnp.where(jnp.isinf(slope), jnp.zeros_like(slope), slope)
    return _quotient_or(slope, rise, run, eps)


def _quotient_or(other: Array, rise: Array, run: Array, eps: ArrayLike) -> Array:
    """rise / run, or the other where |run| < eps.

    Nothing is divided by less than eps, even where XLA computes `run` twice, rounded differently:
    zero for the one, and not for the other.
    """
    least = jnp.maximum(jnp.asarray(eps, run.dtype), jnp.finfo(run.dtype).tiny)
    some = jnp.where(run < 0, jnp.minimum(run, -least), jnp.maximum(run, least))
    return jnp.where(jnp.abs(run) < least, other, rise / some)


def _product(pair: _Pair, operation: Operation, given: Array) -> Sequence[Array]:
    """Exact: the product is linear in either factor."""
    pairs = zip(*pair.inputs(operation), strict=True)
    middle = [x + (r - x) / 2 for x, r in pairs]
    _, back = jax.vjp(lambda *xs: operation.apply(pair.here, *xs), *middle)
    return list(back(given))


def _quotient(pair: _Pair, operation: Operation, given: Array) -> Sequence[Array]:
    (a, b), (a_r, b_r) = pair.inputs(operation)
    above = given * (1 / b + 1 / b_r) / 2
    return [above, -given * (a + a_r) / 2 / (b * b_r)]


def _maximum(pair: _Pair, operation: Operation, given: Array) -> Sequence[Array]:
    """With M the larger of both maxima y and y_r: (M - y_r) to the place of the image's, (y - M) to
    that of the baseline's, summed over windows, divided by x - r there.

    At the place of the image's maximum x - r >= y - y_r > 0 if anything goes there, and likewise at
    the baseline's, so that no multiplier of a window is larger than what it is given.
    """
    (x, r), (y, y_r) = pair.inputs(operation), pair.output(operation)
    least = operation.name.endswith("min")
    both = jnp.minimum(y, y_r) if least else jnp.maximum(y, y_r)
    mine = winner(operation, pair.here, (both - y_r) * given)
    theirs = winner(operation, pair.there, (y - both) * given)
    return [
        _quotient_or(jnp.zeros_like(value), one + other, value - reference, pair.eps)
        for one, other, value, reference in zip(mine, theirs, x, r, strict=True)
    ]


def _softmax(pair: _Pair, operation: Operation, given: Array) -> Sequence[Array]:
    """Rescale of p = exp(u), u = x - lse(x), and of lse as log of the sum of exp."""
    ((x,), (r,)), (p, p_r) = pair.inputs(operation), pair.output(operation)
    axes = operation.axes
    (lse, total, terms), (lse_r, total_r, terms_r) = _log_sums(x, r, axes)
    of_u = given * _secant(p - p_r, _difference(x - lse, r - lse_r), p, pair.eps)
    of_total = _secant(lse - lse_r, total - total_r, 1 / total, 1e-30)
    of_exp = _secant(terms - terms_r, _difference(x, r), terms, pair.eps)
    return [of_u - jnp.sum(of_u, axes, keepdims=True) * of_total * of_exp]


def _difference(x: Array, r: Array) -> Array:
    """x - r, none between equal infinities: what a mask of -inf leaves out of an attention."""
    return jnp.where(x == r, jnp.zeros_like(x), x - r)


_Sums = tuple[Array, Array, Array]


def _log_sums(x: Array, r: Array, axes: tuple[int, ...]) -> tuple[_Sums, _Sums]:
    """Of both, log Σ exp, and the sum and its terms less a shift that they share."""
    largest = [jnp.max(each, axes, keepdims=True) for each in (x, r)]
    shift = jnp.maximum(*largest)
    found = []
    for each, own in zip((x, r), largest, strict=True):
        lse = own + jnp.log(jnp.sum(jnp.exp(each - own), axes, keepdims=True))
        terms = jnp.exp(each - shift)
        found.append((lse, jnp.sum(terms, axes, keepdims=True), terms))
    return found[0], found[1]


_Rule = Callable[[_Pair, Operation, Array], Sequence[Array]]

_RULES: dict[str, tuple[str, _Rule]] = {
    **dict.fromkeys(
        (operations.CONVOLUTION, operations.DENSE, operations.SUM, operations.ADD),
        ("linear", _linear),
    ),
    **dict.fromkeys((operations.CONSTANTS, operations.MOVE), ("linear", _linear)),
    operations.ACTIVATION: ("rescale", _rescale),
    operations.PRODUCT: ("middle", _product),
    operations.QUOTIENT: ("middle", _quotient),
    operations.MAXIMUM: ("both maxima", _maximum),
    operations.SOFTMAX: ("rescale", _softmax),
}
