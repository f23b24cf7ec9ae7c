"""Does a map add up to the score's difference from a baseline?"""

import jax.numpy as jnp

from jaxsal.common.options import Baseline, baseline_image
from jaxsal.metrics._relevance import as_image
from jaxsal.rewrite.axes.spatial import with_axes
from jaxsal.types import Image, Map, Scalar, ScoreFn, accumulator, may_be_nan


@may_be_nan
def completeness(score: ScoreFn, image: Image, map: Map, *, baseline: Baseline = 0.0) -> Scalar:
    """The share of the score's difference by which a map misses it; 0 is complete.

    .. math:: |Σ A - (s(x) - s(b))| / |s(x) - s(b)|

    The map's sign counts. A number, never a test of equality: float32 sums are not exact. NaN where
    the score of image and baseline are the same. It says nothing about where the relevance lies: a
    map that is rescaled to the right sum is complete. A map that has a segment's value at each of
    its elements (Shapley values, LIME, `feature_ablation`) is first divided by their number.

    Args:
        score: `score(image) -> scalar`.
        image: one image, floating.
        map: of the image's shape, with or without its channels.
        baseline: what the method measured from: a scalar, an image, or a function of the image.

    Raises:
        ValueError: a map or a baseline of another shape.

    References:
        Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
        https://arxiv.org/abs/1703.01365
    """
    whole, empty = score(image), baseline_image(with_axes(baseline, score, image), image)
    wide = accumulator(whole.dtype)
    rise = whole.astype(wide) - score(empty).astype(wide)
    gap = jnp.abs(jnp.sum(as_image(score, map, image)).astype(wide) - rise)
    return gap / jnp.where(rise == 0, jnp.nan, jnp.abs(rise))
