"""DeepLIFT: the difference of a score from that of a baseline, handed back to the image."""

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxsal.common.options import Baseline, baseline_image, baseline_images, count, scale
from jaxsal.common.points import sum_points
from jaxsal.rewrite.axes.spatial import with_axes
from jaxsal.rewrite.relevance.deep_lift_rules import multipliers
from jaxsal.types import Image, ScoreFn, accumulator


def deep_lift(
    score: ScoreFn, image: Image, *, baseline: Baseline = 0.0, eps: ArrayLike = 1e-10
) -> Image:
    """The difference from a baseline, times the multipliers of the rescale rule.

    .. math:: A = (x - r) ⊙ m,  m of an activation f = (f(x) - f(r)) / (x - r)

    Complete: the map sums to s(x) - s(r), up to rounding, whatever the network has: overlapping
    pools, norms, products and softmaxes have rules of their own, see
    `jaxsal.rewrite.relevance.deep_lift_rules`; `explainer.describe` lists which one each got.

    Args:
        score: `score(image) -> scalar`.
        image: one image, floating, of any shape.
        baseline: r, the reference: a scalar, an image of the same shape, or a function of the
            image.
        eps: where an activation's inputs differ by less, its derivative is taken.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: a baseline that is no real array.
        ValueError: a baseline of another shape, an operation that has no rule.

    References:
        Shrikumar, Greenside & Kundaje, "Learning Important Features Through Propagating Activation
        Differences", ICML 2017, https://arxiv.org/abs/1704.02685
    """
    start = baseline_image(with_axes(baseline, score, image), image)
    wide = accumulator(image.dtype)
    slope = multipliers(score, image, scale("eps", eps))(start)
    return (image - start).astype(wide) * slope.astype(wide)


def deep_lift_shap(
    score: ScoreFn,
    image: Image,
    *,
    baselines: Float[ArrayLike, "n ..."],
    chunk: int = 1,
) -> Image:
    """DeepLIFT, averaged over all baselines of a set.

    .. math:: A = (1/n) Σⱼ (x - rⱼ) ⊙ mⱼ

    Complete: the map sums to s(x) - mean s(r), up to rounding.

    Args:
        score: `score(image) -> scalar`.
        image: one image, floating, of any shape.
        baselines: [N, *image.shape]; each of them is used.
        chunk: baselines evaluated at a time; the image is evaluated once.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: `chunk` is no concrete integer.
        ValueError: baselines of another shape or none, an operation that has no rule.

    References:
        Lundberg & Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017,
        https://arxiv.org/abs/1705.07874
    """
    images = baseline_images(baselines, image)
    against = multipliers(score, image, 1e-10)
    wide = accumulator(image.dtype)

    def at(start: Image) -> Image:
        return (image - start).astype(wide) * against(start).astype(wide)

    number = images.shape[0]
    weights = np.full(number, 1 / number)
    return sum_points(at, images, weights, like=image, chunk=count("chunk", chunk))
