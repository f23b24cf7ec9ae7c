"""LIME: slopes of linear scores, weights, penalties, draws, errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.methods.lime import draw_coalitions, fitted, lime, lime_over

KEY = jax.random.key(0)
SEGMENTS = np.arange(20).reshape(5, 4) // 5


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@partial(jax.jit, static_argnames="kernel")
def explained(weights, image, empty, ridge, *, kernel="cosine"):
    score = lambda x: jnp.sum(weights * x) + 7  # noqa: E731
    options = {"segments": SEGMENTS, "baseline": empty, "samples": 40, "chunk": 40, "key": KEY}
    return lime(score, image, **options, kernel=kernel, ridge=ridge, width=2.0)


@given(st.integers(0, 2**20))
def test_slopes_of_a_linear_score_are_recovered_as_the_penalty_goes(seed):
    """A segment's slope is what the score loses without it, whatever the weights."""
    weights, image, empty = (normal(seed + i, 5, 4, 2) for i in range(3))
    parts = np.sum(weights * (image - empty), -1)
    slopes = np.stack([parts[SEGMENTS == label].sum() for label in range(4)])[SEGMENTS]
    slopes = np.stack([slopes] * 2, -1)
    off = [np.abs(explained(weights, image, empty, ridge) - slopes).max() for ridge in (1, 0.01, 0)]
    scale = np.abs(slopes).max()
    assert off[0] >= off[1] - 1e-5 * scale and off[1] < 0.05 * scale
    assert off[2] < 1e-4 * scale


def test_weights_of_samples_are_those_of_their_distance():
    """A fit written out: cosines of coalitions, a free intercept, the penalty on slopes alone."""
    image, score = normal(1, 6), lambda x: jnp.prod(1 + x)
    draws = np.array(draw_coalitions(KEY, 30, 6))
    draws[3] = False  # nothing shown: distance 1
    map = lime_over(score, image, draws, segments=np.arange(6), width=0.5, ridge=0.3, chunk=30)
    y = np.asarray([score(jnp.where(z, image, 0)) for z in draws], np.float64)
    d = 1 - np.sqrt(draws.mean(1))
    w = np.exp(-(d**2) / (2 * 0.5**2))
    design = np.c_[draws, np.ones(30)]
    penalty = np.diag([0.3] * 6 + [0.0])
    found = np.linalg.solve(design.T @ (w[:, None] * design) + penalty, design.T @ (w * y))
    np.testing.assert_allclose(map, found[:6], rtol=1e-4, atol=1e-5)


def test_half_of_the_segments_are_shown_and_all_of_them_first():
    draws = np.asarray(draw_coalitions(KEY, 3000, 5))
    assert draws[0].all() and not draws[1:10].all(1).all()
    np.testing.assert_allclose(draws.mean(0), 0.5, atol=0.03)
    np.testing.assert_allclose(np.corrcoef(draws.T), np.eye(5), atol=0.06)
    np.testing.assert_array_equal(draw_coalitions(KEY, 7, 3), draws[:7, :3])


@given(st.integers(0, 2**20), st.floats(0.01, 0.5))
def test_the_sparse_fit_meets_its_conditions(seed, penalty):
    """The squares' derivative by a slope is the penalty against it, or less where it is 0."""
    z = (np.random.default_rng(seed).random((40, 5)) < 0.5).astype(np.float32)
    y, w = np.asarray(normal(seed, 40)), np.abs(normal(seed + 1, 40)) + 0.1
    found = np.asarray(sparse(z, y, w, penalty), np.float64)
    share = np.asarray(w, np.float64) / np.sum(w)
    centred = z - share @ z
    slack = centred.T @ (share * (y - share @ y - centred @ found))
    bound = np.where(
        found == 0, np.abs(slack) < penalty + 1e-3, np.abs(slack - penalty * np.sign(found)) < 1e-3
    )
    assert bound.all()


@jax.jit
def sparse(z, y, w, penalty):
    return fitted(z, y, w, 0.0, penalty)


def test_what_a_system_does_not_determine_is_zero():
    """Of two equal features each has half of their slope, and one that never varies has none."""
    z = (np.random.default_rng(0).random((30, 4)) < 0.5).astype(np.float32)
    z[:, 1], z[:, 3] = z[:, 0], 1
    y = 2 * z[:, 0] - 3 * z[:, 2] + 100
    found = fitted(jnp.asarray(z), jnp.asarray(y), jnp.ones(30), 0.0)
    np.testing.assert_allclose(found, [1, 1, -3, 0], atol=1e-4)


def test_fewer_samples_than_unknowns_are_an_error_without_a_penalty():
    """captum's default are 25 samples, whatever the number of segments."""
    explain = partial(lime, jnp.sum, jnp.ones(30), segments=np.arange(30), samples=25, key=KEY)
    with pytest.raises(ValueError, match="25 do not tell 30 segments and an intercept apart"):
        explain(ridge=0.0)
    assert jnp.isfinite(explain()).all()
    assert jnp.isfinite(explain(ridge=0.0, lasso=0.1)).all()


def test_a_width_that_leaves_the_image_alone_has_no_slopes():
    """Distances of images are in other units than those of coalitions, the default width's."""
    image = 100 * jnp.arange(1.0, 5)
    explain = partial(lime, jnp.sum, image, segments=np.arange(4), samples=50, chunk=50, key=KEY)
    assert jnp.isnan(explain(kernel="euclidean")).all()
    slopes = explain(kernel="euclidean", width=500.0, ridge=0.0)
    np.testing.assert_allclose(slopes, image, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"kernel": "manhattan"}, ValueError, "kernel: expected cosine, euclidean or a function"),
        ({"width": 0}, ValueError, "width: expected a number > 0"),
        ({"ridge": -1.0}, ValueError, "ridge: expected a number in"),
        ({"samples": 0}, ValueError, "samples: expected an integer >= 1"),
        ({"samples": 1}, ValueError, "samples: expected 2 or more"),
        ({"segments": np.zeros(4)}, TypeError, "segments: expected integers"),
    ],
)
def test_what_cannot_be_is_an_error(options, error, match):
    with pytest.raises(error, match=match):
        lime(jnp.sum, jnp.ones(4), **{"segments": np.arange(4), "key": KEY} | options)
