"""Compiled combinators equal the loops that anybody would write."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.types import Method

IMAGES = jax.random.uniform(jax.random.key(0), (3, 8, 8, 1))
KERNEL = jax.random.normal(jax.random.key(1), (3, 3, 1, 4))
HEAD = jax.random.normal(jax.random.key(2), (4, 3))
SAMPLES, NOISE = 3, 0.2
BASELINES = jnp.stack([jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))])


def apply(params: tuple[jax.Array, jax.Array], images: jax.Array) -> jax.Array:
    kernel, head = params
    dimensions = ("NHWC", "HWIO", "NHWC")
    maps = jax.lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=dimensions
    )
    return jnp.square(jax.nn.relu(maps)).mean((1, 2)) @ head


def score(image: jax.Array) -> jax.Array:
    return apply((KERNEL, HEAD), image[None])[0, 1]


@pytest.mark.parametrize(
    ("method", "keyed"),
    [
        (functools.partial(jaxsal.integrated_gradients, steps=4), False),
        (jaxsal.grad_cam, False),
        (functools.partial(jaxsal.expected_gradients, baselines=BASELINES, samples=2), True),
    ],
    ids=["integrated_gradients", "grad_cam", "expected_gradients"],
)
def test_smoothgrad_over_any_method_is_the_mean_of_a_loop(method: Method, keyed: bool) -> None:
    explain = jaxsal.explainer(apply, jaxsal.smoothgrad(method, samples=SAMPLES, noise=NOISE))
    key = jax.random.key(3)
    maps = explain((KERNEL, HEAD), IMAGES, 1, key=key)
    for i, image in enumerate(IMAGES):
        own = jax.random.fold_in(key, i)
        k_noise, k_inner = jax.random.split(own) if keyed else (own, None)
        loop = []
        for j in range(SAMPLES):
            draw = jax.random.normal(jax.random.fold_in(k_noise, j), image.shape)
            noisy = image + NOISE * (image.max() - image.min()) * draw
            inner = {"key": jax.random.fold_in(k_inner, j)} if keyed else {}
            loop.append(jax.jit(functools.partial(method, score))(noisy, **inner))
        expected = np.mean(loop, axis=0)
        np.testing.assert_allclose(maps[i], expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("samples", [2, 3])
def test_options_go_to_the_innermost_method_even_of_the_same_name(samples: int) -> None:
    noisy = jaxsal.smoothgrad(jaxsal.expected_gradients, samples=SAMPLES, noise=NOISE)
    bound = jaxsal.smoothgrad(
        functools.partial(jaxsal.expected_gradients, baselines=BASELINES, samples=samples),
        samples=SAMPLES,
        noise=NOISE,
    )
    key = jax.random.key(4)
    given = jaxsal.explainer(apply, noisy, baselines=BASELINES, samples=samples)
    np.testing.assert_array_equal(
        given((KERNEL, HEAD), IMAGES, 1, key=key),
        jaxsal.explainer(apply, bound)((KERNEL, HEAD), IMAGES, 1, key=key),
    )
