"""Regions against SciPy's morphology, and on images whose head is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from jaxsal.metrics.regions import REGIONS, distance, head, regions, ring

draw = np.random.default_rng(0)
part = jax.jit(regions, static_argnames="width")


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
    tumour = disc(64, 8.0)
    around = np.asarray(ring(jnp.array(tumour), width=0.5))
    diameter = 2 * np.sqrt(tumour.sum() / np.pi)
    np.testing.assert_array_equal(around, ~tumour & disc(64, 8 + diameter / 2 + 1) & around)
    away = ndimage.distance_transform_edt(~tumour)
    np.testing.assert_array_equal(around, (away > 0) & (away <= diameter / 2))


def test_a_ring_is_a_pixel_wide_at_least_and_empty_around_nothing():
    point = np.zeros((7, 7), bool)
    assert not ring(jnp.array(point)).any()
    point[3, 3] = True
    assert ring(jnp.array(point), width=0.01).sum() == 4


def hollow(size=40):
    """A bright ring of skull around a dark inside, on a background of weak noise."""
    skull = disc(size, 16) & ~disc(size, 13)
    noise = np.random.default_rng(1).random((size, size)) * 0.03
    return np.where(skull, 0.8, noise).astype(np.float32)[..., None]


def test_the_head_is_the_filled_outline():
    found = np.asarray(head(jnp.array(hollow())))
    truth = disc(40, 16)
    assert (found & truth).sum() / (found | truth).sum() > 0.97


def test_the_head_does_not_depend_on_scale_offset_channels_or_a_speck():
    image = jnp.array(hollow())
    found = head(image)
    np.testing.assert_array_equal(head(300 * image - 70), found)
    np.testing.assert_array_equal(head(jnp.repeat(image, 3, axis=-1)), found)
    np.testing.assert_array_equal(head(image.at[0, 0].set(1.0)), found)


def test_a_constant_image_has_no_head():
    assert not head(jnp.ones((8, 8, 1))).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 2.0]))
def test_every_pixel_is_in_exactly_one_region(seed, width):
    mask = np.random.default_rng(seed).random((40, 40)) < 0.01
    parts = part(jnp.array(hollow()), jnp.array(mask), width=width)
    assert tuple(sorted(parts)) == tuple(sorted(REGIONS))
    assert (sum(part.astype(int) for part in parts.values()) == 1).all()
    np.testing.assert_array_equal(parts["tumour"], mask)
    outside = np.asarray(parts["background"])
    assert not (outside & np.asarray(head(jnp.array(hollow())))).any()
