"""Insertion and deletion: closed forms of additive scores, ties, signs, baselines."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal import metrics
from jaxsal.metrics import curves

SHAPE = (6, 5, 2)


def normal(seed, shape=SHAPE):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


WEIGHTS = normal(0)


def linear(image):
    return jnp.sum(WEIGHTS * image)


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 40))
def test_deletion_of_an_additive_score_is_a_sum_in_order(seed, steps):
    """Pixels go by |map| summed over channels; insertion is what deletion leaves."""
    image, map = normal(seed), normal(seed + 1)
    order = np.argsort(-np.abs(map).sum(-1).ravel())
    parts = np.asarray((WEIGHTS * image).sum(-1)).ravel()[order]
    taken = (np.arange(steps + 1) * 30) // steps
    gone = np.concatenate([[0], np.cumsum(parts)])[taken]
    options = {"steps": steps, "baseline": 0.0, "chunk": 7}
    deleted = curves.deletion_curve(linear, image, map, **options)
    np.testing.assert_allclose(deleted, parts.sum() - gone, atol=1e-4)
    inserted = curves.insertion_curve(linear, image, map, **options)
    np.testing.assert_allclose(inserted, gone, atol=1e-4)


def test_area_is_the_trapezoids():
    curve = jnp.array([4.0, 2.0, 2.0, 0.0])
    np.testing.assert_allclose(curves.area(curve), np.trapezoid(curve, dx=1 / 3), rtol=1e-6)


def test_a_constant_map_is_a_random_order_and_not_one_by_position():
    """A stable sort would delete the first rows first."""
    ones = jnp.ones((20, 20, 1))
    top = lambda image: jnp.sum(image[:10]) / 200  # noqa: E731
    for map in (ones, 0 * ones, -ones):
        curve = curves.deletion_curve(top, ones, map, steps=4)
        np.testing.assert_allclose(curve, [1, 0.75, 0.5, 0.25, 0], atol=0.1)
        assert 0 < float(abs(curve[1] - 0.75)) or 0 < float(abs(curve[2] - 0.5))


def test_signed_relevance_takes_what_speaks_against_the_class_last():
    image, map = jnp.ones((2, 2, 1)), jnp.array([[-3.0, 2.0], [1.0, 0.5]])[..., None]
    score = lambda image: jnp.sum(image * jnp.array([[8.0, 4], [2, 1]])[..., None])  # noqa: E731
    curve = partial(curves.deletion_curve, score, image, map, steps=4)
    np.testing.assert_allclose(curve(), [15, 7, 3, 1, 0])
    np.testing.assert_allclose(curve(signed=True), [15, 11, 9, 8, 0])


@pytest.mark.parametrize("baseline", [metrics.mean, metrics.blur, 0.5, WEIGHTS])
def test_curves_begin_and_end_at_the_image_and_the_baseline(baseline):
    image, map = normal(3), normal(4)
    empty = baseline(image) if callable(baseline) else baseline * jnp.ones(SHAPE)
    deleted = curves.deletion_curve(linear, image, map, steps=3, baseline=baseline)
    inserted = curves.insertion_curve(linear, image, map, steps=3, baseline=baseline)
    ends = [linear(image), linear(empty)]
    np.testing.assert_allclose(deleted[jnp.array([0, -1])], ends, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(inserted[jnp.array([-1, 0])], ends, rtol=1e-5, atol=1e-5)


def test_baselines_of_a_constant_image_are_the_image():
    image = jnp.full(SHAPE, 0.3)
    for baseline in (metrics.mean, metrics.blur):
        np.testing.assert_allclose(baseline(image), image, rtol=1e-5)


def test_mean_is_of_each_channel_and_minimum_of_all():
    image = normal(5)
    expected = np.asarray(image).mean((0, 1)) * np.ones(SHAPE)
    np.testing.assert_allclose(metrics.mean(image), expected, rtol=1e-5, atol=1e-6)
    first = metrics.mean(jnp.moveaxis(image, -1, 0), spatial_axes=(1, 2))
    np.testing.assert_allclose(jnp.moveaxis(first, 0, -1), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(metrics.minimum(image), np.full(SHAPE, np.min(image)))


def test_blur_is_a_gaussian_away_from_the_border():
    image = jnp.zeros((21, 21, 1)).at[10, 10, 0].set(1.0)
    x = np.arange(-10, 11)
    bell = np.exp(-(x**2) / 2 / 1.5**2) / np.exp(-(x**2) / 2 / 1.5**2).sum()
    blurred = metrics.blur(image, sigma=1.5)[..., 0]
    np.testing.assert_allclose(blurred, np.outer(bell, bell), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": 0}, ValueError, "steps"),
        ({"steps": 2.5}, TypeError, "steps"),
        ({"chunk": 0}, ValueError, "chunk"),
        ({"baseline": jnp.zeros(3)}, ValueError, "baseline"),
    ],
)
def test_bad_options_raise(options, error, words):
    for metric in (curves.deletion, curves.insertion):
        with pytest.raises(error, match=words):
            metric(linear, normal(1), normal(2), **options)
