"""Average precision, top-k intersection and tolerance: peers' figures and stated policies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from jaxsal import metrics

MASK = np.zeros((8, 8), bool)
MASK[2:5, 3:6] = True
average_precision = jax.jit(lambda map, mask: metrics.average_precision(None, None, map, mask=mask))


def top_k(map, mask=MASK, k=9):
    return metrics.top_k_intersection(None, None, jnp.asarray(map), mask=jnp.asarray(mask), k=k)


def pointing(map, tolerance, mask=MASK):
    map, mask = jnp.asarray(map), jnp.asarray(mask)
    return metrics.pointing_game(None, None, map, mask=mask, tolerance=tolerance)


@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(2, 60))
def test_average_precision_is_scikit_learns_with_ties_too(seed, levels):
    rng = np.random.default_rng(seed)
    map = rng.integers(0, levels, (8, 8)).astype(np.float32)
    map[0, 0] = levels
    mask = rng.random((8, 8)) < 0.3
    mask[1, 1] = True
    expected = average_precision_score(mask.ravel(), map.ravel())
    np.testing.assert_allclose(average_precision(map, mask), expected, rtol=1e-5)
    np.testing.assert_allclose(average_precision(-1e20 * map, mask), expected, rtol=1e-5)


def test_a_constant_map_scores_chance_and_the_mask_itself_one():
    constant = np.full((8, 8), -2.0, np.float32)
    np.testing.assert_allclose(average_precision(constant, MASK), 9 / 64, rtol=1e-6)
    np.testing.assert_allclose(top_k(constant, k=20), 9 / 64, rtol=1e-6)
    perfect = MASK.astype(np.float32)
    assert average_precision(perfect, MASK) == top_k(perfect) == 1
    np.testing.assert_allclose(top_k(perfect, k=18), 9 / 18, rtol=1e-6)


@pytest.mark.parametrize(
    ("map", "mask"),
    [
        (np.ones((8, 8)), np.zeros((8, 8), bool)),
        (np.zeros((8, 8)), MASK),
        (np.full((8, 8), np.nan), MASK),
    ],
    ids=["empty mask", "all-zero map", "map not finite"],
)
def test_what_is_undefined_is_never_a_hit(map, mask):
    """Quantus writes NaN into truth values: an empty mask is a hit there."""
    map = map.astype(np.float32)
    assert np.isnan(average_precision(map, mask))
    assert np.isnan(top_k(map, mask)) and np.isnan(pointing(map, 2, mask))


def test_the_pointing_game_tolerates_a_distance():
    map = np.zeros((8, 8), np.float32)
    map[4, 7] = -1.0  # two pixels to the right of the mask
    assert [float(pointing(map, t)) for t in (0, 1.5, 2, 15)] == [0, 0, 1, 1]
    map[0, 0] = 1.0  # tied with one that is further than three pixels away
    assert float(pointing(map, 3)) == 0.5


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), (65, ValueError), (1.5, TypeError)])
def test_bad_counts_raise(k, error):
    with pytest.raises(error, match="k: "):
        top_k(np.ones((8, 8), np.float32), k=k)
