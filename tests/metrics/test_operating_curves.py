"""ROC curves and reliability are scikit-learn's."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import calibration
from sklearn import metrics as peer

from jaxsal.metrics.classification import expected_calibration_error
from jaxsal.metrics.operating_curves import reliability, roc_curve

draws = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=50)


@given(draws)
def test_the_curve_is_sklearns_ties_and_all(drawn):
    scores, positive = np.array([s / 9 for s, _ in drawn]), np.array([p for _, p in drawn])
    assume(0 < positive.sum() < len(positive))
    expected = peer.roc_curve(positive, scores, drop_intermediate=False)
    for own, other in zip(roc_curve(scores, positive), expected, strict=False):
        np.testing.assert_allclose(own, other)


@given(st.permutations(range(6)))
def test_infinite_scores_are_tied_as_others_are(order):
    """In whatever order they come: as scores of the same ranks, and nothing is warned of."""
    scores, ranks = np.array([np.inf, np.inf, 0.5, 0.5, -np.inf, -np.inf]), [2, 2, 1, 1, 0, 0]
    positive = np.array([True, False, True, False, True, False])
    found, expected = (
        roc_curve(np.asarray(each)[order], positive[order]) for each in (scores, ranks)
    )
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, other)
    assert len(found.true_positives) == 4


def test_without_negatives_there_is_no_rate():
    found = roc_curve([0.1, 0.9], [True, True])
    assert np.isnan(found.false_positives).all() and found.true_positives.tolist() == [0, 0.5, 1]
    with pytest.raises(ValueError, match=r"scores \(1,\): expected \[N\]"):
        roc_curve([0.5], [True, False])


def test_reliability_is_sklearns_and_adds_up_to_the_calibration_error():
    random = np.random.default_rng(0)
    probability = random.uniform(0.5, 1, 300)
    probabilities = np.stack([probability, 1 - probability], 1)
    labels = (random.random(300) > probability**2).astype(int)
    found = reliability(probabilities, labels, bins=10)
    accuracy, confidence = calibration.calibration_curve(labels == 0, probability, n_bins=10)
    some = found.images > 0
    np.testing.assert_allclose(found.accuracy[some], accuracy)
    np.testing.assert_allclose(found.confidence[some], confidence)
    gap = np.abs(found.accuracy - found.confidence)[some] * found.images[some] / 300
    expected = expected_calibration_error(probabilities, labels, bins=10)
    assert gap.sum() == pytest.approx(expected)
    assert np.isnan(found.accuracy[~some]).all() and found.images.sum() == 300
