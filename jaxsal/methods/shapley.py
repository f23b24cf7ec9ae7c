"""Shapley values of segments: exactly, over all coalitions, or over random permutations."""

import math

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxsal.common.options import Baseline, count
from jaxsal.common.points import map_points
from jaxsal.methods._segments import (
    Segments,
    places_of,
    random_bits,
    segmented,
    segments_of,
    shown_scores,
)
from jaxsal.types import Image, Key, Scalar, ScoreFn

MOST = 16
"""Segments whose coalitions are all evaluated: 65,536."""

Orders = Int[Array, "samples segments"] | Int[np.ndarray, "samples segments"]
"""Permutations: the segment that comes at each place."""


@segmented
def shapley_sampling(
    score: ScoreFn,
    image: Image,
    *,
    segments: ArrayLike,
    baseline: Baseline = 0.0,
    samples: int = 25,
    n_segments: int | None = None,
    key: Key,
    chunk: int = 1,
) -> Image:
    """What the score gains as a segment is shown, averaged over random orders of showing them.

    .. math:: φᵢ = (1/n) Σⱼ s(x of the segments up to i in order j) - s(x of those before i)

    An unbiased estimate of the Shapley values. The segments' values φ are complete for any number
    of samples: the gains of each order add up to s(x) - s(b). The map, which has a segment's value
    at each of its elements, is once it is divided by their number. An order takes a score for each
    segment but one.

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: one image, floating, of any shape.
        segments: integers of the image's shape, or of its spatial shape: then a segment has all
            channels. Any labels. An explainer's option: one map for all images; given to its call,
            `[B, ...]`: one an image.
        baseline: b, what hides a segment: a scalar, an image, or a function of the image.
        samples: n, the number of orders.
        n_segments: how many segments there are at most; needed where they are traced, in a program
            of the user's own. With more the map is NaN.
        key: the key is consumed; order j draws from `fold_in(key, j)`.
        chunk: scores evaluated at a time.

    Returns:
        A map of the image's shape, float32: each segment's value at all its elements.

    Raises:
        TypeError: `segments` is traced without `n_segments`, or not of integers; `samples`, `chunk`
            or `n_segments` is no integer.
        ValueError: `segments` or the baseline is of another shape; more than `n_segments`.

    References:
        Castro, Gómez & Tejada, "Polynomial calculation of the Shapley value based on sampling",
        Computers & Operations Research 2009; Štrumbelj & Kononenko, "An Efficient Explanation of
        Individual Classifications using Game Theory", JMLR 2010
    """
    parts = segments_of(segments, score, image, n_segments)
    orders = draw_orders(key, count("samples", samples), parts)
    return shapley_over(
        score,
        image,
        orders,
        segments=segments,
        baseline=baseline,
        n_segments=n_segments,
        chunk=chunk,
    )


def draw_orders(key: Key, samples: int, segments: Segments) -> Orders:
    """The draw of `shapley_sampling`: permutations of the segments, those not there at the end."""
    places = places_of(random_bits(key, samples, segments.number), segments)
    return jnp.argsort(places, axis=1).astype(jnp.int32)


def shapley_over(
    score: ScoreFn,
    image: Image,
    orders: Orders,
    *,
    segments: ArrayLike,
    baseline: Baseline = 0.0,
    n_segments: int | None = None,
    chunk: int = 1,
) -> Image:
    """The deterministic core of `shapley_sampling`, of orders `[samples, segments]`.

    Orders that come with their reverses are antithetic sampling.

    Raises:
        ValueError: orders of another number of segments.
    """
    parts, chunk = segments_of(segments, score, image, n_segments), count("chunk", chunk)
    if orders.ndim != 2 or orders.shape[1] != parts.number or not len(orders):
        raise ValueError(f"orders: expected [samples, {parts.number}], got {orders.shape}")
    places = jnp.argsort(jnp.asarray(orders, jnp.int32), axis=1).astype(jnp.int32)
    value = shown_scores(score, image, parts, baseline)
    first, last = (value(jnp.full(parts.number, each)) for each in (False, True))

    def up_to(point: tuple[Int[Array, ""], Int[Array, ""]]) -> Scalar:
        sample, shown = point
        return value(places[sample] < shown)

    sample, before = np.indices((len(orders), parts.number - 1), np.int32).reshape(2, -1)
    ends = [jnp.broadcast_to(each, (len(orders), 1)) for each in (first, last)]
    inner = [] if parts.number == 1 else [map_points(up_to, (sample, before + 1), chunk=chunk)]
    scores = jnp.concatenate([ends[0], *(x.reshape(len(orders), -1) for x in inner), ends[1]], 1)
    gains = jnp.take_along_axis(jnp.diff(scores, axis=1), places, 1)
    return parts.spread(jnp.mean(gains, 0), image)


@segmented
def shapley_values(
    score: ScoreFn,
    image: Image,
    *,
    segments: ArrayLike,
    baseline: Baseline = 0.0,
    n_segments: int | None = None,
    chunk: int = 1,
) -> Image:
    """Shapley values of segments, exact: over all coalitions, 2^M scores for M segments.

    .. math:: φᵢ = Σ_{S ∌ i} |S|! (M - |S| - 1)! / M! (s(x of S and i) - s(x of S))

    The only values that are efficient (over segments they sum to s(x) - s(b)), symmetric, linear in
    the score, and zero for a segment that changes nothing.

    Args:
        score, image, segments, baseline, n_segments: as for `shapley_sampling`; 16 segments at
            most.
        chunk: coalitions evaluated at a time.

    Returns:
        A map of the image's shape, float32: each segment's value at all its elements.

    Raises:
        TypeError: as of `shapley_sampling`.
        ValueError: more than 16 segments, and as of `shapley_sampling`.

    References:
        Shapley, "A Value for n-Person Games", 1953
    """
    parts, chunk = segments_of(segments, score, image, n_segments), count("chunk", chunk)
    number = parts.number
    if number > MOST:
        raise ValueError(
            f"segments: {number} have 2^{number} coalitions; expected {MOST} at most. "
            "shapley_sampling and kernel_shap estimate the values of more"
        )
    value = shown_scores(score, image, parts, baseline)
    bit = np.arange(number, dtype=np.int32)
    coalitions = np.arange(2**number, dtype=np.int32)
    scores = map_points(lambda each: value((each >> bit) & 1 == 1), coalitions, chunk=chunk)
    return parts.spread(exact_values(scores, number), image)


def exact_values(scores: Float[Array, " coalitions"], number: int) -> Float[Array, " segments"]:
    """Shapley values of the scores of all coalitions; segment i is in those with bit i set."""
    size = np.bitwise_count(np.arange(2 ** (number - 1), dtype=np.uint32))
    chances = np.asarray([1 / (number * math.comb(number - 1, k)) for k in range(number)])
    weights = jnp.asarray(chances[size], scores.dtype)

    def value_of(i: int) -> Scalar:
        without, with_ = jnp.moveaxis(scores.reshape(-1, 2, 2**i), 1, 0)
        return jnp.sum(weights * (with_ - without).ravel())

    return jnp.stack([value_of(i) for i in range(number)])
