"""Monotonicity: does the score rise as pixels come, the least relevant first?"""

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxsal.common.options import Baseline, baseline_image, count, over_image
from jaxsal.common.points import map_points
from jaxsal.common.rounding import dtype_of, rounding
from jaxsal.metrics._relevance import descending_ranks, pixels
from jaxsal.metrics.baselines import minimum
from jaxsal.metrics.curves import shares
from jaxsal.rewrite.axes.spatial import bind_axes, spatial_axes
from jaxsal.types import Image, Map, Scalar, ScoreFn, accumulator, may_be_nan


@may_be_nan
def monotonicity(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    steps: int = 100,
    baseline: Baseline = minimum,
    signed: bool = True,
    chunk: int = 1,
) -> Scalar:
    """The share of steps at which the score does not fall as pixels come; higher is better.

    .. math:: (1/(n - 1)) Σ_{k=2}^n [c_k ≥ c_{k-1}],  c_k = s(b with the last ⌊k P / n⌋ pixels of x)

    Pixels come in rising order of relevance, from a baseline that has none of them. 1 is what the
    authors call monotone. What falls by rounding alone does not fall. A constant map is a random
    order; NaN for a map, or a score, that is not finite.

    Args:
        score: `score(image) -> scalar`; need not be differentiable. An evaluator of
            logits scores the class's unless it has an `objective`; AIX360, the authors' toolkit,
            scores the predicted class's probability.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        map: of the image's shape, with or without its channels.
        steps: n, at most the number of pixels; a pixel comes with all its channels.
        baseline: b: a scalar, an image, or a function of the image.
        signed: whether relevance is the map rather than |map|.
        chunk: points of the curve evaluated at a time.

    Raises:
        TypeError: `steps` or `chunk` is no concrete integer.
        ValueError: fewer than two steps, more than pixels, a map or a baseline of another shape.

    References:
        Arya et al., "One Explanation Does Not Fit All: A Toolkit and Taxonomy of AI
        Explainability Techniques", 2019, https://arxiv.org/abs/1909.03012
    """
    axes = spatial_axes(score, image)
    values = pixels(score, map, image, signed=signed)
    if count("steps", steps, least=2) > values.size:
        raise ValueError(f"steps: expected at most the image's {values.size} pixels, got {steps}")
    empty = baseline_image(bind_axes(baseline, axes), image)
    place = over_image(values.size - 1 - descending_ranks(values), image, axes)

    def with_first(shown: Int[Array, ""]) -> Scalar:
        value = score(jnp.where(place < shown, image, empty))
        return value.astype(accumulator(value.dtype))

    curve = map_points(with_first, shares(values.shape, steps)[1:], chunk=count("chunk", chunk))
    least = -rounding(curve, dtype_of(score, image))
    rising = jnp.mean((jnp.diff(curve) >= least).astype(curve.dtype))
    known = jnp.all(jnp.isfinite(values)) & jnp.all(jnp.isfinite(curve))
    return jnp.where(known, rising, jnp.nan)
