"""Insertion and deletion: the score as the most relevant pixels come or go.

A pixel's relevance is |map| summed over channels (`signed`: the map itself, so that what speaks
against the class comes last). Ties are in an order drawn once and for all, so that a constant map
is a random order; a map with a value that is not finite has no curve (NaN).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxsal.common.options import Baseline, baseline_image, count, over_image
from jaxsal.common.points import map_points
from jaxsal.metrics._relevance import descending_ranks, pixels
from jaxsal.metrics.baselines import blur
from jaxsal.rewrite.axes.spatial import spatial_axes, with_axes
from jaxsal.types import Image, Map, Scalar, ScoreFn, accumulator, may_be_nan

Curve = Float[Array, " points"]


@may_be_nan
def deletion_curve(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    steps: int = 100,
    baseline: Baseline = 0.0,
    signed: bool = False,
    chunk: int = 1,
) -> Curve:
    """The score as pixels are replaced by a baseline, the most relevant first.

    .. math:: c_k = s(x with the first ⌊k P / n⌋ of P pixels replaced),  k = 0 … n

    Args:
        score: `score(image) -> scalar`; need not be differentiable. An evaluator of
            logits scores the class's, unbounded and of either sign, unless it has an `objective`;
            the authors' notebook scores the softmax.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        map: of the image's shape, with or without its channels.
        steps: n; a pixel goes with all its channels.
        baseline: a scalar, an image, or a function of the image (`baselines.mean`,
            `baselines.blur`).
        signed: whether relevance is the map rather than |map|.
        chunk: points of the curve evaluated at a time.

    Returns:
        The n + 1 scores, float32; the last one is the baseline's.

    Raises:
        TypeError: `steps` or `chunk` is no concrete integer.
        ValueError: a map or a baseline of another shape, no steps.

    References:
        Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
        Models", BMVC 2018, https://arxiv.org/abs/1806.07421
    """
    empty = baseline_image(with_axes(baseline, score, image), image)
    return _curve(score, image, map, (empty, image), steps=steps, signed=signed, chunk=chunk)


@may_be_nan
def insertion_curve(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    steps: int = 100,
    baseline: Baseline = blur,
    signed: bool = False,
    chunk: int = 1,
) -> Curve:
    """The score as the image's pixels replace those of a baseline, the most relevant first.

    Arguments, errors and source as for `deletion_curve`, but for the baseline: a blurred image is
    the authors' choice, since it draws no new edges (theirs is blurred less, see `baselines.blur`).
    The last score is the image's.
    """
    empty = baseline_image(with_axes(baseline, score, image), image)
    return _curve(score, image, map, (image, empty), steps=steps, signed=signed, chunk=chunk)


@may_be_nan
def deletion(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    steps: int = 100,
    baseline: Baseline = 0.0,
    signed: bool = False,
    chunk: int = 1,
) -> Scalar:
    """Area under `deletion_curve` over the share of pixels replaced; lower is better.

    A scalar, float32. Arguments, errors and source as for `deletion_curve`.
    """
    return area(
        deletion_curve(
            score, image, map, steps=steps, baseline=baseline, signed=signed, chunk=chunk
        )
    )


@may_be_nan
def insertion(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    steps: int = 100,
    baseline: Baseline = blur,
    signed: bool = False,
    chunk: int = 1,
) -> Scalar:
    """Area under `insertion_curve` over the share of pixels shown; higher is better.

    A scalar, float32. Arguments, errors and source as for `insertion_curve`.
    """
    return area(
        insertion_curve(
            score, image, map, steps=steps, baseline=baseline, signed=signed, chunk=chunk
        )
    )


def area(curve: Curve) -> Scalar:
    """Area under a curve over [0, 1], by trapezoids: `(sum - first / 2 - last / 2) / (n - 1)`."""
    return (jnp.sum(curve) - (curve[0] + curve[-1]) / 2) / (curve.size - 1)


def _curve(
    score: ScoreFn,
    image: Image,
    map: Map,
    parts: tuple[Image, Image],
    *,
    steps: int,
    signed: bool,
    chunk: int,
) -> Curve:
    """The score of images that have the first pixels from one part and the rest from another."""
    values = pixels(score, map, image, signed=signed)
    place = over_image(descending_ranks(values), image, spatial_axes(score, image))
    first, rest = parts

    def at(taken: Int[Array, ""]) -> Scalar:
        value = score(jnp.where(place < taken, first, rest))
        return value.astype(accumulator(value.dtype))

    taken = shares(values.shape, count("steps", steps))
    curve = map_points(at, taken, chunk=count("chunk", chunk))
    return jnp.where(jnp.all(jnp.isfinite(values)), curve, jnp.nan)


def shares(space: tuple[int, ...], steps: int) -> Int[np.ndarray, " points"]:
    """How many of the pixels are taken at each of `steps + 1` points, from none to all."""
    total = int(np.prod(space))
    return (np.arange(steps + 1, dtype=np.int64) * total // steps).astype(np.int32)
