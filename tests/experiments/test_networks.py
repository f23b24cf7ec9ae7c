"""Several networks as one: Student's intervals, and how alike they rank."""

import numpy as np
import pytest
import scipy.stats

from experiments import networks

MEANS = [0.9, 0.95, 0.92, 0.97, 0.91]


def test_intervals_of_a_mean_of_networks_are_students() -> None:
    found = networks.mean_interval(MEANS)
    exact = scipy.stats.ttest_1samp(MEANS, 0).confidence_interval()
    np.testing.assert_allclose(found, [np.mean(MEANS), exact.low, exact.high])
    np.testing.assert_allclose(networks.mean_interval([*MEANS, None, float("nan")]), found)
    assert np.isnan(networks.mean_interval([0.5]).low) and networks.mean_interval([0.5]).mean == 0.5
    assert np.isnan(networks.mean_interval([]).mean)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(2.0, 3.0, (2000, 5))
    held = [low <= 2.0 <= high for _, low, high in map(networks.mean_interval, draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_one_record_of_several() -> None:
    def record(mean: float, cases: int, *labels: str) -> dict:
        return {
            "cases": cases,
            "shams": 3,
            "bootstrap": "patient",
            "clusters": 40,
            "classes": ["a", "b"],
            "by_class_cases": {name: cases for name in labels},
            "edits": {"removed": {"drop": [mean, mean - 1, mean + 1], "control": "none"}},
            "share": mean,
            "empty": [None, None, None],
        }

    found = networks.pooled([record(1.0, 3, "a"), record(2.0, 4, "a", "b"), record(6.0, 5, "b")])
    assert (found["cases"], found["shams"], found["clusters"]) == (12, 3, 3)
    assert found["bootstrap"] == "network" and found["classes"] == ["a", "b"]
    assert found["by_class_cases"] == {"a": 7, "b": 9}
    assert found["share"] == 3.0
    drop = found["edits"]["removed"]["drop"]
    np.testing.assert_allclose(drop, networks.mean_interval([1.0, 2.0, 6.0]))
    assert found["edits"]["removed"]["control"] == "none"
    assert np.isnan(found["empty"]).all()


def ranks(*orders: str) -> list[dict[str, float]]:
    return [{name: float(at) for at, name in enumerate(order)} for order in orders]


def test_networks_that_rank_alike_agree_wholly_and_those_that_reverse_not_at_all() -> None:
    np.testing.assert_allclose(networks.agreement(ranks("abcd", "abcd", "abcd")), [1, 1, 1])
    found = networks.agreement(ranks("abcd", "dcba"))
    assert found.mean == -1 and np.isnan(found.low)
    # One adjacent swap of six pairs: tau is 2/3 to each of the two others, which agree wholly.
    found = networks.agreement(ranks("abcd", "abcd", "abdc"))
    assert found.mean == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert found.low < found.mean < found.high <= 1


def test_networks_that_rank_at_random_are_not_shown_to_agree() -> None:
    random = np.random.default_rng(0)
    held = []
    for _ in range(60):
        drawn = [dict(zip("abcdefgh", 1.0 * random.permutation(8), strict=True)) for _ in range(5)]
        _, low, high = networks.agreement(drawn)
        held.append(low <= 0 <= high)
    assert np.mean(held) > 0.9


@pytest.mark.parametrize("given", [[], ranks("ab"), ranks("ab", "ac")])
def test_ranks_of_other_methods_are_refused(given) -> None:
    with pytest.raises(ValueError, match="ranks: expected those of the same methods in two"):
        networks.agreement(given)
