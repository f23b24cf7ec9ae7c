"""How sure is a mean? Bootstrap intervals that resample patients rather than their images."""

import functools
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxsal.types import ArrayValues, Results

FEWEST = 10
"""Clusters below which no interval is given: resamples of few patients say little of others."""


class Interval(NamedTuple):
    """A mean and the bounds of its interval; a JSON list `[mean, low, high]`."""

    mean: float
    low: float
    high: float


def mean_interval(
    values: ArrayValues,
    clusters: ArrayValues | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    fewest: int = FEWEST,
) -> Interval:
    """Mean of the finite values and its percentile bootstrap interval (Efron 1979).

    Clusters (patients) are drawn with replacement, as many as there are, each with all its values:
    images of one patient are not independent. `mean* = sum of sums / sum of counts` of those drawn.

    Args:
        values: `[N]` numbers or truth values; what is not finite is left out before the draw.
        clusters: `[N]` labels of any type; each value without a label ("", None, NaN) is a cluster
            of its own, and with None every value is.
        level: probability content. resamples: number of draws. seed: of the draws.
        fewest: clusters below which there are no bounds; 2 at least (nothing to resample).

    Returns:
        `Interval`; the mean is NaN where no value is finite, the bounds are where fewer clusters
        than `fewest` have one.

    Raises:
        ValueError: values that are no vector, clusters of another length, a level outside (0, 1).
    """
    values, groups = _checked(values, clusters, level)
    finite = np.isfinite(values)
    if not finite.any():
        return Interval(np.nan, np.nan, np.nan)
    values = values[finite]
    _, groups = np.unique(groups[finite], return_inverse=True)
    mean = float(values.mean())
    count = int(groups.max()) + 1
    if count < max(fewest, 2):
        return Interval(mean, np.nan, np.nan)
    means = _drawn_means(values, groups, resample_counts(count, resamples, seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def share_interval(
    hits: ArrayValues, clusters: ArrayValues | None = None, **options: Any
) -> Interval:
    """`mean_interval` of truth values; where all are equal, by Wilson's score (1927) instead.

    Resamples of ten hits of ten are all ten of ten, which is no certainty: for n clusters
    `1 / (1 + z²/n)` bounds the share of hits from below, and of misses alike.
    """
    found = mean_interval(hits, clusters, **options)
    if found.low < found.high or found.mean not in (0.0, 1.0):
        return found
    values, groups = _checked(hits, clusters, options.get("level", 0.95))
    count = len(np.unique(groups[np.isfinite(values)]))
    if count < max(options.get("fewest", FEWEST), 2):
        return found
    z = statistics.NormalDist().inv_cdf((1 + options.get("level", 0.95)) / 2)
    bound = 1 / (1 + z**2 / count)
    return Interval(1.0, bound, 1.0) if found.mean else Interval(0.0, 0.0, 1 - bound)


def cluster_count(values: ArrayValues, clusters: ArrayValues | None = None) -> int:
    """How many clusters have a finite value, as `mean_interval` counts them."""
    numbers, groups = _checked(values, clusters, 0.95)
    return len(np.unique(groups[np.isfinite(numbers)]))


def difference_interval(
    first: ArrayValues, second: ArrayValues, clusters: ArrayValues | None = None, **options: Any
) -> Interval:
    """Interval of the mean of paired differences `first - second`, options as for `mean_interval`.

    Pairs of which one is not finite are left out. Two measures of the same images are compared this
    way, never by whether their own intervals overlap.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape:
        raise ValueError(f"second {second.shape}: expected {first.shape} as the first")
    return mean_interval(first - second, clusters, **options)


def group_difference(
    values: ArrayValues,
    first: ArrayValues,
    clusters: ArrayValues | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    fewest: int = FEWEST,
) -> Interval:
    """Mean of one group's values less that of all others', and its percentile bootstrap interval.

    Clusters are drawn whole, as by `mean_interval`; a draw without one of the groups is left out.

    Args:
        values: `[N]`; what is not finite is left out.
        first: bool `[N]`, which belong to the first group.
        clusters: as for `mean_interval`, as are the options.
        fewest: clusters of either group below which there are no bounds.

    Raises:
        ValueError: as of `mean_interval`, or groups of another length.
    """
    values, groups = _checked(values, clusters, level)
    own = np.asarray(first, bool)
    if own.shape != values.shape:
        raise ValueError(f"first {own.shape}: expected {values.shape} as the values")
    finite = np.isfinite(values)
    values, own = values[finite], own[finite]
    if not own.any() or own.all():
        return Interval(np.nan, np.nan, np.nan)
    difference = float(values[own].mean() - values[~own].mean())
    _, groups = np.unique(groups[finite], return_inverse=True)
    # A group of one patient has the same mean in every draw, which is no certainty.
    if min(len(np.unique(groups[rows])) for rows in (own, ~own)) < max(fewest, 2):
        return Interval(difference, np.nan, np.nan)
    drawn = resample_counts(int(groups.max()) + 1, resamples, seed)
    first_means, other_means = (
        _drawn_means(values[rows], groups[rows], drawn) for rows in (own, ~own)
    )
    gaps = first_means - other_means
    low, high = np.nanquantile(gaps, [(1 - level) / 2, (1 + level) / 2])
    return Interval(difference, float(low), float(high))


def summarise(measures: Results, clusters: ArrayValues | None = None, **options: Any) -> Results:
    """`[mean, low, high]` in place of each array `[N]` of a dict (of dicts) of measures.

    Args:
        measures: a dict, nested to any depth, of `[N]`, as `localize` gives it.
        clusters: as for `mean_interval`, as are the options. The draws are the same for all.
    """
    if isinstance(measures, Mapping):
        return {name: summarise(part, clusters, **options) for name, part in measures.items()}
    return list(mean_interval(measures, clusters, **options))


@functools.lru_cache(maxsize=4)
def resample_counts(clusters: int, resamples: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn `[resamples, clusters]`; kept, as many measures share it."""
    even = np.full(clusters, 1 / clusters)
    drawn = np.random.default_rng(seed).multinomial(clusters, even, size=resamples)
    drawn = drawn.astype(np.float32)
    drawn.flags.writeable = False
    return drawn


def _drawn_means(values: np.ndarray, groups: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The mean of the values of each draw, [resamples]; NaN of one without any.

    Args:
        groups: the cluster of each value, [N]. drawn: as of `resample_counts`.
    """
    clusters = drawn.shape[1]
    sums, counts = np.bincount(groups, values, clusters), np.bincount(groups, minlength=clusters)
    # einsum, not matmul: its order of summation does not depend on the machine's BLAS.
    with np.errstate(invalid="ignore"):
        return np.einsum("rg,g->r", drawn, sums) / np.einsum("rg,g->r", drawn, counts)


def _checked(
    values: ArrayValues, clusters: ArrayValues | None, level: float
) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, float)
    if values.ndim != 1:
        raise ValueError(f"values {values.shape}: expected a vector")
    if not 0 < level < 1:
        raise ValueError(f"level {level}: expected a number between 0 and 1")
    own = np.arange(len(values))
    if clusters is None:
        return values, own
    labels = np.asarray(clusters)
    if labels.shape != values.shape:
        raise ValueError(f"clusters {labels.shape}: expected {values.shape} as the values")
    names = labels.tolist()
    named = np.asarray([_is_named(each) for each in names], bool)
    number = {each: i for i, each in enumerate(_ordered(names, named))}
    groups = [number[each] if known else -1 for each, known in zip(names, named, strict=True)]
    return values, np.where(named, groups, len(values) + own)


def _is_named(label: Any) -> bool:
    """Whether a label says whose a value is: not "", None, NaN or pandas' NA."""
    if isinstance(label, str | bytes):
        return len(label) > 0
    try:
        return label is not None and bool(label == label)
    except TypeError:  # NA is neither true nor false
        return False


def _ordered(names: list[Any], named: np.ndarray) -> list[Any]:
    """The different names in order, by which they are drawn; of several types as they come."""
    distinct = dict.fromkeys(each for each, known in zip(names, named, strict=True) if known)
    try:
        return sorted(distinct)
    except TypeError:
        return list(distinct)
