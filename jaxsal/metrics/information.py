"""Performance information curves (SIC, AIC): the score by how much of a picture is shown.

The most relevant pixels are shown, the others filled in from them; the axis is the size of that
picture in bytes rather than the number of pixels, so that a map that scatters is not favoured.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxsal.common.classes import told_classes
from jaxsal.common.options import count, scale, spatial_shape
from jaxsal.common.points import map_points
from jaxsal.metrics._relevance import pixels
from jaxsal.metrics.imputation import impute
from jaxsal.metrics.picture_size import Size, eight_bits, entropy_size
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.types import (
    Image,
    Key,
    Logits,
    Map,
    Scalar,
    ScoreFn,
    SpatialAxes,
    Target,
    accumulator,
    may_be_nan,
)

THRESHOLDS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.13, 0.21, 0.34, 0.5, 0.75)
"""Shares of the pixels that are shown, the authors'."""

Fill = Callable[[Image, Bool[Array, "height width"], SpatialAxes], Image]
"""`fill(image, missing, spatial_axes) -> image`."""


def from_neighbours(image: Image, missing: Bool[Array, "height width"], axes: SpatialAxes) -> Image:
    """Missing pixels as the weighted mean of their neighbours, all of them at once."""
    return impute(image, missing, spatial_axes=axes)


@may_be_nan
def sic(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    thresholds: tuple[float, ...] = THRESHOLDS,
    size: Size = entropy_size,
    fill: Fill = from_neighbours,
    shown: float = 0.01,
    points: int = 1000,
    signed: bool = False,
    key: Key,
    chunk: int = 1,
) -> Scalar:
    """Area under the softmax information curve: the score over a picture's size; higher is better.

    At each threshold q the pixels whose relevance is at least its (1 - q)-quantile are shown, with
    a random share of the others and the corners; the rest is filled in. Scores and sizes are scaled
    from the picture with the random pixels alone (0) to the image (1); the curve is made of the
    highest score so far, and joined by (0, 0) and (1, 1).

    The authors fill in linearly over triangles, on the host; here the missing are the weighted mean
    of their neighbours (`imputation.impute`), on the device. `size=jaxsal.metrics.webp_size` is
    their size of a picture, of a file on the host; the default estimates it by its entropy. Their
    code skips an image whose score is below 0.8, and has the area under the median of the images'
    curves; here every image has its own area.

    Args:
        score: `score(image) -> scalar`, a probability (`output="probability"`, or an objective).
        image: floating, of two spatial axes (`jaxsal.rewrite.axes.spatial`).
        map: of the image's shape, with or without its channels.
        thresholds: shares of pixels, each in (0, 1), rising.
        size: of a picture of 8 bits, `[height, width, channels]`, in the image's own range.
        fill: `(image, missing, spatial_axes) -> image`.
        shown: the share of pixels that are always shown, at random.
        points: of the curve that the area is taken of.
        signed: whether relevance is the map rather than |map|.
        key: the key is consumed: which pixels are always shown.
        chunk: pictures at a time.

    Returns:
        An area in [0, 1]; NaN where the image's score or size is not larger than those of the
        picture that shows nothing, or the map is not finite.

    Raises:
        TypeError: `points` or `chunk` is no concrete integer.
        ValueError: a threshold outside (0, 1) or not above the one before, a map of another shape,
            not two spatial axes.

    References:
        Kapishnikov, Bolukbasi, Viégas & Terry, "XRAI: Better Attributions Through Regions", ICCV
        2019, https://arxiv.org/abs/1906.02825
    """
    scores, sizes = _curve(
        score, score, image, map, thresholds, size, fill, shown, signed=signed, key=key, chunk=chunk
    )
    return information_area(information_curve(sizes, scores, points=points))


@may_be_nan
def aic(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    threshold: ArrayLike | None = None,
    thresholds: tuple[float, ...] = THRESHOLDS,
    size: Size = entropy_size,
    fill: Fill = from_neighbours,
    shown: float = 0.01,
    points: int = 1000,
    signed: bool = False,
    key: Key,
    chunk: int = 1,
) -> Scalar:
    """Area under the accuracy information curve: `sic` of whether the class is right.

    It is right where the target's logit is the largest. The evaluator's scores tell all logits, and
    its objective is not looked at; a function without `class_logits` and `target` is right above 0.
    With a `threshold` it is right where the score is above that.

    Other arguments, errors and source as for `sic`. NaN, too, where the class of the image is
    wrong, or that of the picture that shows nothing right.

    Raises:
        ValueError: without a threshold, a model of values, which tell no classes.
    """
    lead, least = (_lead(score), 0.0) if threshold is None else (score, threshold)
    scores, sizes = _curve(
        score, lead, image, map, thresholds, size, fill, shown, signed=signed, key=key, chunk=chunk
    )
    above = (scores > least).astype(scores.dtype)
    right = jnp.where(jnp.isnan(scores), jnp.nan, above)
    return information_area(information_curve(sizes, right, points=points))


def _lead(score: ScoreFn) -> Callable[[Image], Scalar]:
    """By how much a picture's target is ahead of the other classes; a plain score itself."""
    found = told_classes(score)
    if found is None:
        return score
    logits, target = found
    return lambda picture: margin(logits(picture), target)


def margin(logits: Logits, target: Target) -> Scalar:
    """An objective: the target's logit less the largest other one, above 0 where it is predicted.

    Args:
        logits: [K], floating, two or more: the lead of a single one is infinite.
        target: an integer, of [0, K).

    Returns:
        A number of the logits' dtype.
    """
    own = jnp.arange(len(logits), dtype=jnp.int32) == jnp.asarray(target, jnp.int32)
    others = jnp.where(own, -jnp.inf, logits)
    return logits[target] - jnp.max(others)


def information_curve(
    sizes: Float[Array, " n"],
    scores: Float[Array, " n"],
    *,
    points: int = 1000,
    monotone: bool = True,
) -> Float[Array, " points_and_one"]:
    """The curve at `points + 1` sizes from 0 to 1, of sizes and scores of pictures.

    Args:
        sizes, scores: of the picture that shows nothing, of those in between, of the image.
        points: intervals of the curve.
        monotone: whether the highest score so far counts.
    """
    wide = accumulator(scores.dtype)
    sizes, scores = sizes.astype(wide), scores.astype(wide)
    share, value = (
        jnp.where(
            row[-1] > row[0], jnp.clip((row[1:-1] - row[0]) / (row[-1] - row[0]), 0, 1), jnp.nan
        )
        for row in (sizes, scores)
    )
    value = jax.lax.cummax(value) if monotone else value
    share, value = (
        jnp.concatenate([row, jnp.asarray([0, 1], row.dtype)]) for row in (share, value)
    )
    order = jnp.argsort(share)  # stable
    at = np.linspace(0, 1, count("points", points) + 1)
    found = jnp.interp(jnp.asarray(at, share.dtype), share[order], value[order])
    defined = jnp.all(jnp.isfinite(share)) & jnp.all(jnp.isfinite(value))
    return jnp.where(defined, found.at[-1].set(1), jnp.nan)


def information_area(curve: Float[Array, " n"]) -> Scalar:
    """By trapezoids."""
    return (jnp.sum(curve) - (curve[0] + curve[-1]) / 2) / (curve.size - 1)


def _curve(
    score: ScoreFn,
    measure: Callable[[Image], Scalar],
    image: Image,
    map: Map,
    thresholds: tuple[float, ...],
    size: Size,
    fill: Fill,
    shown: float,
    *,
    signed: bool,
    key: Key,
    chunk: int,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Measures and sizes of the picture that shows nothing, at each threshold, of the image."""
    rising = all(low < high for low, high in zip((0, *thresholds), (*thresholds, 1), strict=True))
    if not thresholds or not rising:
        raise ValueError(f"thresholds: expected rising shares in (0, 1), got {thresholds}")
    scale("shown", shown, most=1.0)
    axes = spatial_axes(score, image)
    if len(axes) != 2:
        raise ValueError(f"image: expected two spatial axes, got the shape {image.shape}")
    values = pixels(score, map, image, signed=signed)
    always = _always(spatial_shape(image, axes), shown, key)
    least = jnp.quantile(values, 1 - np.asarray(thresholds, np.float32))
    ends = [jnp.full(1, jnp.inf), jnp.full(1, -jnp.inf)]
    low, high = jnp.min(image), jnp.max(image)

    def measured(threshold: Scalar) -> tuple[Scalar, Scalar]:
        picture = fill(image, ~(always | (values >= threshold)), axes)
        value = measure(picture)
        bytes_ = size(eight_bits(picture, low, high, (axes[0], axes[1])))
        return value.astype(accumulator(value.dtype)), bytes_.astype(jnp.float32)

    levels = jnp.concatenate([ends[0], least, ends[1]])
    scores, sizes = map_points(measured, levels, chunk=count("chunk", chunk))
    return jnp.where(jnp.all(jnp.isfinite(values)), scores, jnp.nan), sizes


def _always(space: tuple[int, ...], shown: float, key: Key) -> Bool[Array, "height width"]:
    """A random share of the pixels, and the corners."""
    total = int(np.prod(space))
    order = jax.random.permutation(key, np.arange(total, dtype=np.int32)).reshape(space)
    corners = np.zeros(space, bool)
    corners[np.ix_([0, -1], [0, -1])] = True
    return (order < round(shown * total)) | corners
