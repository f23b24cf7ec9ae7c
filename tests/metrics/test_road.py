"""Imputation: exact where the answer is known, equal to a sparse solver; ROAD on top of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import spsolve

from jaxsal import metrics
from jaxsal.metrics.imputation import impute_noisily

KEY = jax.random.key(0)
WEIGHTS = {(i, j): 1 / 6 if i * j == 0 else 1 / 12 for i in (-1, 0, 1) for j in (-1, 0, 1)}
WEIGHTS.pop((0, 0))
impute = jax.jit(metrics.impute)


def solved(image, missing):
    """The definition as a sparse system, row by row."""
    height, width = missing.shape
    rows = sparse.lil_matrix((height * width, height * width))
    right = np.where(missing[..., None], 0, image).reshape(-1, image.shape[-1]).astype(float)
    for i, j in np.ndindex(height, width):
        here = i * width + j
        if not missing[i, j]:
            rows[here, here] = 1
            continue
        for (di, dj), weight in WEIGHTS.items():
            if 0 <= i + di < height and 0 <= j + dj < width:
                rows[here, here] += weight
                rows[here, (i + di) * width + j + dj] = -weight
    return spsolve(sparse.csc_matrix(rows), right).reshape(image.shape)


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.05, 0.95))
def test_imputation_solves_the_sparse_system(seed, share):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(12, 9, 2)).astype(np.float32)
    missing = rng.random((12, 9)) < share
    if missing.all():
        missing[0, 0] = False
    filled = np.asarray(impute(jnp.asarray(image), jnp.asarray(missing)))
    np.testing.assert_allclose(filled, solved(image, missing), atol=2e-5)
    np.testing.assert_array_equal(filled[~missing], image[~missing])


def test_a_hole_as_large_as_a_head_converges():
    """A disc over half of an image of 96 pixels: thousands of unknowns that touch no edge."""
    y, x = np.mgrid[:96, :96] / 95
    image = (0.3 + 0.5 * x - 0.2 * y)[..., None].astype(np.float32)
    missing = (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.16
    filled = impute(jnp.asarray(image), jnp.asarray(missing))
    np.testing.assert_allclose(filled, image, atol=1e-3)  # a plane is its own neighbours' mean


def test_borders_count_the_neighbours_that_there_are():
    image = jnp.full((8, 8, 1), 0.7)
    missing = jnp.zeros((8, 8), bool).at[:, 0].set(True).at[0].set(True)
    np.testing.assert_allclose(impute(image, missing), image, rtol=1e-5)


def test_nothing_missing_and_everything_missing():
    image = jax.random.normal(KEY, (8, 8, 1))
    np.testing.assert_array_equal(impute(image, jnp.zeros((8, 8), bool)), image)
    np.testing.assert_array_equal(impute(image, jnp.ones((8, 8), bool)), 0 * image)


def test_noise_falls_on_what_was_imputed_only():
    image, missing = jnp.ones((32, 32, 1)), jnp.zeros((32, 32), bool).at[8:24].set(True)
    noisy = impute_noisily(image, missing, noise=0.1, key=KEY)
    np.testing.assert_array_equal(noisy[~missing], image[~missing])
    assert 0.08 < float(jnp.std(noisy[missing])) < 0.12


@pytest.mark.parametrize("least_relevant", [False, True])
def test_a_curve_is_the_score_of_images_solved_without_their_ranked_pixels(least_relevant):
    rng = np.random.default_rng(0)
    image, map, code = (rng.normal(size=(8, 7, n)).astype(np.float32) for n in (2, 1, 2))
    score = lambda x: jnp.sum(jnp.tanh(x) * code)  # noqa: E731
    options = {"removed": (0.5, 0.25), "least_relevant": least_relevant, "noise": 0, "key": KEY}
    found = jax.jit(partial(metrics.road_curve, score, **options))(image, map)
    order = np.argsort(np.abs(map).ravel())[:: 1 if least_relevant else -1]
    for value, gone in zip(found, (28, 14), strict=True):
        missing = np.isin(np.arange(56), order[:gone]).reshape(8, 7)
        np.testing.assert_allclose(value, score(solved(image, missing)), rtol=1e-4, atol=1e-4)


def test_road_tells_the_cause_from_its_complement():
    """A bright square on a dark ground, and a score that looks at it alone."""
    square = jnp.zeros((16, 16, 1)).at[4:8, 9:13].set(1.0)
    score = lambda image: jnp.sum(image * square) / 16  # noqa: E731
    road = partial(metrics.road, score, square, key=KEY)
    assert 0.3 < float(road(square)) < 0.51
    np.testing.assert_allclose(road(1 - square), -road(square), atol=0.1)
    assert abs(float(road(jnp.ones_like(square)))) < 0.1  # a constant map is a random order


def test_road_is_half_the_difference_of_its_curves():
    image = jax.random.normal(KEY, (8, 8, 2))
    map = jax.random.normal(jax.random.key(1), (8, 8))
    score = lambda image: jnp.sum(jnp.tanh(image))  # noqa: E731
    options = {"removed": (0.25, 0.5), "key": KEY, "noise": 0.2}
    most = metrics.road_curve(score, image, map, **options)
    least = metrics.road_curve(score, image, map, least_relevant=True, **options)
    road = metrics.road(score, image, map, **options)
    np.testing.assert_allclose(road, jnp.mean(least - most) / 2, rtol=1e-5)


@pytest.mark.parametrize("removed", [(), (0.0,), (1.0,), (0.5, 1.5)])
def test_bad_shares_raise(removed):
    with pytest.raises(ValueError, match="removed: expected shares"):
        metrics.road(jnp.sum, jnp.ones((8, 8, 1)), jnp.ones((8, 8)), removed=removed, key=KEY)


def test_images_and_masks_of_another_shape_raise():
    with pytest.raises(ValueError, match="image: expected"):
        metrics.impute(jnp.ones((8, 8)), jnp.ones((8, 8), bool))
    with pytest.raises(ValueError, match="missing: expected"):
        metrics.impute(jnp.ones((8, 8, 1)), jnp.ones((8, 7), bool))
