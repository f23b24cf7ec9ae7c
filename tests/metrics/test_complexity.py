"""Sparseness and entropy: closed forms, scale, and maps that have neither."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal import metrics

IMAGE = jnp.zeros((4, 5, 2))


def measured(map):
    map = jnp.asarray(map, jnp.float32)
    return [float(f(None, IMAGE, map)) for f in (metrics.sparseness, metrics.entropy)]


def test_of_one_pixel_of_all_and_of_a_few():
    single = np.zeros((4, 5))
    single[2, 3] = -5
    np.testing.assert_allclose(measured(single), [19 / 20, 0], atol=1e-6)
    np.testing.assert_allclose(measured(np.full((4, 5), -2)), [0, np.log(20)], atol=1e-6)
    few = np.zeros((4, 5))
    few[1] = 3
    np.testing.assert_allclose(measured(few), [15 / 20, np.log(5)], atol=1e-6)


def test_channels_are_summed_and_extremes_do_no_harm():
    map = np.random.default_rng(0).normal(size=(4, 5, 2))
    expected = measured(np.abs(map).sum(-1))
    for factor in (1, -1e30, 1e-30):
        np.testing.assert_allclose(measured(factor * map), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "map", [np.zeros((4, 5)), np.full((4, 5), np.nan), np.full((4, 5), np.inf)]
)
def test_a_map_without_relevance_has_neither(map):
    assert np.isnan(measured(map)).all()
