"""Distances and rings against SciPy's morphology."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from jaxsal.metrics.regions import distance, ring

draw = np.random.default_rng(0)


def disc(size, radius, centre=None):
    grid = np.indices((size, size)) - np.reshape(centre or (size / 2, size / 2), (2, 1, 1))
    return (grid**2).sum(0) <= radius**2


@given(st.integers(0, 2**32 - 1))
def test_distance_is_the_exact_euclidean_one(seed):
    mask = np.random.default_rng(seed).random((9, 13)) < 0.1
    mask[4, 4] = True
    expected = ndimage.distance_transform_edt(~mask)
    np.testing.assert_allclose(jax.jit(distance)(jnp.array(mask)), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(17,), (5, 6, 7)])
def test_distance_in_one_and_three_dimensions(shape):
    mask = draw.random(shape) < 0.1
    mask.flat[0] = True
    expected = ndimage.distance_transform_edt(~mask)
    np.testing.assert_allclose(distance(jnp.array(mask)), expected, rtol=1e-6)


def test_a_ring_is_half_a_diameter_wide():
    body = disc(64, 8.0)
    around = np.asarray(ring(jnp.array(body), width=0.5))
    diameter = 2 * np.sqrt(body.sum() / np.pi)
    np.testing.assert_array_equal(around, ~body & disc(64, 8 + diameter / 2 + 1) & around)
    away = ndimage.distance_transform_edt(~body)
    np.testing.assert_array_equal(around, (away > 0) & (away <= diameter / 2))


def test_a_ring_is_a_pixel_wide_at_least_and_empty_around_nothing():
    point = np.zeros((7, 7), bool)
    assert not ring(jnp.array(point)).any()
    point[3, 3] = True
    assert ring(jnp.array(point), width=0.01).sum() == 4
