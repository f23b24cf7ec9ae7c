"""Classification metrics against scikit-learn's."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from jaxsal.metrics import classification as cl

CLASSES = ("none", "glioma", "pituitary")


def sample(seed, count=60):
    """Logits of a classifier better than chance; every class occurs."""
    draw = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), draw.integers(0, 3, size=count - 3)])
    logits = 2 * draw.normal(size=(count, 3)) + 2 * np.eye(3)[labels]
    return logits, labels


def softmax(logits):
    exp = np.exp(logits)
    return exp / exp.sum(1, keepdims=True)


@given(st.integers(0, 2**32 - 1))
def test_the_report_is_scikit_learns(seed):
    logits, labels = sample(seed)
    got = cl.classification_report(logits, labels, CLASSES)
    predictions, probabilities = logits.argmax(1), softmax(logits)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(labels, predictions))
    np.testing.assert_array_equal(got["confusion"], sk.confusion_matrix(labels, predictions))
    auc = sk.roc_auc_score(labels, probabilities, multi_class="ovr")
    assert got["macro_auc"] == pytest.approx(auc, abs=1e-6)
    recall = sk.recall_score(labels, predictions, average=None)
    for k, name in enumerate(CLASSES):
        row = got["per_class"][name]
        assert row["sensitivity"] == pytest.approx(recall[k])
        rest = sk.recall_score(labels == k, predictions == k, pos_label=False)
        assert row["specificity"] == pytest.approx(rest)
        assert row["count"] == (labels == k).sum()


@given(st.integers(0, 2**32 - 1))
def test_the_brier_score_is_the_sum_of_the_classes_own(seed):
    logits, labels = sample(seed)
    probabilities = softmax(logits)
    own = [sk.brier_score_loss(labels == k, probabilities[:, k]) for k in range(3)]
    assert cl.brier_score(probabilities, labels) == pytest.approx(sum(own))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, np.int64])
def test_a_confusion_matrix_of_more_cells_than_the_labels_integers_hold(dtype):
    labels, predictions = np.random.default_rng(0).integers(0, 60, (2, 500)).astype(dtype)
    found = cl.confusion_matrix(labels, predictions, 60)
    expected = sk.confusion_matrix(labels, predictions, labels=np.arange(60))
    np.testing.assert_array_equal(found, expected)


def test_calibration_error_by_hand():
    # Bin (3/5, 4/5] holds two images, half of them right; bin (4/5, 1] one, wrong.
    probabilities = np.array([[0.8, 0.2], [0.7, 0.3], [0.05, 0.95]])
    labels = np.array([0, 1, 0])
    expected = abs(1 - (0.8 + 0.7)) / 3 + 0.95 / 3
    assert cl.expected_calibration_error(probabilities, labels, bins=5) == pytest.approx(expected)


def test_a_calibrated_classifier_has_no_error_and_a_sure_wrong_one_all_of_it():
    draw = np.random.default_rng(0)
    p = draw.random(200_000)
    labels = (draw.random(200_000) < p).astype(int)
    assert cl.expected_calibration_error(np.stack([1 - p, p], 1), labels) < 0.01
    assert cl.expected_calibration_error(np.eye(2), np.array([1, 0])) == 1.0


def test_certain_probabilities_keep_their_order():
    close = np.array([[0.0, 20.0], [0.0, 21.0], [0.0, 22.0]])
    labels = np.array([0, 0, 1])
    assert cl.one_vs_rest_auc(softmax(close), labels)[1] == 1.0


def test_a_class_without_images_is_undefined_and_left_out_of_the_mean():
    logits, labels = sample(0)
    logits, labels = logits[labels < 2], labels[labels < 2]
    got = cl.classification_report(logits, labels, CLASSES)
    assert np.isnan(got["per_class"]["pituitary"]["sensitivity"])
    assert 0 <= got["per_class"]["pituitary"]["specificity"] <= 1
    expected = np.mean([got["per_class"][name]["auc"] for name in CLASSES[:2]])
    assert got["macro_auc"] == pytest.approx(expected)
    only = cl.classification_report([[1.0, 0.0]], [0], CLASSES[:2])
    assert np.isnan(only["macro_auc"]) and np.isnan(only["per_class"]["none"]["specificity"])


def test_the_report_is_json():
    logits, labels = sample(1)
    report = cl.classification_report(logits, labels, CLASSES)
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.ones((2, 2)), [0, 1], r"logits \(2, 2\): expected \(2, 3\)"),
        (np.ones((0, 3)), [], "not empty"),
        (np.full((1, 3), np.nan), [0], "finite"),
        (np.ones((1, 3)), [3], r"labels in \[3, 3\]: expected \[0, 3\)"),
    ],
)
def test_bad_input_is_named(logits, labels, words):
    with pytest.raises(ValueError, match=words):
        cl.classification_report(logits, labels, CLASSES)
