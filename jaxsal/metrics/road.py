"""Remove and debias: the score when pixels are imputed from their neighbours, not blackened.

Relevance and ties are as in `curves`. The imputation leaves no edges from which a network could
read what was removed, which is what misleads deletion with a constant baseline.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxsal.common.options import count
from jaxsal.common.points import map_points
from jaxsal.metrics._relevance import descending_ranks, pixels
from jaxsal.metrics.imputation import impute_noisily
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.types import Image, Key, Map, Scalar, ScoreFn, accumulator, may_be_nan

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@may_be_nan
def road_curve(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    removed: tuple[float, ...] = DECILES,
    least_relevant: bool = False,
    noise: float | int = 0.01,
    signed: bool = False,
    key: Key,
    chunk: int = 1,
) -> Float[Array, " shares"]:
    """The score with a share of the pixels imputed, the most relevant first.

    Args:
        score: `score(image) -> scalar`; need not be differentiable. An evaluator of
            logits scores the class's unless it has an `objective`; the authors' code returns a data
            set's accuracy and mean probability at each share.
        image: floating, of two spatial axes (`jaxsal.rewrite.axes.spatial`).
        map: of the image's shape, with or without its channels.
        removed: the shares, each in (0, 1).
        least_relevant: whether the least relevant pixels are removed first (LeRF; else MoRF).
        noise: deviation of the noise on imputed pixels, in the image's units.
        signed: whether relevance is the map rather than |map|.
        key: the key is consumed; the k-th smallest share draws from `fold_in(key, k)`.
        chunk: shares evaluated at a time.

    Raises:
        ValueError: a share outside (0, 1), a map of another shape, or an image that has not two
            spatial axes.

    References:
        Rong, Leemann, Borisov, Kasneci & Kasneci, "A Consistent and Efficient Evaluation Strategy
        for Attribution Methods", ICML 2022, https://arxiv.org/abs/2202.00449
    """
    last = np.full(len(removed), least_relevant)
    return _scores(
        score, image, map, removed, last, noise=noise, signed=signed, key=key, chunk=chunk
    )


@may_be_nan
def road(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    removed: tuple[float, ...] = DECILES,
    noise: float | int = 0.01,
    signed: bool = False,
    key: Key,
    chunk: int = 1,
) -> Scalar:
    """How much better the score survives without the least than without the most relevant pixels.

    .. math:: (1/n) Σₖ (LeRF_k - MoRF_k) / 2

    with the same noise on either side; higher is better, 0 is chance. The authors' code has no such
    combination; it is pytorch-grad-cam's `ROADCombined`. Arguments, errors and source as for
    `road_curve`.
    """
    last = np.repeat([False, True], len(removed))
    scores = _scores(
        score, image, map, removed * 2, last, noise=noise, signed=signed, key=key, chunk=chunk
    )
    most, least = jnp.split(scores, 2)
    return jnp.mean(least - most) / 2


def _scores(
    score: ScoreFn,
    image: Image,
    map: Map,
    removed: tuple[float, ...],
    last: Bool[np.ndarray, " points"],
    *,
    noise: float | int,
    signed: bool,
    key: Key,
    chunk: int,
) -> Float[Array, " points"]:
    if not removed or not all(0 < share < 1 for share in removed):
        raise ValueError(f"removed: expected shares in (0, 1), got {removed}")
    axes = spatial_axes(score, image)
    values = pixels(score, map, image, signed=signed)
    place = descending_ranks(values)
    taken = np.round(np.asarray(removed) * values.size).astype(np.int32)
    draws = np.unique(removed, return_inverse=True)[1].astype(np.int32)

    def at(point: tuple[Int[Array, ""], Bool[Array, ""], Int[Array, ""]]) -> Scalar:
        taken, last, draw = point
        missing = jnp.where(last, place >= values.size - taken, place < taken)
        own = jax.random.fold_in(key, draw)
        filled = impute_noisily(image, missing, noise=noise, key=own, spatial_axes=axes)
        value = score(filled)
        return value.astype(accumulator(value.dtype))

    scores = map_points(at, (taken, last, draws), chunk=count("chunk", chunk))
    return jnp.where(jnp.all(jnp.isfinite(values)), scores, jnp.nan)
