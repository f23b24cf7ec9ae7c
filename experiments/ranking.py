"""Methods ranked over several metrics, with intervals that resample images or patients."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from jaxsal.metrics.bootstrap import resample_counts

RESAMPLES = 1000
SAME = 1e-4


class Ranking(NamedTuple):
    """Mean ranks of M methods over a family of metrics, 1 the best.

    Attributes:
        rank: `{method: [mean, low, high]}`.
        behind: the same of a method's mean rank less that of the best one: of paired resamples.
        best: the method of the least mean rank.
    """

    rank: dict[str, list[float]]
    behind: dict[str, list[float]]
    best: str


def rank(
    values: Mapping[str, Mapping[str, np.ndarray]],
    metrics: Sequence[str],
    lower: Sequence[str],
    clusters: Any = None,
    *,
    seed: int = 0,
) -> Ranking:
    """Ranks of the mean over images in each metric, averaged over the metrics.

    Where a metric is not defined for a method's map of an image (one without relevance has no
    order) it counts as the worst value of that image; were it left out, maps that fail would raise
    a method's rank. Means that differ by less than `SAME` of the methods' spread are ties, which
    share their mean rank.

    Args:
        values: `{method: {metric: [N]}}`.
        metrics: which count. lower: of which of them lower values are better.
        clusters: [N] patients, drawn whole; None: images.
    """
    names = list(values)
    sign = np.array([-1.0 if metric in lower else 1.0 for metric in metrics])
    table = np.array([[np.asarray(values[n][m], float) for m in metrics] for n in names])
    table = _filled(table * sign[:, None])  # [methods, metrics, N], higher is better
    weights = _weights(table.shape[-1], clusters, seed)
    drawn = np.stack([_mean_ranks(table, each) for each in weights])
    whole = _mean_ranks(table, np.ones(table.shape[-1]))
    first = int(whole.argmin())
    return Ranking(
        dict(zip(names, _intervals(whole, drawn), strict=True)),
        dict(zip(names, _intervals(whole - whole[first], drawn - drawn[:, [first]]), strict=True)),
        names[first],
    )


def _weights(count: int, clusters: Any, seed: int) -> np.ndarray:
    """How often each image counts in each resample, [resamples, N]."""
    labels = np.arange(count) if clusters is None else np.asarray(clusters)
    _, groups = np.unique(labels, return_inverse=True)
    drawn = resample_counts(int(groups.max()) + 1, RESAMPLES, seed)
    return drawn[:, groups].astype(float)


def _filled(table: np.ndarray) -> np.ndarray:
    """The worst value of a metric on an image in place of what is not finite; 0 where none is."""
    finite = np.isfinite(table)
    worst = np.where(finite, table, np.inf).min(0)
    return np.where(finite, table, np.where(np.isfinite(worst), worst, 0))


def _mean_ranks(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean over metrics of each method's rank by its weighted mean, [methods]."""
    means = table @ weights / weights.sum()
    spread = np.ptp(means, axis=0)
    steps = np.round(means / np.where(spread > 0, SAME * spread, 1))
    return scipy.stats.rankdata(-steps, axis=0).mean(1)


def _intervals(whole: np.ndarray, drawn: np.ndarray) -> list[list[float]]:
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [[float(x) for x in row] for row in zip(whole, low, high, strict=True)]
