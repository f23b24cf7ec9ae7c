"""IDGI: each step along a path gives its change of the score to the pixels that made it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxsal.common.options import Baseline, baseline_image, count
from jaxsal.common.points import Points, sum_increments
from jaxsal.rewrite.axes.spatial import with_axes
from jaxsal.types import Image, ScoreFn, accumulator


def idgi(
    score: ScoreFn, image: Image, *, baseline: Baseline = 0.0, steps: int = 50, chunk: int = 1
) -> Image:
    """The score's changes along the straight path, each shared out by the squares of the gradient.

    .. math:: A = Σₖ (s(xₖ₊₁) - s(xₖ)) gₖ² / Σ gₖ²,  xₖ = b + (k / n) (x - b),  gₖ = ∇s(xₖ)

    Complete for every number of steps: the map sums to s(x) - s(b) to rounding. Where a gradient is
    zero everywhere, (x - b)² takes the place of its squares.

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: one image, floating, of any shape.
        baseline: b: a scalar, an image of the same shape, or a function of the image.
        steps: n; the score is evaluated at n + 1 points.
        chunk: points evaluated at a time.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: `steps` or `chunk` is no concrete integer, or the baseline no real array.
        ValueError: no steps, a baseline of another shape.

    References:
        Yang, Wang & Bilgic, "IDGI: A Framework to Eliminate Explanation Noise from Integrated
        Gradients", CVPR 2023, https://arxiv.org/abs/2303.14242
    """
    start = baseline_image(with_axes(baseline, score, image), image)
    wide = accumulator(image.dtype)
    positions = np.linspace(0, 1, count("steps", steps) + 1).astype(wide)

    def at(position: Array) -> Image:
        change = (image - start).astype(wide)
        return (start.astype(wide) + position * change).astype(image.dtype)

    return idgi_over(score, at, positions, whole=image - start, chunk=count("chunk", chunk))


def idgi_over(
    score: ScoreFn,
    at: Callable[..., Image],
    points: Points,
    *,
    whole: Image,
    chunk: int = 1,
) -> Image:
    """IDGI along any path.

    Args:
        score: `score(image) -> scalar`, differentiable.
        at: from one of the points to the image there.
        points: a pytree of arrays [n + 1, ...], in their order along the path.
        whole: the path's end less its start.
        chunk: points evaluated at a time.
    """

    def change(point: Array) -> tuple[Array, Array]:
        value, gradient = jax.value_and_grad(score)(at(point))
        return value, jnp.where(jnp.any(gradient != 0), _shares(gradient), _shares(whole))

    return sum_increments(change, points, like=whole, chunk=chunk)


def _shares(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Squares divided by their sum; zero where all are. Scaled first: squares may underflow."""
    values = values.astype(accumulator(values.dtype))
    largest = jnp.max(jnp.abs(values))
    some = largest > 0
    squares = jnp.square(values / jnp.where(some, largest, 1))
    return squares / jnp.where(some, jnp.sum(squares), 1)
