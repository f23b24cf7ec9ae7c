"""Has a classifier learned anything? What guessing reaches, and one class said of everything."""

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
