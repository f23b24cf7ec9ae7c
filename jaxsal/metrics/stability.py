"""Local Lipschitz estimate and relative input stability: maps of images near an image.

Of a METHOD rather than of a map, as `sensitivity_max`: the map that is given is not looked at.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxsal.common.options import positive
from jaxsal.metrics.sensitivity import bound, largest_ratio, norm
from jaxsal.types import Image, Key, Map, Method, Scalar, ScoreFn

LEAST = 1e-6
"""The least relative change of an image that a map's is divided by, Quantus's choice."""


def local_lipschitz(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    method: Method,
    noise: ArrayLike = 0.1,
    samples: int = 200,
    key: Key,
    chunk: int = 1,
) -> Scalar:
    """The largest change of a method's map for the image's change; lower is better.

    .. math:: maxⱼ ‖M(x + eⱼ) - M(x)‖ / ‖eⱼ‖,  eⱼ ~ N(0, noise²)

    It is in the map's units: methods whose maps differ in these cannot be compared by it. Quantus
    divides both maps by their largest magnitude first.

    Args:
        score: `score(image) -> scalar`, whatever the method asks of it.
        image: one image, floating.
        map: ignored; M(x) is computed here, with the method's own key the same for every image.
        method: M, with its options bound by `functools.partial`.
        noise: deviation, in the image's units.
        samples: perturbed images.
        key: the key is consumed: `k_noise, k_method = split(key)`, sample j draws from
            `fold_in(k_noise, j)`.
        chunk: perturbed images explained at a time.

    Raises:
        TypeError: `samples` or `chunk` is no concrete integer.
        ValueError: no samples, noise that is not above 0.

    References:
        Alvarez-Melis & Jaakkola, "On the Robustness of Interpretability Methods", 2018,
        https://arxiv.org/abs/1806.08049
    """
    del map
    k_noise, k_method = jax.random.split(key)
    width = positive("noise", noise)

    def draw(index: Array) -> Image:
        own = jax.random.fold_in(k_noise, index)
        return jnp.multiply(width, jax.random.normal(own, image.shape, image.dtype))

    explain = bound(score, method, k_method)
    return largest_ratio(explain, image, draw, change, samples=samples, chunk=chunk)


def relative_input_stability(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    method: Method,
    radius: ArrayLike = 0.2,
    samples: int = 200,
    key: Key,
    chunk: int = 1,
) -> Scalar:
    """The largest relative change of a method's map for the image's relative change.

    .. math:: maxⱼ ‖(M(x) - M(x + eⱼ)) / M(x)‖ / max(‖eⱼ / x‖, 10⁻⁶),  eⱼ ~ U(-r, r)

    Lower is better. Where M(x) or x is 0 there is no relative change: such elements do not count,
    where Quantus divides by 10⁻⁶. Every draw counts: Quantus is NaN if one of them changes the
    predicted class, and OpenXAI leaves those out.

    Args:
        score, image, map, method, samples, key, chunk: as for `local_lipschitz`.
        radius: r, in the image's units.

    Raises:
        TypeError: `samples` or `chunk` is no concrete integer.
        ValueError: no samples, a radius that is not above 0.

    References:
        Agarwal, Johnson, Pawelczyk, Krishna, Saxena, Zitnik & Lakkaraju, "Rethinking Stability for
        Attribution-based Explanations", 2022, https://arxiv.org/abs/2203.06877
    """
    del map
    k_noise, k_method = jax.random.split(key)
    width = positive("radius", radius)

    def draw(index: Array) -> Image:
        own = jax.random.fold_in(k_noise, index)
        return jnp.multiply(width, jax.random.uniform(own, image.shape, image.dtype, minval=-1))

    explain = bound(score, method, k_method)
    return largest_ratio(explain, image, draw, relative_change, samples=samples, chunk=chunk)


def change(before: Map, after: Map, image: Image, step: Image) -> Scalar:
    """‖M(x + e) - M(x)‖ / ‖e‖; 0 where nothing moved."""
    del image
    far = norm(step)
    return norm(after - before) / jnp.where(far == 0, 1, far)


def relative_change(before: Map, after: Map, image: Image, step: Image) -> Scalar:
    """‖(M(x) - M(x + e)) / M(x)‖ / ‖e / x‖, over elements that are not 0."""
    return norm(_over(before - after, before)) / jnp.maximum(norm(_over(step, image)), LEAST)


def _over(change: Array, whole: Array) -> Array:
    return jnp.where(whole == 0, 0, change / jnp.where(whole == 0, 1, whole))
