"""Kernel SHAP: Shapley values of segments by a least-squares fit to random coalitions."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxsal.common.options import Baseline, count
from jaxsal.common.points import map_points
from jaxsal.methods._least_squares import product, solve
from jaxsal.methods._segments import (
    Coalitions,
    Segments,
    coalitions_of,
    places_of,
    random_bits,
    segmented,
    segments_of,
    shown_scores,
)
from jaxsal.types import Image, Key, Scalar, ScoreFn


@segmented
def kernel_shap(
    score: ScoreFn,
    image: Image,
    *,
    segments: ArrayLike,
    baseline: Baseline = 0.0,
    samples: int = 1000,
    n_segments: int | None = None,
    key: Key,
    chunk: int = 1,
) -> Image:
    """Shapley values of segments, estimated by least squares over random coalitions.

    .. math:: min_φ Σⱼ (s(xⱼ) - s(b) - Σ_{i ∈ Sⱼ} φᵢ)²  subject to  Σᵢ φᵢ = s(x) - s(b)

    Coalition Sⱼ has k of the M segments by chance ~ (M - 1) / (k (M - k)), and is uniform among
    those of its size: the weights of SHAP's kernel. Both ends are constraints, so that the
    segments' values φ are complete whatever the draws; the map, which has a segment's value at each
    of its elements, is once it is divided by their number. What the coalitions do not tell apart is
    shared evenly.

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: one image, floating, of any shape.
        segments: integers of the image's shape, or of its spatial shape: then a segment has all
            channels. Any labels. An explainer's option: one map for all images; given to its call,
            `[B, ...]`: one an image.
        baseline: b, what hides a segment: a scalar, an image, or a function of the image.
        samples: coalitions, beside the two ends.
        n_segments: how many there are at most; needed where they are traced, in a program of the
            user's own. With more the map is NaN.
        key: the key is consumed; coalition j draws from `fold_in(key, j)`.
        chunk: coalitions evaluated at a time.

    Returns:
        A map of the image's shape, float32: each segment's value at all its elements.

    Raises:
        TypeError: `segments` is traced without `n_segments`, or not of integers; `samples`, `chunk`
            or `n_segments` is no integer.
        ValueError: `segments` or the baseline is of another shape; more than `n_segments`; fewer
            samples than unknowns (one less than segments).

    References:
        Lundberg & Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017,
        https://arxiv.org/abs/1705.07874; by draws: Covert & Lee, "Improving KernelSHAP: Practical
        Shapley Value Estimation via Linear Regression", AISTATS 2021.
    """
    parts = segments_of(segments, score, image, n_segments)
    samples = count("samples", samples)
    if isinstance(parts.own, int) and samples < parts.own - 1:
        raise ValueError(
            f"samples: expected {parts.own - 1} or more for {parts.own} segments, got {samples}"
        )
    draws = draw_coalitions(key, samples, parts)
    return kernel_shap_over(
        score,
        image,
        draws,
        segments=segments,
        baseline=baseline,
        n_segments=n_segments,
        chunk=chunk,
    )


def draw_coalitions(key: Key, samples: int, segments: Segments) -> Bool[Array, "samples segments"]:
    """The draw of `kernel_shap`: of sizes by SHAP's kernel, uniform among those of a size."""
    bits = random_bits(key, samples, segments.number + 1)
    size = np.arange(1, max(segments.number, 2)).astype(np.float32)
    left = jnp.asarray(segments.total - size)
    chance = jnp.cumsum(jnp.where(left > 0, 1 / (size * jnp.maximum(left, 1)), 0))
    point = (bits[:, :1] >> 8).astype(jnp.float32) * (2.0**-24 * chance[-1])  # uniform in [0, 1)
    kept = 1 + jnp.sum(chance[None, :-1] <= point, 1, keepdims=True, dtype=jnp.int32)
    return places_of(bits[:, 1:], segments).astype(jnp.int32) < kept


def kernel_shap_over(
    score: ScoreFn,
    image: Image,
    draws: Coalitions,
    *,
    segments: ArrayLike,
    baseline: Baseline = 0.0,
    weights: ArrayLike | None = None,
    n_segments: int | None = None,
    chunk: int = 1,
) -> Image:
    """The deterministic core of `kernel_shap`, of draws `[samples, segments]` in the labels' order.

    Args:
        score, image, segments, baseline, n_segments, chunk: as for `kernel_shap`.
        draws: which segments are shown; all or none of them adds nothing to the constraints.
        weights: of the coalitions, where they were not drawn by SHAP's kernel.
    """
    parts, chunk = segments_of(segments, score, image, n_segments), count("chunk", chunk)
    shown = coalitions_of(draws, parts)
    value = shown_scores(score, image, parts, baseline)
    scores = map_points(value, shown, chunk=chunk)
    first, last = (value(jnp.full(parts.number, each)) for each in (False, True))
    of_each = jnp.ones(len(shown)) if weights is None else jnp.asarray(weights, jnp.float32)
    features = shown.astype(jnp.float32)
    values = constrained(features, scores - first, of_each, last - first, parts)
    return parts.spread(values, image)


def constrained(
    features: Float[Array, "n m"],
    values: Float[Array, " n"],
    weights: Float[Array, " n"],
    total: Scalar,
    segments: Segments,
) -> Float[Array, " m"]:
    """Least squares over coefficients that sum to `total`, of least distance from an even split."""
    features, weights = features.astype(values.dtype), weights.astype(values.dtype)
    even = jnp.where(segments.present, total / segments.total, 0)

    def balanced(x: Float[Array, " m"]) -> Float[Array, " m"]:
        """The nearest coefficients that sum to zero, over the segments that are present."""
        return jnp.where(segments.present, x - jnp.sum(x) / segments.total, 0)

    free = jax.vmap(balanced)(features)
    residual = weights * (values - product(features, even))
    found = solve(product(free.T * weights[None], free), product(residual, free))
    return even + balanced(found)
