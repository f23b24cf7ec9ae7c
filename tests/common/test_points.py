"""Sums over points: the chunk says how many are evaluated at a time, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.common.points import map_points, sum_points, variance_points

POINTS = np.array([1.0, 2.0, 4.0, 8.0, 16.0], np.float32)
WEIGHTS = np.array([0.1, 0.4, 0.2, 0.2, 0.1])
IMAGE = jnp.zeros(3)


def edges(point):
    """A value that is infinite for the last point, one that is none, and ordinary ones."""
    last = point == 16
    return jnp.stack([jnp.where(last, jnp.inf, point), jnp.where(last, jnp.nan, point), point])


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 9])
def test_what_pads_the_last_chunk_is_left_out(chunk):
    total = sum_points(edges, POINTS, WEIGHTS, like=IMAGE, chunk=chunk)
    np.testing.assert_allclose(total, [np.inf, np.nan, WEIGHTS @ POINTS], rtol=1e-6)
    np.testing.assert_array_equal(map_points(edges, POINTS, chunk=chunk)[:, 2], POINTS)
    variance = variance_points(edges, POINTS, like=IMAGE, chunk=chunk)
    np.testing.assert_allclose(variance, [np.nan, np.nan, np.var(POINTS)], rtol=1e-5)


def test_an_infinite_gradient_is_infinite_whatever_the_chunk():
    """At the end of the path, which is its last point, and at no other."""

    def score(x):
        return jnp.sum(jnp.sqrt(1 - x))

    explain = lambda chunk: jax.jit(  # noqa: E731
        lambda x: jaxsal.integrated_gradients(score, x, steps=5, rule="riemann_right", chunk=chunk)
    )(jnp.ones(2))
    for chunk in (1, 3, 5):
        np.testing.assert_array_equal(explain(chunk), [-np.inf, -np.inf])
