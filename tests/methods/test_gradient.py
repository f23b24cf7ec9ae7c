"""Gradient and input x gradient: closed forms and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.methods.gradient import gradient, input_x_gradient

SHAPES = st.sampled_from([(5,), (4, 3), (4, 4, 1), (3, 4, 2), (2, 3, 4, 1)])


def arrays(seed, *shapes):
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]


@given(st.integers(0, 2**20), SHAPES)
def test_of_a_linear_model_is_its_weights(seed, shape):
    weights, image = arrays(seed, shape, shape)
    score = lambda x: jnp.sum(weights * x) + 3.0  # noqa: E731
    np.testing.assert_array_equal(gradient(score, image), weights)
    np.testing.assert_array_equal(input_x_gradient(score, image), weights * image)


@given(st.integers(0, 2**20))
def test_input_x_gradient_sums_to_the_score_of_a_piecewise_linear_model_without_bias(seed):
    first, second, image = arrays(seed, (6, 9), (9,), (6,))
    score = lambda x: jax.nn.relu(x @ first) @ second  # noqa: E731
    map = input_x_gradient(score, image)
    np.testing.assert_allclose(jnp.sum(map), score(image), rtol=1e-5, atol=1e-5)


@given(st.integers(0, 2**20))
def test_implementation_invariance(seed):
    """Two programs of one function get one map."""
    weights, image = arrays(seed, (4, 4, 2), (4, 4, 2))
    one = lambda x: jnp.sum((weights * x) ** 2)  # noqa: E731
    two = lambda x: jnp.einsum("i,i->", jnp.ravel(weights * x), jnp.ravel(weights * x))  # noqa: E731
    np.testing.assert_allclose(gradient(one, image), gradient(two, image), rtol=1e-5)


@pytest.mark.parametrize("method", [gradient, input_x_gradient])
def test_maps_of_a_bfloat16_image_are_float32(method):
    image = jnp.ones((3, 3, 1), jnp.bfloat16)
    assert method(lambda x: jnp.sum(x * x), image).dtype == jnp.float32


@pytest.mark.parametrize("method", [gradient, input_x_gradient])
def test_a_score_that_is_no_scalar_raises(method):
    with pytest.raises(TypeError, match="scalar"):
        method(lambda x: x, jnp.ones((3, 3, 1)))


def test_differentiates_in_the_parameters_and_in_the_image():
    """d/dw sum((dw x²/dx)²) = d/dw sum(4 w² x²) = 8 w sum(x²)."""
    (image,) = arrays(0, (3, 3, 1))
    penalty = lambda w, x: jnp.sum(gradient(lambda v: w * jnp.sum(v**2), x) ** 2)  # noqa: E731
    in_w, in_x = jax.grad(penalty, (0, 1))(1.5, image)
    np.testing.assert_allclose(in_w, 12 * jnp.sum(image**2), rtol=1e-5)
    np.testing.assert_allclose(in_x, 18 * image, rtol=1e-5)
