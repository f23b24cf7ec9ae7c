"""HSIC: how far the score depends on whether a cell is shown, of any form of dependence."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float

from jaxsal.common.options import Baseline, baseline_image, count, over_image
from jaxsal.common.points import map_points
from jaxsal.common.rounding import dtype_of, rounding
from jaxsal.methods._grid import grid_of
from jaxsal.methods._least_squares import product
from jaxsal.methods._segments import Coalition, Coalitions, random_bits, wide
from jaxsal.rewrite.axes.spatial import bind_axes, spatial_axes
from jaxsal.types import Image, Key, Scalar, ScoreFn


def hsic(
    score: ScoreFn,
    image: Image,
    *,
    grid: int = 8,
    designs: int = 500,
    baseline: Baseline = 0.0,
    resize: str = "nearest",
    key: Key,
    chunk: int = 1,
) -> Image:
    """Dependence of the score on each cell of a grid, by the Hilbert-Schmidt criterion.

    .. math:: Aᵢ = (1/n) Σⱼₖ (H Kᵢ H)ⱼₖ (H L H)ⱼₖ,  H = 1 - 1/n

    Kᵢ compares whether cell i is shown, `3/2 - (z - z')²`; L compares the scores,
    `exp(-(y - y')² / (2 w²))`, w the median of |y - y'| over pairs (their mean where it is 0). So
    the map is the same for another unit and origin of the score, and zero for a constant one.

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        grid: cells along each spatial axis, each shown by chance 1/2.
        designs: n, the number of masks.
        baseline: what hides a cell: a scalar, an image, or a function of the image.
        resize: "nearest" (each pixel has its cell's value) or "bicubic", as authors show it.
        key: the key is consumed; mask j draws from `fold_in(key, j)`.
        chunk: masks evaluated at a time.

    Returns:
        A map of the image's shape, float32, equal over channels, not negative (`nearest`).

    Raises:
        TypeError: `grid`, `designs` or `chunk` is no concrete integer.
        ValueError: more cells than pixels along an axis, fewer than two designs, a baseline of
            another shape.

    References:
        Novello, Fel & Vigouroux, "Making Sense of Dependence: Efficient Black-box Explanations
        Using Dependence Measure", NeurIPS 2022, https://arxiv.org/abs/2206.06219
    """
    cells = grid_of(grid, image, spatial_axes(score, image)).number
    draws = draw_masks(key, count("designs", designs, least=2), cells)
    return hsic_over(score, image, draws, grid=grid, baseline=baseline, resize=resize, chunk=chunk)


hsic.forward_only = True  # type: ignore[attr-defined]


def draw_masks(key: Key, designs: int, cells: int) -> Bool[Array, "designs cells"]:
    """The draw of `hsic`: each cell by chance 1/2."""
    return random_bits(key, designs, cells) >> 31 == 1


def hsic_over(
    score: ScoreFn,
    image: Image,
    draws: Coalitions,
    *,
    grid: int = 8,
    baseline: Baseline = 0.0,
    resize: str = "nearest",
    chunk: int = 1,
) -> Image:
    """The deterministic core of `hsic`, of masks `[designs, cells]`.

    Raises:
        ValueError: masks of another number of cells.
    """
    axes = spatial_axes(score, image)
    cells, empty = grid_of(grid, image, axes), baseline_image(bind_axes(baseline, axes), image)
    shown = jnp.asarray(draws).astype(bool)
    if shown.ndim != 2 or shown.shape[1] != cells.number or len(shown) < 2:
        raise ValueError(f"draws: expected [2 or more, {cells.number}], got {shown.shape}")

    def masked(mask: Coalition) -> Scalar:
        seen = over_image(cells.mask(mask), image, axes)
        return wide(score(jnp.where(seen, image, empty)))

    scores = map_points(masked, shown, chunk=count("chunk", chunk))
    width = median_difference(scores, dtype=dtype_of(score, image))
    values = dependence(shown.astype(jnp.float32), scores, width)
    return cells.spread(values, image, resize)


def dependence(
    masks: Float[Array, "n cells"], scores: Float[Array, " n"], width: ArrayLike
) -> Float[Array, " cells"]:
    """The criterion of each cell's presence and the scores, given the width of their kernel.

    Of values 0 and 1 the centred kernel is H K H = 2 (H z) (H z)ᵀ: one product for all cells.
    """
    masks, width = masks.astype(scores.dtype), jnp.asarray(width, scores.dtype)
    away = (scores[:, None] - scores[None]) / width
    alike = jnp.exp(-jnp.square(away) / 2)
    alike = alike - jnp.mean(alike, 0, keepdims=True)
    centred = masks - jnp.mean(masks, 0, keepdims=True)
    return 2 * jnp.sum(centred * product(alike, centred), 0) / len(masks)


def median_difference(scores: Float[Array, " n"], *, dtype: DTypeLike | None = None) -> Scalar:
    """The median of |y - y'| over pairs, their mean where it is 0; infinite where all are equal.

    Scores that differ by rounding alone, in the `dtype` that they were computed in, are equal ones;
    None: in their own.
    """
    first, second = np.triu_indices(len(scores), 1)
    away = jnp.abs(scores[first] - scores[second])
    median = jnp.median(away)
    width = jnp.where(median > 0, median, jnp.mean(away))
    return jnp.where(jnp.max(away) > rounding(scores, dtype), width, jnp.inf)
