"""A binomial mean is separable, keeps what is constant, and knows nothing of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from jaxsal.common.filters import binomial

IMAGES = jax.random.uniform(jax.random.key(0), (2, 5, 7, 3))


def test_it_is_scipys_convolution_on_black():
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    expected = scipy.ndimage.convolve(np.asarray(IMAGES), kernel[None, :, :, None], mode="constant")
    np.testing.assert_allclose(binomial(IMAGES), expected, atol=1e-6)


def test_an_image_is_a_batch_of_one():
    np.testing.assert_allclose(binomial(IMAGES[0]), binomial(IMAGES)[0], atol=1e-6)


def test_a_constant_stays_within_the_border():
    inside = binomial(jnp.full((1, 6, 6, 1), 0.3))[0, 1:-1, 1:-1]
    np.testing.assert_allclose(inside, 0.3, rtol=1e-6)
