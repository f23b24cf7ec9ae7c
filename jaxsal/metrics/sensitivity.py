"""Sensitivity-max: how far does a map move when the image hardly does?

Of a METHOD rather than of a map: the method is run again on every perturbed image. It says nothing
about faithfulness: a map that ignores model and image has sensitivity 0.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxsal.common.options import count, scale, takes_key
from jaxsal.common.points import map_points
from jaxsal.metrics._relevance import by_largest
from jaxsal.types import Image, Key, Map, Method, Scalar, ScoreFn, accumulator


def sensitivity_max(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    method: Method,
    radius: ArrayLike = 0.02,
    samples: int = 10,
    key: Key,
    chunk: int = 1,
) -> Scalar:
    """The largest relative change of a method's map near the image; lower is better.

    .. math:: maxⱼ ‖M(x + eⱼ) - M(x)‖ / ‖M(x)‖,  eⱼ ~ U(-r, r)

    The norm is Frobenius'; for an all-zero M(x) the change itself counts. The map that is given is
    not looked at: M(x) is computed here, so that a method that draws random numbers draws the same
    ones for every image, and its own noise is no sensitivity.

    The defaults are captum's, which divides by ‖M(x)‖ as the authors' code does; that code's
    configuration has a radius of 0.2 and 50 samples.

    Args:
        score: `score(image) -> scalar`, whatever the method asks of it.
        image: one image, floating.
        map: ignored.
        method: M, with its options bound by `functools.partial`.
        radius: r, in the image's units.
        samples: perturbed images.
        key: the key is consumed: `k_noise, k_method = split(key)`, sample j draws from
            `fold_in(k_noise, j)`.
        chunk: perturbed images explained at a time.

    Raises:
        TypeError: `samples` or `chunk` is no concrete integer.
        ValueError: no samples, a negative radius.

    References:
        Yeh, Hsieh, Suggala, Inouye & Ravikumar, "On the (In)fidelity and Sensitivity of
        Explanations", NeurIPS 2019, https://arxiv.org/abs/1901.09392
    """
    del map
    k_noise, k_method = jax.random.split(key)
    explain = bound(score, method, k_method)
    width = scale("radius", radius)

    def draw(index: Array) -> Image:
        noise = jax.random.fold_in(k_noise, index)
        return jnp.multiply(width, jax.random.uniform(noise, image.shape, image.dtype, minval=-1))

    return sensitivity_over(explain, image, draw, samples=samples, chunk=chunk)


def bound(score: ScoreFn, method: Method, key: Key) -> Callable[[Image], Map]:
    """A method of the image alone; one that draws random numbers draws the same for all images."""
    own: dict[str, Any] = {"key": key} if takes_key(method) else {}
    return lambda image: method(score, image, **own)


Ratio = Callable[[Map, Map, Image, Image], Scalar]
"""`ratio(M(x), M(x + e), x, e)`."""


def largest_ratio(
    explain: Callable[[Image], Map],
    image: Image,
    draw: Callable[[Array], Image],
    ratio: Ratio,
    *,
    samples: int,
    chunk: int = 1,
) -> Scalar:
    """The largest ratio over perturbed images: `draw` gives eⱼ for sample j."""
    before = explain(image)

    def moved(index: Array) -> Scalar:
        step = draw(index)
        return ratio(before, explain(image + step), image, step)

    points = np.arange(count("samples", samples), dtype=np.int32)
    return jnp.max(map_points(moved, points, chunk=count("chunk", chunk)))


def sensitivity_over(
    explain: Callable[[Image], Map],
    image: Image,
    draw: Callable[[Array], Image],
    *,
    samples: int,
    chunk: int = 1,
) -> Scalar:
    """The deterministic core of `sensitivity_max`: `draw` gives eⱼ for sample j."""

    def of_map(before: Map, after: Map, image: Image, step: Image) -> Scalar:
        del image, step
        size = norm(before)
        return norm(after - before) / jnp.where(size == 0, 1.0, size)

    return largest_ratio(explain, image, draw, of_map, samples=samples, chunk=chunk)


def norm(map: Map) -> Scalar:
    """Frobenius' norm."""
    scaled, top = by_largest(map.astype(accumulator(map.dtype)))
    return top * jnp.sqrt(jnp.sum(jnp.square(scaled)))
