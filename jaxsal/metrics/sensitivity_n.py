"""Sensitivity-n: does the relevance of n pixels go with what the score loses without them?"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxsal.common.options import Baseline, baseline_image, count, over_image
from jaxsal.common.points import map_points
from jaxsal.common.rounding import dtype_of, rounding
from jaxsal.metrics._relevance import by_largest, pixels
from jaxsal.rewrite.axes.spatial import bind_axes, spatial_axes
from jaxsal.types import Image, Key, Map, Scalar, ScoreFn, accumulator, may_be_nan

SHARES = (0.02, 0.05, 0.1, 0.2, 0.5)


@may_be_nan
def sensitivity_n(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    shares: tuple[float, ...] = SHARES,
    samples: int = 50,
    baseline: Baseline = 0.0,
    key: Key,
    chunk: int = 1,
) -> Float[Array, " shares"]:
    """Pearson's correlation of relevance and loss over random sets of n pixels; higher is better.

    .. math:: corr_S(Σ_{p ∈ S} A(p), s(x) - s(x with S replaced)),  |S| = n

    The map's sign counts; neither side's scale does, nor what is added to every pixel of the map or
    to the score. NaN where either side is the same for all sets, up to the rounding of the values
    themselves: a constant map foretells nothing, nor is there anything to foretell where losses
    are below what the score's dtype holds of the score.

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        map: of the image's shape, with or without its channels.
        shares: n as shares of the number of pixels, each in (0, 1); a pixel has all its channels.
        samples: random sets for each share.
        baseline: what pixels are replaced by: a scalar, an image, or a function of the image.
        key: the key is consumed; set j of share k draws from `fold_in(key, k * samples + j)`.
        chunk: sets evaluated at a time.

    Returns:
        A correlation a share.

    Raises:
        ValueError: a share outside (0, 1), fewer than two samples, a map or a baseline of another
            shape.

    References:
        Ancona, Ceolini, Öztireli & Gross, "Towards better understanding of gradient-based
        attribution methods for deep neural networks", ICLR 2018, https://arxiv.org/abs/1711.06104
    """
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError(f"shares: expected numbers in (0, 1), got {shares}")
    samples = count("samples", samples, least=2)
    axes = spatial_axes(score, image)
    values = pixels(score, map, image, signed=True)
    empty = baseline_image(bind_axes(baseline, axes), image)
    total = values.size
    pixel = np.arange(total, dtype=np.int32)
    sizes = np.maximum(1, np.round(np.asarray(shares) * total)).astype(np.int32)
    # All sets of a share have n pixels: what is added to every pixel does not count.
    relevance = _apart(values, jnp.median(values))

    def relevance_and_score(point: tuple[Int[Array, ""], Int[Array, ""]]) -> tuple[Scalar, Scalar]:
        index, size = point
        order = jax.random.permutation(jax.random.fold_in(key, index), pixel)
        taken = order.reshape(relevance.shape) < size
        value = score(jnp.where(over_image(taken, image, axes), empty, image))
        return jnp.sum(relevance, where=taken), value.astype(accumulator(value.dtype))

    points = (np.arange(len(sizes) * samples, dtype=np.int32), np.repeat(sizes, samples))
    sums, scores = map_points(relevance_and_score, points, chunk=count("chunk", chunk))
    rows = (len(sizes), samples)
    of_share = partial(correlation, dtype=dtype_of(score, image))
    correlations = jax.vmap(of_share)(sums.reshape(rows), -scores.reshape(rows))
    return jnp.where(jnp.all(jnp.isfinite(values)), correlations, jnp.nan)


def correlation(
    first: Float[Array, " n"], second: Float[Array, " n"], *, dtype: DTypeLike | None = None
) -> Scalar:
    """Pearson's; NaN where either side's values differ by rounding alone.

    Args:
        dtype: what the second ones were computed in; None: as they are.
    """
    # Losses differ as scores do. Less one of its own, a row has no bias left that would round
    # its mean: the score of the whole image may be far away.
    a, b = _apart(first, first[0]), _apart(second, second[0], dtype)
    a, b = a - jnp.mean(a), b - jnp.mean(b)
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))


def _apart(
    values: Float[Array, "*n"], reference: Scalar, dtype: DTypeLike | None = None
) -> Float[Array, "*n"]:
    """The values less `reference`, over the largest such; NaN where they differ by rounding."""
    wide = values.astype(accumulator(values.dtype))
    scaled, top = by_largest(wide - reference.astype(wide.dtype))
    return jnp.where(top > rounding(values, dtype), scaled, jnp.nan).astype(jnp.float32)
