"""Ranks over several metrics."""

import numpy as np

from experiments.ranking import rank

ONES = np.ones(6)


def test_a_method_that_always_wins_is_first_without_doubt() -> None:
    values = {
        "good": {"up": 3 * ONES, "down": ONES},
        "bad": {"up": 2 * ONES, "down": 2 * ONES},
        "none": {"up": np.nan * ONES, "down": 3 * ONES},
    }
    found = rank(values, ["up", "down"], ["down"])
    assert found.best == "good"
    # What is not defined is as bad as the worst: a tie in "up".
    assert found.rank == {"good": [1, 1, 1], "bad": [2.25] * 3, "none": [2.75] * 3}
    assert found.behind["bad"] == [1.25, 1.25, 1.25]


def test_ties_share_a_rank_and_patients_are_drawn_whole() -> None:
    values = np.array([0.0, 0, 0, 1, 1, 1])
    table = {"a": {"m": values}, "b": {"m": 1 - values}}
    whole = rank(table, ["m"], [])
    assert whole.rank["a"][0] == whole.rank["b"][0] == 1.5
    # One patient holds all of either kind: half of the draws of two have one patient twice.
    two = rank(table, ["m"], [], np.repeat(["x", "y"], 3))
    assert two.rank["a"] == [1.5, 1.0, 2.0]


def test_what_is_not_defined_counts_as_the_worst_of_its_image() -> None:
    some = np.array([np.nan, 5.0, np.nan, 5, 5, 5])
    found = rank({"a": {"m": some}, "b": {"m": 4 * ONES}}, ["m"], [])
    assert found.rank["a"][0] == 1  # (4 + 5 + 4 + 5 + 5 + 5) / 6 against 4
    failing = np.array([np.nan, 5.0, np.nan, 5, 3, 3])
    found = rank({"a": {"m": failing}, "b": {"m": 4 * ONES}}, ["m"], [])
    assert found.rank["a"][0] == found.rank["b"][0] == 1.5


def test_rounding_does_not_rank() -> None:
    values = {"a": {"m": ONES}, "b": {"m": ONES + 1e-6}, "c": {"m": 0 * ONES}}
    found = rank(values, ["m"], [])
    assert found.rank["a"][0] == found.rank["b"][0] == 1.5
