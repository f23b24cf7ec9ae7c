"""Gradient and input x gradient: closed forms and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.methods.gradient import gradient, input_x_gradient

SHAPES = st.sampled_from([(5,), (3, 4, 2), (2, 3, 4, 1)])


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@jax.jit
def of_a_linear_model(weights, image):
    score = lambda x: jnp.sum(weights * x) + 3.0  # noqa: E731
    return gradient(score, image), input_x_gradient(score, image)


@given(st.integers(0, 2**20), SHAPES)
def test_of_a_linear_model_is_its_weights(seed, shape):
    weights, image = normal(seed, *shape), normal(seed + 1, *shape)
    slope, product = of_a_linear_model(weights, image)
    np.testing.assert_array_equal(slope, weights)
    np.testing.assert_array_equal(product, weights * image)


@jax.jit
def of_a_piecewise_linear_model(first, second, image):
    score = lambda x: jax.nn.relu(x @ first) @ second  # noqa: E731
    return jnp.sum(input_x_gradient(score, image)), score(image)


@given(st.integers(0, 2**20))
def test_input_x_gradient_sums_to_the_score_of_a_piecewise_linear_model_without_bias(seed):
    total, score = of_a_piecewise_linear_model(
        normal(seed, 6, 9), normal(seed + 1, 9), normal(seed + 2, 6)
    )
    np.testing.assert_allclose(total, score, rtol=1e-5, atol=1e-5)


@jax.jit
def of_one_function_written_twice(weights, image):
    one = lambda x: jnp.sum((weights * x) ** 2)  # noqa: E731
    two = lambda x: jnp.einsum("i,i->", jnp.ravel(weights * x), jnp.ravel(weights * x))  # noqa: E731
    return gradient(one, image), gradient(two, image)


@given(st.integers(0, 2**20))
def test_implementation_invariance(seed):
    """Two programs of one function get one map."""
    one, two = of_one_function_written_twice(normal(seed, 4, 4, 2), normal(seed + 1, 4, 4, 2))
    np.testing.assert_allclose(one, two, rtol=1e-5)


@pytest.mark.parametrize("method", [gradient, input_x_gradient])
def test_maps_of_a_bfloat16_image_are_float32(method):
    image = jnp.ones((3, 3, 1), jnp.bfloat16)
    assert method(lambda x: jnp.sum(x * x), image).dtype == jnp.float32


@pytest.mark.parametrize("method", [gradient, input_x_gradient])
def test_a_score_that_is_no_scalar_raises(method):
    with pytest.raises(TypeError, match="scalar"):
        method(lambda x: x, jnp.ones((3, 3, 1)))


def test_differentiates_in_the_parameters_and_in_the_image():
    """Of w Σ x², Σ gradient² is 4 w² Σ x²."""
    image = normal(0, 3, 3, 1)
    penalty = lambda w, x: jnp.sum(gradient(lambda v: w * jnp.sum(v**2), x) ** 2)  # noqa: E731
    in_w, in_x = jax.jit(jax.grad(penalty, (0, 1)))(1.5, image)
    np.testing.assert_allclose(in_w, 12 * jnp.sum(image**2), rtol=1e-5)
    np.testing.assert_allclose(in_x, 18 * image, rtol=1e-5)
