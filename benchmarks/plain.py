"""Methods in plain JAX, for one image, as anyone would write them.

A method of several steps is a `Sum`, and can be had in three ways: by `lax.scan` over the steps
(`METHODS`), with all of them at once by `vmap` (`AT_ONCE`), or by a loop in Python around one step
of the whole batch (`jax_worker.steps_in_python`). Which is fastest depends on the device and on
XLA: on a CPU jax 0.12 is slow at a convolution within a loop; all at once takes memory.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Score = Callable[[Any], Any]


class Sum(NamedTuple):
    """A map that is made of a sum over steps.

    Attributes:
        held: what every step reads.
        points: what each step reads of its own, along the first axis.
        zeros: the sum of no step.
        step: (held, point) -> what a step adds.
        end: the whole sum -> the map.
    """

    held: Any
    points: Any
    zeros: Any
    step: Callable[[Any, Any], Any]
    end: Callable[[Any], Any]


def gradient(score: Score, image: Any, key: Any) -> Any:
    return jax.grad(score)(image)


def input_x_gradient(score: Score, image: Any, key: Any) -> Any:
    return image * jax.grad(score)(image)


def integrated_gradients(score: Score, image: Any, key: Any, *, steps: int) -> Sum:
    nodes, weights = np.polynomial.legendre.leggauss(steps)

    def step(held: Any, point: Any) -> Any:
        position, weight = point
        return weight * jax.grad(score)(position * image)

    points = jnp.float32((nodes + 1) / 2), jnp.float32(weights / 2)
    return Sum((), points, jnp.zeros_like(image), step, lambda total: image * total)


def smoothgrad(
    score: Score, image: Any, key: Any, *, samples: int, noise: float, relative: bool
) -> Sum:
    deviation = noise * jnp.ptp(image) if relative else noise

    def step(held: Any, key: Any) -> Any:
        noisy = image + deviation * jax.random.normal(key, image.shape)
        return jax.grad(score)(noisy)

    keys = jax.random.split(key, samples)
    return Sum((), keys, jnp.zeros_like(image), step, lambda total: total / samples)


def occlusion(score: Score, image: Any, key: Any, *, window: int, stride: int) -> Sum:
    height, width, _ = image.shape
    rows, columns = (-(-(side - window) // stride) + 1 for side in (height, width))
    y, x = jnp.meshgrid(jnp.arange(rows) * stride, jnp.arange(columns) * stride, indexing="ij")

    def step(own: Any, corner: Any) -> Any:
        top, left = corner
        inside = (jnp.arange(height)[:, None] >= top) & (jnp.arange(height)[:, None] < top + window)
        inside &= (jnp.arange(width) >= left) & (jnp.arange(width) < left + window)
        inside = inside[..., None]
        loss = own - score(jnp.where(inside, 0, image))
        return loss * inside, inside

    zeros = jnp.zeros_like(image), jnp.zeros_like(image)
    corners = y.ravel(), x.ravel()
    return Sum(score(image), corners, zeros, step, lambda total: total[0] / total[1])


def add(total: Any, more: Any) -> Any:
    """The sum with what a step adds."""
    return jax.tree.map(jnp.add, total, more)


def scanned(parts: Sum) -> Any:
    """The map by `lax.scan`, a step after the other."""

    def turn(total: Any, point: Any) -> Any:
        return add(total, parts.step(parts.held, point)), None

    return parts.end(jax.lax.scan(turn, parts.zeros, parts.points)[0])


def at_once(parts: Sum) -> Any:
    """The map by `vmap` over the steps."""
    each = jax.vmap(functools.partial(parts.step, parts.held))(parts.points)
    return parts.end(add(parts.zeros, jax.tree.map(lambda values: values.sum(0), each)))


def _by(way: Callable[[Sum], Any], method: Callable[..., Sum]) -> Callable[..., Any]:
    def run(score: Score, image: Any, key: Any, **options: Any) -> Any:
        return way(method(score, image, key, **options))

    return run


SUMS: dict[str, Callable[..., Sum]] = {
    each.__name__: each for each in (integrated_gradients, smoothgrad, occlusion)
}
AT_ONCE: dict[str, Callable[..., Any]] = {
    name: _by(at_once, method) for name, method in SUMS.items()
}
METHODS: dict[str, Callable[..., Any]] = {
    "gradient": gradient,
    "input_x_gradient": input_x_gradient,
    **{name: _by(scanned, method) for name, method in SUMS.items()},
}
"""By name (score, image, key, **options) -> the map."""
