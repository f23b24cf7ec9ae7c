"""Sobol' indices: a cell's share of the score's variance under random masks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxsal.common.options import count, over_image
from jaxsal.common.points import map_points
from jaxsal.common.rounding import dtype_of, rounding
from jaxsal.methods._grid import Grid, Mask, corner_of, grid_of
from jaxsal.methods._segments import over_axes, wide
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.rewrite.incremental_occlusion import incremental_score
from jaxsal.rewrite.occlusion.blocks import cut
from jaxsal.types import Image, Scalar, ScoreFn, SpatialAxes

Perturbation = Callable[[Image, Mask], Image]
"""`perturbation(image, mask) -> image`; the mask in [0, 1], of length one along channels."""

Draws = Float[Array, "designs twice_cells"] | Float[np.ndarray, "designs twice_cells"]


def sobol(
    score: ScoreFn,
    image: Image,
    *,
    grid: int = 8,
    designs: int = 32,
    perturbation: str | Perturbation = "inpaint",
    resize: str = "nearest",
    chunk: int = 1,
) -> Image:
    """Total Sobol' indices of the cells of a grid: their shares of the score's variance.

    .. math:: Tᵢ = Σⱼ (s(Aⱼ) - s(Cᵢⱼ))² / (2 n V),  V = Σⱼ (s(Aⱼ) - mean)² / (n - 1)

    Aⱼ is the image under a mask of the cells, values in [0, 1]; Cᵢⱼ under the same mask but for
    cell i, which has that of a second one, Bⱼ. The masks are points of Sobol's sequence, so that
    nothing is random. What a cell does together with others counts for each of them: the indices
    sum to one or more, and none is negative; of a score that is constant but for rounding all are
    0. For each design one image is evaluated whole, and then what a change of each cell reaches
    (`jaxsal.rewrite.incremental_occlusion`).

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        grid: cells along each spatial axis.
        designs: n, pairs of masks, best a power of two; `n (cells + 1)` scores.
        perturbation: what a mask m does to the image x: "inpaint" (m x, towards black), "blur"
            (m x + (1 - m) the mean of 5 pixels a side), "amplitude" (x + m - 1/2), or a function
            `(image, mask) -> image`, of which every image is evaluated whole.
        resize: "nearest" (each pixel has its cell's index) or "bicubic", as authors show it.
        chunk: images evaluated at a time.

    Returns:
        A map of the image's shape, float32, equal over channels.

    Raises:
        TypeError: `grid`, `designs` or `chunk` is no concrete integer, `perturbation` neither a
            name nor a function.
        ValueError: more cells than pixels along an axis, fewer than two designs, an unknown name.

    References:
        Fel, Cadene, Chalvidal, Cord, Vigouroux & Serre, "Look at the Variance! Efficient Black-box
        Explanations with Sobol-based Sensitivity Analysis", NeurIPS 2021,
        https://arxiv.org/abs/2111.04138; the estimator is Jansen's, Computer Physics
        Communications 1999.
    """
    cells = grid_of(grid, image, spatial_axes(score, image)).number
    return sobol_over(
        score,
        image,
        draw_designs(count("designs", designs, least=2), cells),
        grid=grid,
        perturbation=perturbation,
        resize=resize,
        chunk=chunk,
    )


sobol.forward_only = True  # type: ignore[attr-defined]
sobol.shares_windows = True  # type: ignore[attr-defined]


def draw_designs(designs: int, cells: int) -> Float[np.ndarray, "designs twice_cells"]:
    """The draw of `sobol`: points of Sobol's sequence after its first, A's masks and then B's.

    Raises:
        ValueError: more cells than half of the dimensions that the sequence is known for.
    """
    from scipy.stats import qmc  # comes with JAX; takes a second to import

    most = int(qmc.Sobol.MAXDIM)
    if 2 * cells > most:
        raise ValueError(f"grid: expected {most // 2} cells at most, got {cells}")
    points: Any = qmc.Sobol(2 * cells, scramble=False).fast_forward(1)
    return np.asarray(points.random(designs), np.float32)


def sobol_over(
    score: ScoreFn,
    image: Image,
    draws: Draws,
    *,
    grid: int = 8,
    perturbation: str | Perturbation = "inpaint",
    resize: str = "nearest",
    chunk: int = 1,
) -> Image:
    """The deterministic core of `sobol`, of draws `[designs, 2 cells]`: A's masks, and B's beside.

    Raises:
        ValueError: draws of another number of cells.
    """
    cells, chunk = grid_of(grid, image, spatial_axes(score, image)), count("chunk", chunk)
    if draws.ndim != 2 or draws.shape[1] != 2 * cells.number or len(draws) < 2:
        raise ValueError(f"draws: expected [2 or more, {2 * cells.number}], got {draws.shape}")
    design = _design(score, image, cells, perturbation, min(chunk, cells.number))
    masks = jnp.asarray(draws, jnp.float32).reshape(len(draws), 2, cells.number)
    whole, changed = map_points(design, masks, chunk=max(1, chunk // cells.number))
    indices = total_indices(whole, changed, dtype=dtype_of(score, image))
    return cells.spread(indices, image, resize)


def total_indices(
    whole: Float[Array, " designs"],
    changed: Float[Array, "designs cells"],
    *,
    dtype: DTypeLike | None = None,
) -> Float[Array, " cells"]:
    """Jansen's estimate of the total indices; 0 where a cell changes nothing.

    So are all of them where no scores differ by more than rounding in the `dtype` that they were
    computed in; None: their own.
    """
    # About the first value: the mean of scores far from zero would round their differences.
    apart, away = whole - whole[0], whole[:, None] - changed
    change, variance = jnp.mean(jnp.square(away), 0) / 2, jnp.var(apart, ddof=1)
    most = jnp.maximum(jnp.max(jnp.abs(apart)), jnp.max(jnp.abs(away)))
    nothing = (change == 0) | (most <= rounding(whole, dtype))
    return jnp.where(nothing, 0, change / jnp.where(nothing, 1, variance))


Design = Callable[[Float[Array, "two cells"]], tuple[Scalar, Float[Array, " cells"]]]
"""From the masks of A and B to the score of A, and of A with each cell of B."""


def _design(
    score: ScoreFn, image: Image, cells: Grid, perturbation: str | Perturbation, chunk: int
) -> Design:
    """
    Raises:
        TypeError, ValueError: of the perturbation.
    """
    if isinstance(perturbation, str):
        if perturbation not in PERTURBATIONS:
            listed = ", ".join(PERTURBATIONS)
            raise ValueError(f"perturbation: expected {listed} or a function, got {perturbation!r}")
        mix = PERTURBATIONS[perturbation]
        other = box_blur(image, cells.axes) if perturbation == "blur" else jnp.zeros_like(image)
        return partial(_local, score, image, other, mix, cells, chunk)
    if not callable(perturbation):
        raise TypeError(f"perturbation: expected a name or a function, got {perturbation!r}")
    return partial(_whole, score, image, perturbation, cells, chunk)


Mix = Callable[[Array, Array, Array], Array]
"""Of a pixel: `mix(image, other, mask)`."""

PERTURBATIONS: dict[str, Mix] = {
    "inpaint": lambda image, other, mask: mask * image,
    "blur": lambda image, other, mask: mask * image + (1 - mask) * other,
    "amplitude": lambda image, other, mask: image + (mask - 0.5),
}
"""Those that change a pixel by its own mask alone."""


def _local(
    score: ScoreFn,
    image: Image,
    other: Image,
    mix: Mix,
    cells: Grid,
    chunk: int,
    masks: Float[Array, "two cells"],
) -> tuple[Scalar, Float[Array, " cells"]]:
    """One design; what a cell changes is evaluated where it reaches."""
    axes, windows = cells.axes, cells.windows()
    full, beside = wide(image), wide(other)
    masks = masks.astype(full.dtype)
    base = mix(full, beside, over_image(cells.mask(masks[0]), image, axes)).astype(image.dtype)
    replaced = incremental_score(score, base)
    shape = over_axes(windows.size, axes, image.shape)

    def changed(point: tuple[Array, Array, Array, Array]) -> Scalar:
        begin, first, last, value = point
        corner = corner_of(begin, image, axes)
        inside = jnp.ones(shape, bool)
        for number, axis in enumerate(axes):
            place = lax.broadcasted_iota(first.dtype, shape, axis)
            inside &= (place >= first[number]) & (place < last[number])
        own, near, old = (cut(x, corner, shape) for x in (full, beside, base))
        values = jnp.where(inside, mix(own, near, value).astype(image.dtype), old)
        return wide(replaced(values, corner))

    points = (windows.begin, windows.first, windows.last, masks[1])
    return wide(score(base)), map_points(changed, points, chunk=chunk)


def _whole(
    score: ScoreFn,
    image: Image,
    perturbation: Perturbation,
    cells: Grid,
    chunk: int,
    masks: Float[Array, "two cells"],
) -> tuple[Scalar, Float[Array, " cells"]]:
    """One design; every image is evaluated whole."""

    def of(values: Float[Array, " cells"]) -> Scalar:
        mask = over_image(cells.mask(values), image, cells.axes)
        return wide(score(perturbation(image, mask).astype(image.dtype)))

    def changed(cell: Int[Array, ""]) -> Scalar:
        return of(masks[0].at[cell].set(masks[1][cell]))

    number = np.arange(cells.number, dtype=np.int32)
    return of(masks[0]), map_points(changed, number, chunk=chunk)


def box_blur(image: Image, axes: SpatialAxes) -> Image:
    """The mean of 5 pixels along each spatial axis, the image mirrored at its border pixels."""
    for axis in axes:
        widths = [(2, 2) if each == axis else (0, 0) for each in range(image.ndim)]
        padded = jnp.pad(image, widths, mode="reflect")
        length = image.shape[axis]
        near = [lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(5)]
        image = sum(near, start=jnp.zeros_like(image)) / 5
    return image
