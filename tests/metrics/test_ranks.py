"""Ranks against scikit-learn's and SciPy's, ties and all."""

import jax.numpy as jnp
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from jaxsal.metrics import ranks

# Few distinct values, so that ties are the rule.
VALUES = st.lists(st.integers(-3, 3), min_size=12, max_size=12)


@given(VALUES, st.lists(st.booleans(), min_size=12, max_size=12))
def test_roc_auc_is_sklearns(values, positive):
    assume(0 < sum(positive) < 12)
    got = ranks.roc_auc(jnp.array(values, jnp.float32), jnp.array(positive))
    np.testing.assert_allclose(got, roc_auc_score(positive, values), atol=1e-6)


@given(VALUES, VALUES)
def test_spearman_is_scipys(first, second):
    assume(len(set(first)) > 1 and len(set(second)) > 1)
    got = ranks.spearman(jnp.array(first, jnp.float32), jnp.array(second, jnp.float32))
    np.testing.assert_allclose(got, stats.spearmanr(first, second)[0], atol=1e-6)


@given(VALUES, st.lists(st.booleans(), min_size=12, max_size=12))
def test_marks_travel_with_their_values(values, marked):
    values = np.abs(np.array(values, np.float32)) * np.float32(1e-3)
    ordered, hits = ranks.sort_marked(jnp.array(values), jnp.array(marked))
    expected = sorted(zip(values, marked, strict=True))
    np.testing.assert_array_equal(ordered, [value for value, _ in expected])
    np.testing.assert_array_equal(hits, [mark for _, mark in expected])


def test_many_values_keep_their_digits():
    draw = np.random.default_rng(0)
    values = draw.normal(size=256 * 256).astype(np.float32)
    positive = draw.random(256 * 256) < 0.013
    got = ranks.roc_auc(jnp.array(values), jnp.array(positive))
    np.testing.assert_allclose(got, roc_auc_score(positive, values), atol=2e-6)
    same = ranks.spearman(jnp.array(values), jnp.array(values))
    np.testing.assert_allclose(same, 1.0, atol=1e-6)


def test_without_two_classes_or_an_order_there_is_no_answer():
    values = jnp.arange(4.0)
    assert jnp.isnan(ranks.roc_auc(values, jnp.zeros(4, bool)))
    assert jnp.isnan(ranks.roc_auc(values, jnp.ones(4, bool)))
    assert jnp.isnan(ranks.spearman(values, jnp.ones(4)))
    assert jnp.isnan(ranks.spearman(values.at[1].set(jnp.nan), values))
    assert jnp.isnan(ranks.spearman(values, jnp.full(4, jnp.nan)))
