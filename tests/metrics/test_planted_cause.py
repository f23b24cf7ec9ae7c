"""Faithfulness metrics find a planted cause; `python -m tests.planted_cause` asks 100 seeds."""

from tests import planted_cause

SEEDS, ENOUGH = 20, 19


def test_every_faithfulness_metric_ranks_the_true_map_first() -> None:
    found = planted_cause.wins(SEEDS)
    assert min(found.values()) >= ENOUGH, found
