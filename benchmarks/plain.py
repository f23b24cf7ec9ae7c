"""Methods in plain JAX, for one image, as anyone would write them: the loops are `lax.scan`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Score = Callable[[Any], Any]


def gradient(score: Score, image: Any, key: Any) -> Any:
    return jax.grad(score)(image)


def input_x_gradient(score: Score, image: Any, key: Any) -> Any:
    return image * jax.grad(score)(image)


def integrated_gradients(score: Score, image: Any, key: Any, *, steps: int) -> Any:
    nodes, weights = np.polynomial.legendre.leggauss(steps)

    def turn(total: Any, point: Any) -> Any:
        position, weight = point
        return total + weight * jax.grad(score)(position * image), None

    points = jnp.float32((nodes + 1) / 2), jnp.float32(weights / 2)
    return image * jax.lax.scan(turn, jnp.zeros_like(image), points)[0]


def smoothgrad(
    score: Score, image: Any, key: Any, *, samples: int, noise: float, relative: bool
) -> Any:
    deviation = noise * jnp.ptp(image) if relative else noise

    def turn(total: Any, key: Any) -> Any:
        noisy = image + deviation * jax.random.normal(key, image.shape)
        return total + jax.grad(score)(noisy), None

    keys = jax.random.split(key, samples)
    return jax.lax.scan(turn, jnp.zeros_like(image), keys)[0] / samples


def occlusion(score: Score, image: Any, key: Any, *, window: int, stride: int) -> Any:
    height, width, _ = image.shape
    rows, columns = (-(-(side - window) // stride) + 1 for side in (height, width))
    y, x = jnp.meshgrid(jnp.arange(rows) * stride, jnp.arange(columns) * stride, indexing="ij")
    own = score(image)

    def turn(total: Any, corner: Any) -> Any:
        top, left = corner
        inside = (jnp.arange(height)[:, None] >= top) & (jnp.arange(height)[:, None] < top + window)
        inside &= (jnp.arange(width) >= left) & (jnp.arange(width) < left + window)
        inside = inside[..., None]
        loss = own - score(jnp.where(inside, 0, image))
        return (total[0] + loss * inside, total[1] + inside), None

    start = jnp.zeros_like(image), jnp.zeros_like(image)
    (total, count), _ = jax.lax.scan(turn, start, (y.ravel(), x.ravel()))
    return total / count


METHODS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (gradient, input_x_gradient, integrated_gradients, smoothgrad, occlusion)
}
