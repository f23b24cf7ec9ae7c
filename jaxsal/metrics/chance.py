"""Has a classifier learned anything? What guessing reaches, and one class said of everything."""

from collections.abc import Sequence

import numpy as np

from jaxsal.types import ArrayValues

NEARLY_ALL = 0.95
"""From which share of the images on one class is said of nearly all."""
LEVEL = 0.05
"""Above which share of shuffled labels an accuracy is no better than chance."""


def one_class(predictions: ArrayValues) -> tuple[int, float]:
    """The class that is predicted most often, and for which share of the images `[N]`.

    Raises:
        ValueError: no predictions.
    """
    values, counts = np.unique(np.asarray(predictions), return_counts=True)
    if not len(values):
        raise ValueError("predictions: expected at least one")
    most = counts.argmax()
    return int(values[most]), float(counts[most] / counts.sum())


def chance(
    labels: ArrayValues, predictions: ArrayValues, *, draws: int = 2000, seed: int = 0
) -> float:
    """The share of shuffled labels that the predictions meet as often as the true ones.

    A permutation test (Fisher 1935) of the accuracy: what predictions of the same frequencies
    reach without looking. The true order counts as one draw; 1 where one class is said of all.

    Args:
        labels: int `[N]`. predictions: int `[N]`. draws: shuffles. seed: of the shuffles.

    Raises:
        ValueError: another number of labels than of predictions, or none.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels {labels.shape}: expected [N] as predictions {predictions.shape}")
    random = np.random.default_rng(seed)
    hits = int((labels == predictions).sum())
    shuffled = [int((random.permutation(labels) == predictions).sum()) for _ in range(draws)]
    return (1 + sum(each >= hits for each in shuffled)) / (1 + draws)


def agreement(confusion: ArrayValues) -> float:
    """The accuracy that the predictions reach on shuffled labels, on average.

    `sum over classes of rows_k columns_k / N^2`, the agreement by chance of Cohen (1960): the share
    of the most frequent class where one class is said of all.

    Args:
        confusion: counts `[K, K]`, a true class a row.
    """
    counts = np.asarray(confusion, float)
    return float(counts.sum(1) @ counts.sum(0) / counts.sum() ** 2)


def doubt(
    confusion: ArrayValues,
    interval: Sequence[float | None] | None = None,
    share: float | None = None,
) -> str:
    """Why an accuracy is not shown to be better than chance, in words; "" where it is.

    It is where few shuffled labels give it (`chance`), and the interval, in which patients count
    as one where they are known, lies above what guessing reaches (`agreement`).

    Args:
        confusion: counts `[K, K]`, a true class a row.
        interval: of the accuracy, by patient; None where patients are unknown.
        share: what `chance` found; None: it is asked.
    """
    counts = np.asarray(confusion, int)
    if not counts.sum():
        return ""
    accuracy = counts.trace() / counts.sum()
    if share is None:
        labels, predictions = np.indices(counts.shape).reshape(2, -1).repeat(counts.ravel(), 1)
        share = chance(labels, predictions)
    if share > LEVEL:
        return f"of shuffled labels {share:.0%} give its accuracy of {accuracy:.3f} or more"
    guessed, low = agreement(counts), (interval or [None])[0]
    if low is None or not low <= guessed:  # NaN is no bound
        return ""
    return (
        f"its accuracy is {accuracy:.3f}, by its interval perhaps {low:.3f}, and guessing as often "
        f"of each class is right for {guessed:.3f}"
    )
