"""Random masks: where the score is high when a pixel is kept."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxsal.common.options import Baseline, baseline_image, count, over_image, scale, spatial_shape
from jaxsal.common.points import sum_points
from jaxsal.rewrite.axes.spatial import bind_axes, spatial_axes
from jaxsal.types import Image, Key, ScoreFn, accumulator

Mask = Float[Array, "*spatial"]


def rise(
    score: ScoreFn,
    image: Image,
    *,
    samples: int = 4000,
    grid: int = 8,
    keep: ArrayLike = 0.5,
    baseline: Baseline = 0.0,
    key: Key,
    chunk: int = 1,
) -> Image:
    """The score averaged over random smooth masks, weighted by what each mask keeps.

    .. math:: A = Σⱼ s(mⱼ ⊙ x + (1 - mⱼ) ⊙ b) mⱼ / (n · keep)

    A mask is a grid of `grid` cells an axis, each kept (1) with probability `keep` or not (0),
    upsampled bilinearly to `grid + 1` cells of ⌈length / grid⌉ pixels and cropped at a random
    shift of less than one cell.

    Args:
        score: `score(image) -> scalar`, best a probability; need not be differentiable.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        samples: n, the number of masks.
        grid: cells of a mask along each spatial axis.
        keep: the probability that a cell is kept, in (0, 1].
        baseline: b, what shows where a mask is 0: a scalar, an image, or a function of the image.
        key: the key is consumed; mask j draws from `fold_in(key, j)`.
        chunk: masks evaluated at a time.

    Returns:
        A map of the image's shape, float32, equal over channels.

    Raises:
        TypeError: `samples`, `grid` or `chunk` is no concrete integer, or `keep` no number.
        ValueError: no spatial axes, `keep` out of range, a baseline of another shape.

    References:
        Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
        Models", BMVC 2018, https://arxiv.org/abs/1806.07421
    """
    draw = draw_mask(key, spatial_shape(image, spatial_axes(score, image)), grid=grid, keep=keep)
    total = masked_scores(score, image, draw, samples=samples, baseline=baseline, chunk=chunk)
    return total / (samples * jnp.asarray(keep, total.dtype))


rise.forward_only = True  # type: ignore[attr-defined]


def draw_mask(
    key: Key, shape: tuple[int, ...], *, grid: int = 8, keep: ArrayLike = 0.5
) -> Callable[[Array], Mask]:
    """The draw of `rise`: mask index to mask, of values in [0, 1].

    Raises:
        TypeError: `grid` is no concrete integer, or `keep` no number.
        ValueError: `keep` is not in (0, 1].
    """
    grid = count("grid", grid)
    scale("keep", keep, most=1.0)
    if not isinstance(keep, jax.core.Tracer) and np.asarray(keep) == 0:
        raise ValueError("keep: expected a probability in (0, 1], got 0")
    cells = [-(-length // grid) for length in shape]
    upsample = [_bilinear(grid, (grid + 1) * cell) for cell in cells]

    # Of one width in all programs: what is drawn is no question of `jax_enable_x64`.
    chance = jnp.asarray(keep, jnp.float32)

    def draw(index: Array) -> Mask:
        k_cells, k_shift = jax.random.split(jax.random.fold_in(key, index))
        mask = jax.random.bernoulli(k_cells, chance, (grid,) * len(shape)).astype(jnp.float32)
        shifts = jax.random.randint(
            k_shift, (len(shape),), 0, np.asarray(cells, np.int32), jnp.int32
        )
        for length, matrix, shift in zip(shape, upsample, shifts, strict=True):
            crop = lax.dynamic_slice_in_dim(jnp.asarray(matrix), shift, length)
            mask = jnp.tensordot(mask, crop, axes=(0, 1), precision=lax.Precision.HIGHEST)
        return mask

    return draw


def masked_scores(
    score: ScoreFn,
    image: Image,
    draw: Callable[[Array], Mask],
    *,
    samples: int,
    baseline: Baseline = 0.0,
    chunk: int = 1,
) -> Image:
    """The deterministic core of `rise`: Σⱼ s(mⱼ ⊙ x + (1 - mⱼ) ⊙ b) mⱼ.

    Args:
        score: `score(image) -> scalar`.
        image: as for `rise`.
        draw: j to mⱼ [*spatial]; `draw_mask` draws them, a lookup in an array replays them.
        samples: the number of masks.
        baseline: b, as for `rise`.
        chunk: masks evaluated at a time.
    """
    samples, chunk = count("samples", samples), count("chunk", chunk)
    wide, axes = accumulator(image.dtype), spatial_axes(score, image)
    baseline = bind_axes(baseline, axes)
    full, empty = (x.astype(wide) for x in (image, baseline_image(baseline, image)))

    def masked(index: Array) -> Mask:
        mask = draw(index)
        kept = over_image(mask, image, axes).astype(wide)
        value = score((kept * full + (1 - kept) * empty).astype(image.dtype))
        value = value.astype(accumulator(value.dtype))
        # An infinite score says nothing about pixels that its mask hides: no 0 * inf.
        return jnp.where(mask == 0, 0, value * mask.astype(value.dtype))

    ones = np.ones(samples)
    total = sum_points(masked, np.arange(samples), ones, like=image, chunk=chunk)
    return jnp.broadcast_to(over_image(total, image, axes), image.shape)


def _bilinear(cells: int, length: int) -> Float[np.ndarray, "length cells"]:
    """The matrix that resizes `cells` values to `length`, linearly between the cells' centres."""
    centres = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(cells))).astype(np.float32)
