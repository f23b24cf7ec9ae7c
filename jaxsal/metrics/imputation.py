"""Missing pixels from their neighbours: noisy linear imputation, solved on the device."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxsal.common.options import count, over_image, scale, spatial_shape
from jaxsal.rewrite.axes.spatial import checked
from jaxsal.types import Image, Key, SpatialAxes, usual_axes

TOLERANCE = 1e-6
"""Of the residual's norm, relative to that of the right-hand side."""


def impute(
    image: Image,
    missing: Bool[Array, "height width"],
    *,
    tolerance: float = TOLERANCE,
    iterations: int = 2000,
    spatial_axes: SpatialAxes | None = None,
) -> Image:
    """Each missing pixel as the weighted mean of its eight neighbours, all of them at once.

    .. math:: (Σ_q w_{pq}) x_p = Σ_q w_{pq} x_q,  w = 1/6 beside, 1/12 across the corner

    over the neighbours q inside the image, for every missing p: a sparse, symmetric, positive
    definite system, solved by conjugate gradients with the stencil as its matrix, from the mean of
    the known pixels. Pixels that are not missing stay as they are; where all are, there is nothing
    to go by, and all are 0.

    Args:
        image: [height, width, channels], floating.
        missing: which pixels are unknown, with all their channels.
        tolerance: of the residual, relative. iterations: at most so many.
        spatial_axes: the image's height and width; None: the usual ones (`jaxsal.types`).

    Raises:
        ValueError: an image that has not two spatial axes, or a mask of another shape.

    References:
        Rong, Leemann, Borisov, Kasneci & Kasneci, "A Consistent and Efficient Evaluation Strategy
        for Attribution Methods", ICML 2022, https://arxiv.org/abs/2202.00449
    """
    axes = checked(spatial_axes, image.ndim) or usual_axes(image.shape)
    space = spatial_shape(image, axes)
    if len(space) != 2:
        raise ValueError(f"image: expected [height, width, channels], got the shape {image.shape}")
    if missing.shape != space:
        raise ValueError(f"missing: expected the image's {space}, got {missing.shape}")
    last = jnp.moveaxis(image, axes, (0, 1))
    values = last.reshape(*space, math.prod(last.shape[2:]))
    filled = _filled(
        values.astype(jnp.float32), missing, tolerance, count("iterations", iterations)
    )
    filled = jnp.moveaxis(filled.reshape(last.shape), (0, 1), axes)
    return jnp.where(over_image(missing, image, axes), filled.astype(image.dtype), image)


def impute_noisily(
    image: Image,
    missing: Bool[Array, "height width"],
    *,
    noise: float | int,
    key: Key,
    spatial_axes: SpatialAxes | None = None,
) -> Image:
    """`impute`, with Gaussian noise of deviation `noise` on what is imputed.

    Without noise a network may read off smooth patches what has been removed.
    """
    axes = checked(spatial_axes, image.ndim) or usual_axes(image.shape)
    filled = impute(image, missing, spatial_axes=axes)
    draw = scale("noise", noise) * jax.random.normal(key, image.shape, image.dtype)
    return jnp.where(over_image(missing, image, axes), filled + draw, image)


def _filled(
    image: Float[Array, "height width channels"],
    missing: Bool[Array, "height width"],
    tolerance: float,
    iterations: int,
) -> Float[Array, "height width channels"]:
    """The solution, right where pixels are missing."""
    hole = missing[..., None].astype(jnp.float32)
    seen = jnp.where(missing[..., None], 0.0, image)
    degree = _neighbours(jnp.ones((*missing.shape, 1), jnp.float32))

    def system(x: Float[Array, "height width channels"]) -> Array:
        return hole * (degree * x - _neighbours(x))

    known = jnp.sum(seen, (0, 1), keepdims=True) / jnp.maximum(jnp.sum(1 - hole), 1)
    start, right = hole * known, hole * _neighbours(seen)
    return jax.scipy.sparse.linalg.cg(system, right, start, tol=tolerance, maxiter=iterations)[0]


def _neighbours(x: Float[Array, "height width channels"]) -> Array:
    """Σ_q w_{pq} x_q over the neighbours inside the image.

    The weights are (1, 2, 1) ⊗ (1, 2, 1) / 12 without the middle: an axis at a time.
    """
    total = x
    for axis in (0, 1):
        total = 2 * total + _shift(total, axis, 1) + _shift(total, axis, -1)
    return (total - 4 * x) / 12


def _shift(x: Array, axis: int, by: int) -> Array:
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), widths)
