"""LIME: a linear model of the score over which segments are shown, near the image."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxsal.common.options import Baseline, count, scale
from jaxsal.common.points import map_points
from jaxsal.methods._least_squares import product, solve, solve_sparse
from jaxsal.methods._segments import (
    Coalition,
    Coalitions,
    Segments,
    coalitions_of,
    random_bits,
    segmented,
    segments_of,
    shown_images,
    wide,
)
from jaxsal.types import Image, Key, Scalar, ScoreFn

Distance = Callable[[Float[Array, " segments"], Image, Image], Scalar]
"""`distance(shown, sample, image)`: of a coalition (1 shown, 0 hidden), of what it looks like."""


@segmented
def lime(
    score: ScoreFn,
    image: Image,
    *,
    segments: ArrayLike,
    baseline: Baseline = 0.0,
    samples: int = 1000,
    kernel: str | Distance = "cosine",
    width: ArrayLike = 0.25,
    ridge: ArrayLike = 1.0,
    lasso: ArrayLike = 0.0,
    n_segments: int | None = None,
    key: Key,
    chunk: int = 1,
) -> Image:
    """Slopes of a linear model, fitted near the image, of the score by which segments are shown.

    .. math:: min_{c, c₀} Σⱼ wⱼ (s(xⱼ) - zⱼ·c - c₀)² + ridge ‖c‖² + lasso 2 Σⱼ wⱼ ‖c‖₁

    with wⱼ = exp(-dⱼ² / (2 width²)).

    zⱼ says which segments of sample xⱼ are shown (1) and which replaced by the baseline (0), each
    by chance 1/2; the first sample is the image. c₀ is not penalised.

    Args:
        score: `score(image) -> scalar`, best a probability; need not be differentiable.
        image: one image, floating, of any shape.
        segments: integers of the image's shape, or of its spatial shape: then a segment has all
            channels. Any labels. An explainer's option: one map for all images; given to its call,
            `[B, ...]`: one an image. The authors' package makes them by quickshift.
        baseline: what hides a segment: a scalar, an image, or a function of the image. The authors'
            package hides each by its own mean colour unless it is given one.
        samples: how many, two at least; fewer than segments leave the fit to the penalty.
        kernel: the distance dⱼ: "cosine" (1 - the cosine of zⱼ and ones, 1 where nothing is shown),
            "euclidean" (the norm of xⱼ - x), or a function `(zⱼ, xⱼ, x) -> dⱼ`.
        width: of the weights, in the distance's units.
        ridge: the penalty of squares, beside weights that are not normalised.
        lasso: that of magnitudes, beside normalised ones: the larger, the more slopes are zero.
        n_segments: how many there are at most; needed where they are traced, in a program of the
            user's own. With more the map is NaN.
        key: the key is consumed; sample j draws from `fold_in(key, j)`.
        chunk: samples evaluated at a time.

    Returns:
        A map of the image's shape, float32: each segment's slope; NaN where one
        coalition has all the weight: the width is too narrow for the distances.

    Raises:
        TypeError: `segments` is traced without `n_segments`, or not of integers; `samples`,
            `chunk` or `n_segments` is no integer, `width`, `ridge` or `lasso` no number, `kernel`
            neither a name nor a function.
        ValueError: `segments` or the baseline is of another shape; more than `n_segments`; no
            width; fewer than two samples, or without a penalty fewer than the fit has unknowns; an
            unknown kernel.

    References:
        Ribeiro, Singh & Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any
        Classifier", KDD 2016, https://arxiv.org/abs/1602.04938; distance, weights and penalty of
        the authors' package (lime_image.py, lime_base.py).
    """
    number = segments_of(segments, score, image, n_segments).number
    draws = draw_coalitions(key, count("samples", samples), number)
    return lime_over(
        score,
        image,
        draws,
        segments=segments,
        baseline=baseline,
        kernel=kernel,
        width=width,
        ridge=ridge,
        lasso=lasso,
        n_segments=n_segments,
        chunk=chunk,
    )


def draw_coalitions(key: Key, samples: int, number: int) -> Bool[Array, "samples segments"]:
    """The draw of `lime`: all segments first, then each of `number` by chance 1/2."""
    return (random_bits(key, samples, number) >> 31 == 1).at[0].set(True)


def lime_over(
    score: ScoreFn,
    image: Image,
    draws: Coalitions,
    *,
    segments: ArrayLike,
    baseline: Baseline = 0.0,
    kernel: str | Distance = "cosine",
    width: ArrayLike = 0.25,
    ridge: ArrayLike = 1.0,
    lasso: ArrayLike = 0.0,
    n_segments: int | None = None,
    chunk: int = 1,
) -> Image:
    """The deterministic core of `lime`, of draws `[samples, segments]` in the labels' order."""
    parts, chunk = segments_of(segments, score, image, n_segments), count("chunk", chunk)
    distance = _distance(kernel, parts)
    shown = coalitions_of(draws, parts)
    scale("ridge", ridge), scale("lasso", lasso), scale("width", width)
    _enough(len(shown), parts, width, (ridge, lasso))
    seen = shown_images(score, image, parts, baseline)

    def sampled(coalition: Coalition) -> tuple[Scalar, Scalar]:
        sample = seen(coalition)
        away = distance(coalition.astype(jnp.float32), sample, image)
        return wide(score(sample)), jnp.asarray(away, jnp.float32)

    scores, away = map_points(sampled, shown, chunk=chunk)
    weights = jnp.exp(-jnp.square(away / width) / 2)
    slopes = fitted(shown.astype(jnp.float32), scores, weights, ridge, lasso)
    return parts.spread(jnp.where(_tells(shown, weights), slopes, jnp.nan), image)


def fitted(
    features: Float[Array, "n m"],
    values: Float[Array, " n"],
    weights: Float[Array, " n"],
    ridge: ArrayLike,
    lasso: ArrayLike = 0.0,
) -> Float[Array, " m"]:
    """The slopes of a weighted, penalised regression whose intercept is free.

    Where neither data nor penalties say, those of least norm.
    """
    features, weights = features.astype(values.dtype), weights.astype(values.dtype)
    total = jnp.sum(weights)
    share = weights / total
    # About the first value: the mean of scores far from zero would round their differences.
    values = values - values[0]
    centred = features - product(share, features)[None]
    residual = (values - product(share, values)) * weights
    gram = product(centred.T * weights[None], centred)
    gram = gram + jnp.asarray(ridge, gram.dtype) * jnp.eye(len(gram), dtype=gram.dtype)
    right = product(residual, centred)
    if not isinstance(lasso, jax.core.Tracer) and np.asarray(lasso) == 0:
        return solve(gram, right)
    return solve_sparse(gram, right, jnp.asarray(lasso, gram.dtype) * total)


def cosine(shown: Float[Array, " segments"], total: Array | float) -> Scalar:
    """1 - the cosine of a coalition and of all the segments; 1 where nothing is shown."""
    return 1 - jnp.sqrt(jnp.sum(shown) / total)


def euclidean(shown: Float[Array, " segments"], sample: Image, image: Image) -> Scalar:
    """The norm of what hides segments less what it hides."""
    del shown
    return jnp.sqrt(jnp.sum(jnp.square(wide(sample) - wide(image))))


def _distance(kernel: str | Distance, segments: Segments) -> Distance:
    if kernel == "cosine":
        return lambda shown, sample, image: cosine(shown, segments.total)
    if kernel == "euclidean":
        return euclidean
    if isinstance(kernel, str):
        raise ValueError(f"kernel: expected cosine, euclidean or a function, got {kernel!r}")
    if not callable(kernel):
        raise TypeError(f"kernel: expected a name or a function, got {kernel!r}")
    return kernel


def _tells(shown: Bool[Array, "n m"], weights: Float[Array, " n"]) -> Bool[Array, ""]:
    """Whether there are samples unlike the heaviest whose weights are more than its rounding."""
    unlike = jnp.any(shown != shown[jnp.argmax(weights)][None], 1)
    rounding = float(jnp.finfo(weights.dtype).eps) * jnp.max(weights)
    return jnp.sum(weights, where=unlike) > rounding


def _enough(
    samples: int, segments: Segments, width: ArrayLike, penalties: tuple[ArrayLike, ArrayLike]
) -> None:
    """Raises where concrete numbers leave the fit undefined."""
    if samples < 2:
        raise ValueError(f"samples: expected 2 or more, the image and another one, got {samples}")
    if not isinstance(width, jax.core.Tracer) and np.asarray(width) == 0:
        raise ValueError("width: expected a number > 0, got 0")
    known = not any(isinstance(each, jax.core.Tracer) for each in penalties)
    none = known and not any(map(np.any, penalties))
    if none and isinstance(segments.own, int) and samples <= segments.number:
        raise ValueError(
            f"samples: {samples} do not tell {segments.number} segments and an intercept apart; "
            f"give {segments.number + 1} or more, or a penalty, ridge or lasso"
        )
