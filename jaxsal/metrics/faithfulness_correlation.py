"""Faithfulness correlation: does the relevance of random pixels go with what their loss costs?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from jaxsal.common.options import Baseline, baseline_image, count, over_image
from jaxsal.common.points import map_points
from jaxsal.common.rounding import dtype_of
from jaxsal.metrics._relevance import pixels
from jaxsal.metrics.baselines import minimum
from jaxsal.metrics.sensitivity_n import correlation
from jaxsal.rewrite.axes.spatial import bind_axes, spatial_axes
from jaxsal.types import Image, Key, Map, Scalar, ScoreFn, accumulator, may_be_nan

Subset = Bool[Array, "*spatial"]


@may_be_nan
def faithfulness_correlation(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    samples: int = 100,
    subset: int = 224,
    baseline: Baseline = minimum,
    key: Key,
    chunk: int = 1,
) -> Scalar:
    """Pearson's correlation of relevance and loss over random sets of pixels; higher is better.

    .. math:: corr_S(Σ_{p ∈ S} A(p), s(x) - s(x with S replaced)),  |S| = subset

    The map's sign counts. NaN where either side is the same for all sets, up to rounding.
    `sensitivity_n` is the same over sets of several sizes.

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        map: of the image's shape, with or without its channels.
        samples: random sets.
        subset: pixels of a set, with all their channels.
        baseline: what pixels are replaced by: a scalar, an image, or a function of the image.
        key: the key is consumed; set j draws from `fold_in(key, j)`.
        chunk: sets evaluated at a time.

    Raises:
        TypeError: `samples`, `subset` or `chunk` is no concrete integer.
        ValueError: fewer than two samples, a set of all pixels or more, a map or a baseline of
            another shape.

    References:
        Bhatt, Weller & Moura, "Evaluating and Aggregating Feature-based Model Explanations",
        IJCAI 2020, https://arxiv.org/abs/2005.00631
    """
    shape = pixels(score, map, image).shape
    total = int(np.prod(shape))
    if count("subset", subset) >= total:
        raise ValueError(f"subset: expected fewer than the image's {total} pixels, got {subset}")
    pixel = np.arange(total, dtype=np.int32)

    def draw(index: Array) -> Subset:
        order = jax.random.permutation(jax.random.fold_in(key, index), pixel)
        return order.reshape(shape) < subset

    return faithfulness_correlation_over(
        score, image, map, draw, samples=samples, baseline=baseline, chunk=chunk
    )


def faithfulness_correlation_over(
    score: ScoreFn,
    image: Image,
    map: Map,
    draw: Callable[[Array], Subset],
    *,
    samples: int,
    baseline: Baseline = minimum,
    chunk: int = 1,
) -> Scalar:
    """The deterministic core of `faithfulness_correlation`: `draw` gives the set of sample j."""
    samples = count("samples", samples, least=2)
    axes = spatial_axes(score, image)
    values = pixels(score, map, image, signed=True)
    empty = baseline_image(bind_axes(baseline, axes), image)

    def relevance_and_score(index: Array) -> tuple[Scalar, Scalar]:
        taken = draw(index)
        value = score(jnp.where(over_image(taken, image, axes), empty, image))
        return jnp.sum(values, where=taken), value.astype(accumulator(value.dtype))

    points = np.arange(samples, dtype=np.int32)
    sums, scores = map_points(relevance_and_score, points, chunk=count("chunk", chunk))
    found = correlation(sums, -scores, dtype=dtype_of(score, image))
    return jnp.where(jnp.all(jnp.isfinite(values)), found, jnp.nan)
