"""How alike are two maps of one image? Rank correlation, cosine, structural similarity.

NaN where there is nothing to compare: a constant map has no order, an all-zero one no direction.
Each map is scaled by itself alone, never by a batch.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxsal.metrics import ranks
from jaxsal.metrics._relevance import by_largest
from jaxsal.rewrite.axes.spatial import checked
from jaxsal.types import Map, Scalar, SpatialAxes, usual_axes

Similarity = Callable[..., Scalar]
"""`similarity(first, second)` of two maps; an option `spatial_axes` is given the image's."""

WINDOW = 7


def spearman(first: Map, second: Map) -> Scalar:
    """Spearman's rank correlation of |first| and |second|, two maps of ONE image and one shape."""
    return ranks.spearman(*(jnp.abs(map).astype(jnp.float32).ravel() for map in (first, second)))


def cosine(first: Map, second: Map) -> Scalar:
    """The cosine of the angle between two maps, sign and all: -1 for a map and its negative."""
    a, b = (_scaled(map).ravel() for map in (first, second))
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))


def ssim(first: Map, second: Map, *, spatial_axes: SpatialAxes | None = None) -> Scalar:
    """Mean structural similarity of |first| and |second|, each scaled to [0, 1] by its own maximum.

    .. math:: (2 μ_a μ_b + c₁)(2 σ_ab + c₂) / ((μ_a² + μ_b² + c₁)(σ_a² + σ_b² + c₂))

    over windows of seven pixels an axis that lie inside the image, with sample covariances,
    `c = (0.01², 0.03²)`; channels are averaged (Wang, Bovik, Sheikh & Simoncelli, "Image Quality
    Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004).

    Args:
        first, second: [height, width] or [height, width, channels].
        spatial_axes: those of height and width; None: the usual ones (`jaxsal.types`).

    Raises:
        ValueError: fewer than seven pixels along an axis, or not two of them.
    """
    a, b = (_channelled(jnp.abs(_scaled(map)), spatial_axes) for map in (first, second))
    if min(a.shape[:2]) < WINDOW:
        raise ValueError(f"maps: expected at least {WINDOW} pixels an axis, got {first.shape}")
    mean_a, mean_b = _local_mean(a), _local_mean(b)
    size = WINDOW**2
    unbiased = size / (size - 1)
    var_a = unbiased * (_local_mean(a * a) - mean_a**2)
    var_b = unbiased * (_local_mean(b * b) - mean_b**2)
    both = unbiased * (_local_mean(a * b) - mean_a * mean_b)
    low, high = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + low) * (2 * both + high)
    return jnp.mean(similarity / ((mean_a**2 + mean_b**2 + low) * (var_a + var_b + high)))


SIMILARITIES: dict[str, Similarity] = {"spearman": spearman, "ssim": ssim, "cosine": cosine}
"""By name; 1 for a map and itself."""


def _scaled(map: Map) -> Array:
    """The map over its largest |value|; NaN for an all-zero one."""
    scaled, top = by_largest(map.astype(jnp.float32))
    return jnp.where(top > 0, scaled, jnp.nan)


def _channelled(map: Array, axes: SpatialAxes | None) -> Array:
    """[height, width, channels]; a map of two axes has one channel."""
    if map.ndim == 2:
        return map[..., None]
    axes = checked(axes, map.ndim) or usual_axes(map.shape)
    if len(axes) != 2:
        raise ValueError(f"maps: expected two spatial axes, got {axes} of the shape {map.shape}")
    moved = jnp.moveaxis(map, axes, (0, 1))
    return moved.reshape(*moved.shape[:2], math.prod(moved.shape[2:]))


def _local_mean(x: Array) -> Array:
    window = (WINDOW, WINDOW, 1)
    return lax.reduce_window(x, 0.0, lax.add, window, (1, 1, 1), "VALID") / WINDOW**2
