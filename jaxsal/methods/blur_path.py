"""Blur integrated gradients: a path from a blurred image to the image, without a baseline."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsal.common.options import count, numbers
from jaxsal.common.points import sum_points
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.types import Image, ScoreFn, accumulator


class Profiles(NamedTuple):
    """Of one point of the path or of all: filters by the distance from their middle.

    Attributes:
        kernel: the filter.
        wider: that of the deviation δ larger.
        change: their difference divided by δ.
    """

    kernel: Float[Array, "*n length"]
    wider: Float[Array, "*n length"]
    change: Float[Array, "*n length"]


def blur_integrated_gradients(
    score: ScoreFn,
    image: Image,
    *,
    max_sigma: float | int = 50.0,
    steps: int = 100,
    grad_step: float | int = 0.01,
    sqrt: bool = False,
    chunk: int = 1,
) -> Image:
    """The gradient along the path on which the image loses its blur.

    .. math:: A = -Σₖ (σₖ₊₁ - σₖ) ∇s(L(σₖ)) ⊙ (L(σₖ + δ) - L(σₖ)) / δ

    L(σ) is the image filtered along its spatial axes by a Gaussian of deviation σ, zero beyond the
    border, cut at 4 σ; σₖ = k σ_max / n, or the square root of that. The path starts at L(σ_max),
    which is no black image unless σ_max is many times the image's side: the map approximates
    s(x) - s(L(σ_max)).

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: one image, floating.
        max_sigma: σ_max, in pixels.
        steps: n, points of the path.
        grad_step: δ, in pixels.
        sqrt: whether σₖ is the square root of k σ_max / n.
        chunk: points evaluated at a time.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: a count that is no concrete integer, a deviation that is no concrete number.
        ValueError: no steps, a deviation that is not positive, the image's spatial axes cannot be
            read.

    References:
        Xu, Venugopalan & Sundararajan, "Attribution in Scale and Space", CVPR 2020,
        https://arxiv.org/abs/2004.03383
    """
    most, width = _positive("max_sigma", max_sigma), _positive("grad_step", grad_step)
    axes = spatial_axes(score, image)
    sigmas = np.arange(count("steps", steps) + 1) * most / steps
    sigmas = np.sqrt(sigmas) if sqrt else sigmas
    longest = max(image.shape[axis] for axis in axes)
    kernels = _profiles(sigmas[:-1], longest)
    wider = _profiles(sigmas[:-1] + width, longest)
    wide = accumulator(image.dtype)

    def at(profiles: Profiles) -> Image:
        blurred, change = _blurred(image.astype(wide), profiles, axes)
        return change * jax.grad(score)(blurred.astype(image.dtype)).astype(wide)

    profiles = (kernels, wider, (wider - kernels) / width)
    points = Profiles(*(jnp.asarray(x, wide) for x in profiles))
    return sum_points(at, points, -np.diff(sigmas), like=image, chunk=count("chunk", chunk))


def _positive(name: str, value: float | int) -> float:
    array = numbers(name, value)
    if isinstance(value, bool) or array.ndim or isinstance(array, jax.core.Tracer):
        raise TypeError(f"{name}: expected a concrete number, got {value!r}")
    if not 0 < np.asarray(array) < math.inf:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")
    return float(np.asarray(array))


def _profiles(sigmas: np.ndarray, length: int) -> np.ndarray:
    """The Gaussian filters of these deviations at distances 0 to `length` - 1, float64 [n, length].

    Normalised over the whole filter, of which what reaches beyond the image is lost.
    """
    found = np.zeros((len(sigmas), length))
    for row, sigma in zip(found, sigmas, strict=True):
        radius = int(4 * sigma + 0.5)
        distances = np.arange(radius + 1)
        values = np.exp(-0.5 * np.square(distances / sigma)) if radius else np.ones(1)
        values /= values[0] + 2 * values[1:].sum()
        row[: radius + 1] = values[:length]
    return found


def _blurred(image: Image, profiles: Profiles, axes: tuple[int, ...]) -> tuple[Image, Image]:
    """The filtered image, and its change for a unit of deviation towards the wider filter.

    K'a' - Ka = K'(a' - a) + (K' - K)a along each axis: the difference of the two filters comes from
    float64, that of two images would lose its digits.
    """
    kernel, wider, change = profiles
    blurred, moved = image, jnp.zeros_like(image)
    for axis in axes:
        distance = np.arange(image.shape[axis])
        distance = np.abs(distance[:, None] - distance)
        moved = _along(wider[distance], moved, axis) + _along(change[distance], blurred, axis)
        blurred = _along(kernel[distance], blurred, axis)
    return blurred, moved


def _along(matrix: Float[Array, "n n"], image: Image, axis: int) -> Image:
    product = jnp.tensordot(matrix, image, (1, axis), precision="highest")
    return jnp.moveaxis(product, 0, axis)
