"""Gradients along straight paths from a baseline to the image."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxsal.common.options import Baseline, baseline_image, baseline_images, count, scale
from jaxsal.common.points import sum_points
from jaxsal.methods.adaptive import refined_integral
from jaxsal.methods.quadrature import quadrature
from jaxsal.rewrite.affine_prefix import path_gradient
from jaxsal.rewrite.axes.spatial import with_axes
from jaxsal.types import Image, Key, Refined, Scalar, ScoreFn, accumulator


def integrated_gradients(
    score: ScoreFn,
    image: Image,
    *,
    baseline: Baseline = 0.0,
    steps: int = 50,
    rule: str = "gausslegendre",
    tolerance: ArrayLike | None = None,
    max_steps: int = 1024,
    chunk: int = 1,
) -> Image:
    """The gradient averaged along the straight path from a baseline to the image.

    .. math:: A = (x - b) ⊙ Σₖ wₖ ∇s(b + αₖ (x - b)),  Σₖ wₖ = 1

    Complete: the map sums to s(x) - s(b), up to the error of the quadrature.

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: one image, floating, of any shape.
        baseline: b, the reference: a scalar, an image of the same shape, or a function of the
            image.
        steps: points of the path.
        rule: how they are placed and weighted, see `quadrature`: `gausslegendre`, `riemann_left`,
            `riemann_right`, `riemann_middle`, `riemann_trapezoid` (two steps at least).
        tolerance: None: `steps` points by `rule`. A number: as many points as this image needs, in
            the place of both: from two on, all intervals are halved until |sum of the map - (s(x) -
            s(b))| <= tolerance |s(x) - s(b)|, by the trapezoid rule or Simpson's. `explain.record`
            tells the points; images on which `max_steps` do not suffice are counted in a warning.
            The sum alone is asked for: errors of pixels may cancel in it, so that a map that adds
            up may still be coarse (of x₁³ - x₂³ at (1, 1) two points meet any tolerance with
            (1.5, -1.5), in the place of (1, -1)). Such a map has no reverse-mode derivative of its
            own.
        max_steps: the most points of an image, with a tolerance.
        chunk: points evaluated at a time; memory grows with it, never with `steps`.

    Returns:
        A map of the image's shape, float32; the average is float32 whatever the score computes in.

    Raises:
        TypeError: `steps` or `chunk` is no concrete integer, or the baseline no real array.
        ValueError: too few steps, an unknown rule, steps or a rule beside a tolerance, a baseline
            of another shape.

    References:
        Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
        https://arxiv.org/abs/1703.01365
    """
    if tolerance is not None:
        limits: dict[str, Any] = {"tolerance": tolerance, "max_steps": max_steps, "chunk": chunk}
        return _refined(score, image, baseline=baseline, steps=steps, rule=rule, **limits).map
    start = baseline_image(with_axes(baseline, score, image), image)
    positions, weights = quadrature(rule, count("steps", steps))
    gradient_at, pull_back = path_gradient(score, start, image)
    positions = positions.astype(accumulator(image.dtype))
    total = sum_points(gradient_at, positions, weights, like=image, chunk=count("chunk", chunk))
    wide = accumulator(image.dtype)
    return (image - start).astype(wide) * pull_back(total).astype(wide)


def _refined(
    score: ScoreFn,
    image: Image,
    *,
    baseline: Baseline = 0.0,
    steps: int = 50,
    rule: str = "gausslegendre",
    tolerance: ArrayLike,
    max_steps: int = 1024,
    chunk: int = 1,
) -> Refined:
    """`integrated_gradients` with a tolerance, and what it took.

    Raises:
        ValueError: steps or a rule beside it.
    """
    if (steps, rule) != (50, "gausslegendre"):
        raise ValueError(
            f"tolerance: expected no steps or rule beside it, got steps={steps!r}, rule={rule!r}; "
            "an image takes as many points as it needs, max_steps at most"
        )
    start = baseline_image(with_axes(baseline, score, image), image)
    return refined_integral(
        score,
        start,
        image,
        tolerance=scale("tolerance", tolerance),
        max_steps=count("max_steps", max_steps, least=2),
        chunk=count("chunk", chunk),
    )


integrated_gradients.refined = _refined  # type: ignore[attr-defined]


def expected_gradients(
    score: ScoreFn,
    image: Image,
    *,
    baselines: Float[ArrayLike, "n ..."],
    samples: int = 25,
    noise: ArrayLike = 0.0,
    key: Key,
    chunk: int = 1,
) -> Image:
    """Integrated gradients in expectation over baselines and positions (also called GradientSHAP).

    .. math:: A = (1/n) Σⱼ (xⱼ - bⱼ) ⊙ ∇s(αⱼ xⱼ + (1 - αⱼ) bⱼ)

    with bⱼ drawn from the baselines, αⱼ uniform on [0, 1], and xⱼ = x + `noise` · εⱼ, εⱼ standard
    normal. Complete in expectation: the map sums to s(x) - mean s(b).

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: one image, floating, of any shape.
        baselines: [N, *image.shape], the set that baselines are drawn from, with replacement.
        samples: n.
        noise: the standard deviation of the noise on the image, in the image's units.
        key: the key is consumed; sample j draws from `fold_in(key, j)`.
        chunk: samples evaluated at a time.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: `samples` or `chunk` is no concrete integer.
        ValueError: baselines of another shape or none, negative noise.

    References:
        Erion, Janizek, Sturmfels, Lundberg & Lee, "Improving performance of deep learning models
        with axiomatic attribution priors and expected gradients", Nature Machine Intelligence 2021,
        https://arxiv.org/abs/1906.10670; Lundberg & Lee, "A Unified Approach to Interpreting Model
        Predictions", NeurIPS 2017, https://arxiv.org/abs/1705.07874
    """
    draw = draw_path(key, image, baselines=baselines, noise=noise)
    return gradients_over(score, image, draw, samples=samples, chunk=chunk)


Path = tuple[Image, Image, Scalar]
"""The start b, the end x and the position α of one sample."""


def draw_path(
    key: Key, image: Image, *, baselines: ArrayLike, noise: ArrayLike = 0.0
) -> Callable[[Array], Path]:
    """The draw of `expected_gradients`: sample index to baseline, noisy image and position.

    Raises:
        ValueError: baselines that are no non-empty set of images, or negative noise.
    """
    images = baseline_images(baselines, image)
    deviation = jnp.asarray(scale("noise", noise), image.dtype)

    def draw(index: Array) -> Path:
        k_baseline, k_position, k_noise = jax.random.split(jax.random.fold_in(key, index), 3)
        start = images[jax.random.randint(k_baseline, (), 0, images.shape[0], jnp.int32)]
        position = jax.random.uniform(k_position, (), image.dtype)
        end = image + deviation * jax.random.normal(k_noise, image.shape, image.dtype)
        return start, end, position

    return draw


def gradients_over(
    score: ScoreFn, image: Image, draw: Callable[[Array], Path], *, samples: int, chunk: int = 1
) -> Image:
    """The deterministic core of `expected_gradients`: (1/n) Σⱼ (xⱼ - bⱼ) ⊙ ∇s(bⱼ + αⱼ (xⱼ - bⱼ)).

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: one image, floating.
        draw: j to `(bⱼ, xⱼ, αⱼ)`; `draw_path` draws them, a lookup in an array replays them.
        samples: n.
        chunk: samples evaluated at a time.
    """
    samples, chunk = count("samples", samples), count("chunk", chunk)

    def at(index: Array) -> Image:
        start, end, position = draw(index)
        difference = end - start
        slope = jax.grad(score)(start + position * difference)
        wide = accumulator(slope.dtype)
        return difference.astype(wide) * slope.astype(wide)

    weights = np.full(samples, 1 / samples)
    return sum_points(at, np.arange(samples), weights, like=image, chunk=chunk)
