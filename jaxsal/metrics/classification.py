"""Is the classification right? Accuracy by class, ranking, and calibration, from logits.

All in numpy and float64, on the host. What is not defined (a class without images) is NaN.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxsal.metrics import ranks
from jaxsal.types import ArrayValues


def confusion_matrix(labels: ArrayValues, predictions: ArrayValues, classes: int) -> np.ndarray:
    """Counts `[K, K]`: row = true class, column = predicted class.

    Args:
        labels: int `[N]`, in `[0, K)`. predictions: int `[N]`, in `[0, K)`. classes: K.

    Raises:
        ValueError: a label or prediction outside `[0, K)`.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    for name, index in (("labels", labels), ("predictions", predictions)):
        if index.size and not (0 <= index.min() and index.max() < classes):
            raise ValueError(f"{name} in [{index.min()}, {index.max()}]: expected [0, {classes})")
    # A cell's number, up to K² - 1, need not fit the labels' own integers.
    rows, columns = (x.astype(np.int64, casting="same_kind") for x in (labels, predictions))
    counts = np.bincount(rows * classes + columns, minlength=classes**2)
    return counts.reshape(classes, classes)


def sensitivity(confusion: ArrayValues) -> np.ndarray:
    """`TP / (TP + FN)` of each class `[K]`; NaN for a class without images."""
    confusion = np.asarray(confusion)
    return _ratio(np.diag(confusion), confusion.sum(1))


def specificity(confusion: ArrayValues) -> np.ndarray:
    """`TN / (TN + FP)` of each class `[K]` against the rest; NaN where there is no rest."""
    confusion = np.asarray(confusion)
    negatives = confusion.sum() - confusion.sum(1)
    return _ratio(negatives - (confusion.sum(0) - np.diag(confusion)), negatives)


def one_vs_rest_auc(scores: ArrayValues, labels: ArrayValues) -> np.ndarray:
    """ROC AUC `[K]` of each class's score `[N, K]` against the rest, ties counted as half."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    aucs = []
    for k, column in enumerate(scores.T):
        # Their order as small integers: rounding to float32 would tie probabilities close to 1.
        _, order = np.unique(column, return_inverse=True)
        aucs.append(float(ranks.roc_auc(jnp.float32(order), jnp.asarray(labels == k))))
    return np.array(aucs)


def expected_calibration_error(
    probabilities: ArrayValues, labels: ArrayValues, *, bins: int = 15
) -> float:
    """`sum over bins of (n_b / N) |accuracy_b - mean confidence_b|` (Guo et al. 2017).

    Args:
        probabilities: `[N, K]`; the largest is the confidence. labels: int `[N]`.
        bins: equal widths over (0, 1], closed on the right.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    confidence = probabilities.max(1)
    gap = (probabilities.argmax(1) == labels) - confidence
    member = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(member, gap, minlength=bins)).sum() / len(labels))


def brier_score(probabilities: ArrayValues, labels: ArrayValues) -> float:
    """`mean over images of sum over classes of (p_k - [k = label])^2`, in [0, 2] (Brier 1950)."""
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(1).mean())


def classification_report(
    logits: ArrayValues, labels: ArrayValues, classes: Sequence[str]
) -> dict[str, Any]:
    """All of the above, ready for JSON.

    Args:
        logits: `[N, K]`. labels: int `[N]`. classes: K names.

    Returns:
        `accuracy`, `classes`, `per_class` (`{name: {sensitivity, specificity, auc, count}}`),
        `macro_auc` (mean over classes where defined), `confusion`, `calibration` (`ece`, `brier`).

    Raises:
        ValueError: shapes that do not belong together, no images, logits that are not finite.
    """
    logits, labels = _read("logits", logits, float), _read("labels", labels, int)
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"classes: expected a list of names, got {type(classes).__name__}")
    if labels.ndim != 1:
        raise ValueError(f"labels: expected [N], got {labels.shape}")
    if logits.shape != (len(labels), len(classes)) or not len(labels):
        raise ValueError(
            f"logits {logits.shape}: expected {(len(labels), len(classes))}, not empty"
        )
    if not np.isfinite(logits).all():
        raise ValueError("logits: expected finite values")
    probabilities = softmax(logits)
    confusion = confusion_matrix(labels, logits.argmax(1), len(classes))
    columns = {
        "sensitivity": sensitivity(confusion).tolist(),
        "specificity": specificity(confusion).tolist(),
        "auc": (auc := one_vs_rest_auc(probabilities, labels)).tolist(),
        "count": confusion.sum(1).tolist(),
    }
    return {
        "accuracy": float(np.trace(confusion) / len(labels)),
        "classes": list(classes),
        "per_class": {
            name: {column: values[k] for column, values in columns.items()}
            for k, name in enumerate(classes)
        },
        "macro_auc": float(np.nanmean(auc)) if np.isfinite(auc).any() else float("nan"),
        "confusion": confusion.tolist(),
        "calibration": {
            "ece": expected_calibration_error(probabilities, labels),
            "brier": brier_score(probabilities, labels),
        },
    }


def _read(name: str, values: ArrayValues, kind: type) -> np.ndarray:
    """An array of this kind of numbers.

    Raises:
        TypeError: it is none.
    """
    try:
        array = np.asarray(values)
        if array.size and array.dtype.kind in ("OUSMmc" if kind is float else "OUSMmcfb"):
            raise TypeError(array.dtype)
        return array.astype(kind)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected numbers ({kind.__name__}), got {error}") from error


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [N, K]."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))
