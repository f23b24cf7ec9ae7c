"""FullGrad: the image's gradient and those of all biases, as one map and as an exact sum."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsal.common.options import spatial_shape
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.rewrite.relevance.biases import BiasPart, decomposition
from jaxsal.types import Image, Map, ScoreFn, SpatialAxes, accumulator

_EPS = 1e-6


def full_grad(score: ScoreFn, image: Image, *, resize: str = "bilinear") -> Map:
    """The image times its gradient, and each bias times its own, scaled and summed over channels.

    .. math:: A = Σ_c ψ(x ⊙ ∂s/∂x) + Σ_l Σ_c up(ψ(b_l ⊙ ∂s/∂y_l))

    with ψ(a) = (|a| - min) / (max - min + 1e-6) over all of a, and l over all biases that lie over
    the image: of convolutions and batch norms, and the implicit ones of activations that are not
    piecewise linear. Dense biases are in `full_gradients` alone, which is the exact decomposition.

    Args:
        score: image -> scalar.
        image: one image, floating.
        resize: how biases' maps are brought to the image's size: `"bilinear"`, by their corners, as
            published, or `"nearest"`.

    Returns:
        A map of the image's spatial shape, float32, not negative.

    Raises:
        ValueError: `resize` is unknown, or nothing says which axes of the image are spatial.

    References:
        Srinivas & Fleuret, "Full-Gradient Representation for Neural Network Visualization",
        NeurIPS 2019, https://arxiv.org/abs/1905.00780
    """
    if resize not in ("bilinear", "nearest"):
        raise ValueError(f"resize: expected 'bilinear' or 'nearest', got {resize!r}")
    axes = spatial_axes(score, image)
    parts = decomposition(score, image, axes)
    shape = spatial_shape(image, axes)
    total = _over_channels(parts.image, axes)
    for part in parts.biases:
        if part.axes is not None and _positions(part) > 1:
            total = total + _resized(_laid_out(part), shape, resize)
    return total


class FullGradients(NamedTuple):
    """A score taken apart: it is the sum of all values in it.

    Attributes:
        image: the image times the gradient, of the image's shape.
        biases: for each operation with a bias its number, from the image on, and where it stands,
            and the bias times the score's derivative there, in the shape of the operation's value.
    """

    image: Array
    biases: dict[str, Array]


def full_gradients(score: ScoreFn, image: Image) -> FullGradients:
    """A score taken apart into the image's part and those of all its biases.

    .. math:: s(x) = Σ x ⊙ ∂s/∂x + Σ_l Σ b_l ⊙ ∂s/∂y_l

    Exact, up to rounding, for any score: b_l of an operation that is not affine is what its linear
    approximation at the image leaves, y - J x.

    Args:
        score: image -> scalar.
        image: one image, floating.

    Returns:
        The parts, see `FullGradients`.
    """
    parts = decomposition(score, image)
    named = {f"{i}: {part.where}": part.value for i, part in enumerate(parts.biases)}
    return FullGradients(parts.image, named)


def _positions(part: BiasPart) -> int:
    axes = [axis for axis in part.axes or () if axis is not None]
    return math.prod(part.value.shape[axis] for axis in axes)


def _laid_out(part: BiasPart) -> Float[Array, "*s"]:
    """A part's map: scaled, summed over channels, its axes in the image's order."""
    axes = part.axes or ()
    there = tuple(axis for axis in axes if axis is not None)
    summed = _over_channels(jnp.flip(part.value, part.reversed_axes), there)
    return jnp.expand_dims(summed, [i for i, axis in enumerate(axes) if axis is None])


def _over_channels(values: Array, spatial: SpatialAxes) -> Float[Array, "*s"]:
    """|values|, from 0 to 1 over all of them, summed over all but the spatial axes."""
    sizes = jnp.abs(values).astype(accumulator(values.dtype))
    sizes = sizes - jnp.min(sizes)
    sizes = sizes / (jnp.max(sizes) + _EPS)
    sizes = jnp.moveaxis(sizes, spatial, range(len(spatial)))
    return jnp.sum(sizes, range(len(spatial), sizes.ndim))


def _resized(map: Float[Array, "*s"], shape: tuple[int, ...], resize: str) -> Float[Array, "*t"]:
    if resize == "nearest":
        return jax.image.resize(map, shape, "nearest")
    for axis, size in enumerate(shape):
        weights = jnp.asarray(_by_corners(map.shape[axis], size), map.dtype)
        moved = jnp.moveaxis(map, axis, -1)
        map = jnp.moveaxis(jnp.matmul(moved, weights, precision="highest"), -1, axis)
    return map


def _by_corners(before: int, after: int) -> np.ndarray:
    """Weights [before, after] of linear interpolation that keeps first and last in place."""
    places = np.linspace(0, before - 1, after) if after > 1 else np.zeros(1)
    return np.maximum(0, 1 - np.abs(np.arange(before)[:, None] - places))
