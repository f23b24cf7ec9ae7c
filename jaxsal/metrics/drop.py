"""Average drop and increase: what the score becomes of the image seen through its map.

A map is |map| summed over channels, over its largest value: a mask in [0, 1]. The measures are of
one image; their averages are those of the literature.
"""

import jax.numpy as jnp

from jaxsal.common.options import Baseline, baseline_image, over_image
from jaxsal.common.rounding import dtype_of, rounding
from jaxsal.metrics._relevance import by_largest, pixels
from jaxsal.rewrite.axes.spatial import bind_axes, spatial_axes
from jaxsal.types import Image, Map, Scalar, ScoreFn, accumulator, may_be_nan


@may_be_nan
def average_drop(score: ScoreFn, image: Image, map: Map, *, baseline: Baseline = 0.0) -> Scalar:
    """The share of the score that is lost when the image is seen through its map; lower is better.

    .. math:: max(0, s(x) - s(b + m ⊙ (x - b))) / |s(x)|

    Args:
        score: `score(image) -> scalar`, a probability in the literature.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        map: of the image's shape, with or without its channels.
        baseline: b, seen where the map is 0: a scalar, an image, or a function of the image.

    Returns:
        A share, at most 1 for a probability; NaN where s(x) is 0 or the map is not finite.

    Raises:
        ValueError: a map or a baseline of another shape.

    References:
        Chattopadhay, Sarkar, Howlader & Balasubramanian, "Grad-CAM++: Improved Visual Explanations
        for Deep Convolutional Networks", WACV 2018, https://arxiv.org/abs/1710.11063
    """
    before, after = _scores(score, image, map, baseline)
    return jnp.maximum(before - after, 0) / jnp.where(before == 0, jnp.nan, jnp.abs(before))


@may_be_nan
def average_increase(score: ScoreFn, image: Image, map: Map, *, baseline: Baseline = 0.0) -> Scalar:
    """1 where the score of the image seen through its map is higher than its own, else 0.

    Higher by more than rounding, that is; 1 is better. NaN where either score or the map is not
    finite. Arguments, errors and source as for `average_drop`.
    """
    before, after = _scores(score, image, map, baseline)
    more = after - before > rounding(jnp.stack([before, after]), dtype_of(score, image))
    known = jnp.isfinite(before) & jnp.isfinite(after)
    return jnp.where(known, more.astype(after.dtype), jnp.nan)


def _scores(score: ScoreFn, image: Image, map: Map, baseline: Baseline) -> tuple[Scalar, Scalar]:
    """Of the image, and of the image seen through its map (NaN where that is not finite)."""
    axes = spatial_axes(score, image)
    values, _ = by_largest(pixels(score, map, image))
    mask = over_image(values, image, axes).astype(image.dtype)
    empty = baseline_image(bind_axes(baseline, axes), image)
    before, after = score(image), score(empty + mask * (image - empty))
    wide = accumulator(before.dtype)
    finite = jnp.all(jnp.isfinite(values))
    return before.astype(wide), jnp.where(finite, after.astype(wide), jnp.nan)
