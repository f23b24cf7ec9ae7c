"""The study's maps: made part by part, they are those of the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from experiments import explaining


def network(weights, images):
    return jnp.tanh(images.reshape(len(images), -1)) @ weights


METHODS = {
    "gradient": jaxsal.gradient,
    "integrated gradients": functools.partial(jaxsal.integrated_gradients, tolerance=0.01),
}


@pytest.mark.parametrize("count", [3, 16, 40], ids=["one-part", "a-whole-part", "a-part-left"])
def test_maps_and_points_of_parts_are_those_of_the_batch(count) -> None:
    images = np.asarray(jax.random.normal(jax.random.key(0), (count, 4, 4, 1)))
    weights = jax.random.normal(jax.random.key(1), (16, 3))
    targets = np.arange(count, dtype=np.int32) % 3
    found = explaining.explain(
        network, weights, images, targets, key=jax.random.key(2), methods=METHODS
    )
    for name, method in METHODS.items():
        whole = jaxsal.explainer(network, method).record(weights, images, targets)
        np.testing.assert_allclose(found.maps[name], whole.maps, rtol=1e-5, atol=1e-6)
        assert np.isfinite(found.seconds[name]) and found.seconds[name] > 0
    np.testing.assert_array_equal(found.points["integrated gradients"], whole.steps.points)
    assert "gradient" not in found.points
