"""The noise combinators: closed forms on models of low degree, keys, chunks, composition."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.methods.gradient import gradient, input_x_gradient
from jaxsal.methods.noise import (
    smoothgrad,
    smoothgrad_squared,
    statistic_over,
    takes_key,
    vargrad,
    variance,
)
from jaxsal.methods.path import expected_gradients, integrated_gradients

SHAPE = (4, 3, 2)
KEY = jax.random.key(0)
COMBINATORS = [smoothgrad, smoothgrad_squared, vargrad]


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def explained(method, score, image, **options):
    """The map, from one compiled program."""
    return jax.jit(partial(method, score, **options))(image)


def cubic(x):
    return jnp.sum(x**3)


@jax.jit
def of_a_linear_model(weights, image):
    score = lambda x: jnp.sum(weights * x)  # noqa: E731
    return [c(gradient, samples=7)(score, image, key=KEY, chunk=3) for c in COMBINATORS]


@given(st.integers(0, 2**20))
def test_of_a_linear_model(seed):
    """All noisy gradients are the weights w: mean w, mean square w², variance 0."""
    weights = normal(seed, *SHAPE)
    average, square, spread = of_a_linear_model(weights, normal(seed + 1, *SHAPE))
    np.testing.assert_allclose(average, weights, rtol=1e-5)
    np.testing.assert_allclose(square, weights**2, rtol=1e-5)
    np.testing.assert_array_equal(spread, 0)


def test_of_a_quadratic_model_has_the_noise_s_own_moments():
    """∇ ½|x|² = x: the maps are x + σε, of mean x and variance σ² (4 standard errors, n = 2000)."""
    image, n, sigma = normal(0, *SHAPE), 2000, 0.3
    score = lambda x: jnp.sum(x**2) / 2  # noqa: E731
    options = {"samples": n, "noise": sigma, "relative": False}
    average = explained(smoothgrad(gradient, **options), score, image, key=KEY, chunk=n)
    np.testing.assert_allclose(average, image, atol=4 * sigma / np.sqrt(n))
    spread = explained(vargrad(gradient, **options), score, image, key=KEY, chunk=n)
    np.testing.assert_allclose(spread, sigma**2, rtol=4 * np.sqrt(2 / n))


def test_relative_noise_is_scaled_by_the_image_s_range():
    image = normal(0, *SHAPE)
    relative = smoothgrad(gradient, samples=4, noise=0.1)
    sigma = 0.1 * (image.max() - image.min())
    absolute = smoothgrad(gradient, samples=4, noise=sigma, relative=False)
    np.testing.assert_allclose(
        explained(relative, cubic, image, key=KEY),
        explained(absolute, cubic, image, key=KEY),
        rtol=1e-5,
    )


@pytest.mark.parametrize("combinator", COMBINATORS)
def test_any_chunk_gives_the_same_map(combinator):
    method, image = combinator(gradient, samples=7), normal(0, *SHAPE)
    one = explained(method, cubic, image, key=KEY)
    for chunk in (3, 30):
        map = explained(method, cubic, image, key=KEY, chunk=chunk)
        np.testing.assert_allclose(map, one, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**20), st.floats(1, 1e5), st.sampled_from([1, 3, 7]))
def test_variance_is_never_negative_and_right_where_the_mean_is_large(seed, level, chunk):
    """E[x²] - E[x]² in float32 is off by more than the variance itself here."""
    maps = np.float32(level) + np.asarray(normal(seed, 7, *SHAPE))
    got = replayed_variance(maps, chunk=chunk)
    assert jnp.all(got >= 0)
    expected = np.var(maps.astype(np.float64), axis=0)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=(4e-7 * level) ** 2 + 1e-6)


@partial(jax.jit, static_argnames="chunk")
def replayed_variance(maps, *, chunk):
    draw = lambda j: (maps[j], {})  # noqa: E731
    identity = lambda score, image: image  # noqa: E731
    return statistic_over(
        variance, identity, jnp.sum, jnp.zeros(SHAPE), draw, samples=7, chunk=chunk
    )


def test_one_sample_has_no_variance():
    spread = explained(vargrad(gradient, samples=1), cubic, normal(0, *SHAPE), key=KEY)
    np.testing.assert_array_equal(spread, 0)


def test_keys_as_documented():
    """Sample j's noise is normal(fold_in(key, j)); over a keyed method both keys are split off."""
    image = normal(0, *SHAPE)
    noise = lambda k, j: 0.5 * jax.random.normal(jax.random.fold_in(k, j), SHAPE)  # noqa: E731
    plain = smoothgrad(gradient, samples=3, noise=0.5, relative=False)
    expected = sum(gradient(cubic, image + noise(KEY, j)) for j in range(3)) / 3
    np.testing.assert_allclose(
        explained(plain, cubic, image, key=KEY), expected, rtol=1e-5, atol=1e-5
    )

    inner = partial(expected_gradients, baselines=normal(1, 2, *SHAPE), samples=2)
    keyed = smoothgrad(inner, samples=3, noise=0.5, relative=False)
    k_noise, k_inner = jax.random.split(KEY)
    one = jax.jit(lambda x, key: inner(cubic, x, key=key))
    terms = [one(image + noise(k_noise, j), jax.random.fold_in(k_inner, j)) for j in range(3)]
    map = explained(keyed, cubic, image, key=KEY)
    np.testing.assert_allclose(map, sum(terms) / 3, rtol=1e-5, atol=1e-5)


def test_which_methods_take_a_key():
    assert takes_key(expected_gradients) and takes_key(smoothgrad(gradient))
    assert takes_key(partial(expected_gradients, samples=3))
    assert not takes_key(gradient)
    assert not takes_key(partial(expected_gradients, key=KEY))


def test_options_reach_the_innermost_method():
    image = normal(0, *SHAPE)
    twice = smoothgrad(smoothgrad(integrated_gradients, samples=2, noise=0.0), samples=2, noise=0.0)
    map = explained(twice, cubic, image, key=KEY, chunk=2, steps=3, baseline=1.0)
    expected = integrated_gradients(cubic, image, steps=3, baseline=1.0)
    np.testing.assert_allclose(map, expected, rtol=1e-5, atol=1e-6)


def test_over_a_method_whose_map_has_another_shape():
    """A class activation map has the shape of a layer, not of the image."""
    pooled = lambda score, image: gradient(score, image).reshape(2, 2, 3, 2).mean((1, 3))  # noqa: E731
    image = normal(0, *SHAPE)
    map = explained(smoothgrad(pooled, samples=3), cubic, image, key=KEY, chunk=2)
    expected = explained(smoothgrad(gradient, samples=3), cubic, image, key=KEY)
    np.testing.assert_allclose(map, expected.reshape(2, 2, 3, 2).mean((1, 3)), rtol=1e-5)


@pytest.mark.parametrize("combinator", COMBINATORS)
def test_a_constant_image_and_an_all_zero_map_give_no_nan(combinator):
    image = jnp.full(SHAPE, 0.7)
    map = explained(combinator(gradient, samples=3), cubic, image, key=KEY)
    power = {smoothgrad: 1, smoothgrad_squared: 2}.get(combinator)
    expected = 0.0 if power is None else gradient(cubic, image) ** power
    np.testing.assert_allclose(map, expected * jnp.ones(SHAPE), rtol=1e-5)
    method = combinator(input_x_gradient, samples=3)
    zero = explained(method, lambda x: jnp.sum(0 * x), image, key=KEY)
    np.testing.assert_array_equal(zero, 0)


def test_differentiates_through_the_samples():
    """SmoothGrad of w Σ x² is 2 w (x + mean e): linear in w."""
    image = normal(0, *SHAPE)

    def total(weight):
        explain = smoothgrad(gradient, samples=5)
        return jnp.sum(explain(lambda x: weight * jnp.sum(x**2), image, key=KEY, chunk=2) ** 2)

    value, slope = jax.jit(jax.value_and_grad(total))(3.0)
    np.testing.assert_allclose(slope, 2 * value / 3, rtol=1e-5)
    tangent = jax.jit(lambda w: jax.jvp(total, (w,), (1.0,))[1])(3.0)
    np.testing.assert_allclose(tangent, slope, rtol=1e-5)


def test_results_are_equal_methods_with_names():
    assert smoothgrad(gradient) == smoothgrad(gradient, samples=25)
    assert smoothgrad(gradient) != vargrad(gradient)
    assert hash(smoothgrad(gradient)) == hash(smoothgrad(gradient))
    assert vargrad(smoothgrad(gradient)).__name__ == "vargrad(smoothgrad(gradient))"
    assert smoothgrad(partial(integrated_gradients, steps=2)).__name__ == (
        "smoothgrad(integrated_gradients)"
    )
    assert smoothgrad(gradient).inner is gradient


@pytest.mark.parametrize(
    "options, error, name",
    [
        ({"samples": 0}, ValueError, "samples"),
        ({"samples": 2.0}, TypeError, "samples"),
        ({"noise": -0.1}, ValueError, "noise"),
        ({"noise": "much"}, TypeError, "noise"),
    ],
)
def test_bad_options_raise(options, error, name):
    with pytest.raises(error, match=name):
        smoothgrad(gradient, **options)


def test_an_integer_is_a_noise_level():
    method = smoothgrad(gradient, samples=2, noise=1, relative=False)
    assert jnp.max(explained(method, cubic, jnp.zeros(SHAPE), key=KEY)) > 0


def test_a_call_without_a_key_raises():
    with pytest.raises(TypeError, match="key"):
        smoothgrad(gradient)(cubic, jnp.zeros(SHAPE))


def test_no_method_raises():
    with pytest.raises(TypeError, match="method"):
        smoothgrad(3)


def test_float32_images_in_64_bit_mode_have_a_variance_in_chunks():
    with jax.enable_x64(True):
        image = jnp.ones(SHAPE, jnp.float32)
        found = [vargrad(gradient)(cubic, image, key=KEY, chunk=n) for n in (7, 25)]
    assert found[0].dtype == jnp.float32
    np.testing.assert_allclose(*found, rtol=1e-4)
