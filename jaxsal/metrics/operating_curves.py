"""Curves of a classifier's probabilities: the receiver operating characteristic, reliability."""

from typing import NamedTuple

import numpy as np

from jaxsal.types import ArrayValues


class Roc(NamedTuple):
    """A receiver operating characteristic, from (0, 0) to (1, 1).

    Attributes:
        false_positives, true_positives: rates `[M]`, at falling thresholds.
    """

    false_positives: np.ndarray
    true_positives: np.ndarray


def roc_curve(scores: ArrayValues, positive: ArrayValues) -> Roc:
    """The rates at which negatives and positives score at least a threshold, for every one.

    Args:
        scores: `[N]`. positive: truth values `[N]`.

    Returns:
        `Roc`; rates are NaN where there are no negatives, or no positives.

    Raises:
        ValueError: shapes that do not belong together.
    """
    scores, positive = np.asarray(scores, float), np.asarray(positive, bool)
    if scores.shape != positive.shape or scores.ndim != 1:
        raise ValueError(f"scores {scores.shape}: expected [N] as positive {positive.shape}")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    following = np.append(ordered[1:], np.nan)  # equal to nothing, as infinities are to each other
    last = np.flatnonzero(ordered != following)  # of equal scores
    rates = []
    for counted in (~positive[order], positive[order]):
        total = counted.sum()
        rate = np.cumsum(counted)[last] / total if total else np.full(len(last), np.nan)
        rates.append(np.concatenate([[0.0 if total else np.nan], rate]))
    return Roc(*rates)


class Reliability(NamedTuple):
    """Bins of equal width of the confidence: NaN where a bin is empty.

    Attributes:
        confidence, accuracy: means `[bins]`. images: how many `[bins]`.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    images: np.ndarray


def reliability(probabilities: ArrayValues, labels: ArrayValues, *, bins: int = 15) -> Reliability:
    """How often a prediction is right, by how sure it is (Niculescu-Mizil & Caruana 2005).

    Args:
        probabilities: `[N, K]`; the largest is the confidence. labels: int `[N]`.
        bins: over (0, 1], closed on the right, as of `expected_calibration_error`.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == labels
    member = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(member, minlength=bins)
    sums = (np.bincount(member, values, minlength=bins) for values in (confidence, hits))
    empty = np.full(bins, np.nan)
    means = [np.divide(s, count, out=empty.copy(), where=count > 0) for s in sums]
    return Reliability(means[0], means[1], count)
