"""Several networks as one finding: means over networks, with intervals that count training too.

The networks of the folds are each tested on patients that no other one is tested on, and each is
trained anew. So the spread of their means is that of patients and of training together.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from experiments.claims import Findings
from experiments.tables import defined
from jaxsal.metrics.bootstrap import Interval

COUNTS = ("cases", "without_place", "defined", "few")
"""What is added up over networks."""
LARGEST = ("most_points",)
"""Of what the largest over networks counts."""
COUNTS_BY_NAME = ("by_class_cases", "excluded", "undefined")
"""What is added up name by name."""
LIMITS = {
    **dict.fromkeys(("named", "named_in_others", "changed", "complete", "area"), (0, 1)),
    **dict.fromkeys(("in_head", "spearman", "ssim", "cosine"), (-1, 1)),
}
"""Shares and similarities: what they lie between, and their bounds with them."""


def mean_interval(means: Sequence[float | None], *, level: float = 0.95) -> Interval:
    """The mean of K networks' means, and its interval by Student's t with K - 1 degrees of freedom.

    Networks in which it is not defined are left out; of one network there are no bounds. The
    training sets of folds overlap, which makes their means more alike than those of independent
    networks (Bengio and Grandvalet, JMLR 2004): the interval does not know it.
    """
    known = np.array([each for each in means if defined(each)], float)
    if not len(known):
        return Interval(np.nan, np.nan, np.nan)
    if len(known) < 2:
        return Interval(float(known.mean()), np.nan, np.nan)
    half = scipy.stats.t.ppf((1 + level) / 2, len(known) - 1) * scipy.stats.sem(known)
    return Interval(float(known.mean()), float(known.mean() - half), float(known.mean() + half))


def pooled(records: Sequence[Findings]) -> dict[str, Any]:
    """One record in place of those of several networks.

    Every `[mean, low, high]` becomes the mean of the networks' means and its interval (within
    `LIMITS`), every float the mean of the networks', counts their sums; all else is the first's.
    """
    return pooled_parts(records) | {"bootstrap": "network", "clusters": len(records)}


def pooled_parts(records: Sequence[Findings]) -> dict[str, Any]:
    """`pooled` of parts of records, which do not say themselves what their intervals are of."""
    return {name: _pooled(name, [each.get(name) for each in records]) for name in _names(records)}


def measures(values: Sequence[Any]) -> Any:
    """Numbers of several networks, alone or in dicts, as `[mean, low, high]` over them.

    They are not below 0; bounds end there, and of shares at 1.
    """
    if isinstance(values[0], Mapping):
        return {key: measures([each.get(key) for each in values]) for key in _names(values)}
    most = 1.0 if all(each is None or each <= 1 for each in values) else np.inf
    return [float(np.clip(value, 0, most)) for value in mean_interval(values)]


def _names(values: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(name for each in values if each for name in each))


def _pooled(name: str, values: Sequence[Any]) -> Any:
    there = [value for value in values if value is not None]
    first = there[0] if there else None
    if name in COUNTS:
        return sum(there)
    if name in LARGEST:
        return max(there)
    if name in COUNTS_BY_NAME:
        return {label: sum(each.get(label, 0) for each in there) for label in _names(there)}
    if isinstance(first, Mapping):
        return {key: _pooled(key, [each.get(key) for each in there]) for key in _names(there)}
    if _is_interval(first):
        found = mean_interval([value[0] for value in there])
        return [float(each) for each in np.clip(found, *LIMITS.get(name, (-np.inf, np.inf)))]
    if isinstance(first, float):
        return float(np.mean(there))
    return first


def _is_interval(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 3
    return numbers and all(each is None or isinstance(each, int | float) for each in value)


def agreement(ranks: Sequence[Mapping[str, float]]) -> Interval:
    """How alike K networks rank the same methods: Kendall's tau, the mean over pairs of networks.

    Its interval is the jackknife's over networks (Arvesen 1969, of a mean over pairs): with T that
    mean and T_i the one without network i, Student's t of the K values K T - (K - 1) T_i. Of two
    networks there are no bounds.

    Args:
        ranks: by network, each method's.

    Raises:
        ValueError: fewer than two networks, or other methods in one of them.
    """
    names = list(ranks[0]) if ranks else []
    if len(ranks) < 2 or any(set(each) != set(names) for each in ranks):
        raise ValueError("ranks: expected those of the same methods in two networks or more")
    table = [[each[name] for name in names] for each in ranks]
    count, whole = len(table), _mean_tau(table)
    if count < 3:
        return Interval(whole, np.nan, np.nan)
    without = [_mean_tau([*table[:i], *table[i + 1 :]]) for i in range(count)]
    _, low, high = mean_interval([count * whole - (count - 1) * each for each in without])
    return Interval(whole, max(low, -1.0), min(high, 1.0))


def _mean_tau(table: Sequence[Sequence[float]]) -> float:
    pairs = itertools.combinations(table, 2)
    return float(np.mean([scipy.stats.kendalltau(one, other).statistic for one, other in pairs]))
