"""Guided backpropagation and the deconvnet against their formulas, on programs as they stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxsal.methods.backprop import deconvnet, guided_backprop

W1 = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
W2 = np.array([1.0, -2.0, 0.5, -0.1], np.float32)
X = jnp.array([0.3, -1.0, 2.0])


def _score(w1, image):
    return jax.nn.relu(jax.nn.relu(image @ w1) * W2) @ jnp.array([1.0, 2.0, -3.0, -1.0])


def _by_hand(image, guided):
    """Both rules, layer by layer."""
    hidden = image @ W1
    outer = np.maximum(hidden, 0) * W2
    g = np.array([1.0, 2.0, -3.0, -1.0], np.float32)
    g = np.maximum(g, 0) * (outer > 0 if guided else 1) * W2
    g = np.maximum(g, 0) * (hidden > 0 if guided else 1)
    return W1 @ g


@pytest.mark.parametrize("method", [guided_backprop, deconvnet])
def test_formula(method):
    found = jax.jit(lambda x: method(lambda image: _score(W1, image), x))(X)
    np.testing.assert_allclose(found, _by_hand(np.asarray(X), method is guided_backprop), rtol=1e-6)


def test_without_a_relu_there_is_nothing_to_guide():
    for method in (guided_backprop, deconvnet):
        with pytest.raises(ValueError, match="score: expected a program with a ReLU"):
            method(lambda image: jnp.sin(image).sum(), X)


def test_parameters_that_are_traced_stay_differentiable():
    """Maps are piecewise multilinear in the weights: differences are exact but for rounding."""

    def total(w1, image):
        return guided_backprop(lambda image: _score(w1, image), image).sum()

    images = jnp.stack([X, -X, 2 * X])
    found = jax.jit(jax.vmap(jax.grad(total), in_axes=(None, 0)))(W1, images)
    step = 1e-2 * np.eye(12, dtype=np.float32).reshape(12, 3, 4)
    ends = jax.jit(jax.vmap(jax.vmap(total, in_axes=(0, None)), in_axes=(None, 0)))
    difference = (ends(W1 + step, images) - ends(W1 - step, images)) / 2e-2
    np.testing.assert_allclose(found.reshape(3, 12), difference, atol=1e-3)


def test_inside_shard_map():
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    batched = jax.vmap(lambda x: guided_backprop(lambda image: _score(W1, image), x))
    images = jnp.stack([X, -X, 2 * X, X + 1])
    sharded = jax.shard_map(batched, mesh=mesh, in_specs=P("i"), out_specs=P("i"), check_vma=True)
    expected = np.stack([_by_hand(x, True) for x in np.asarray(images)])
    np.testing.assert_allclose(jax.jit(sharded)(images), expected, rtol=1e-5)
