"""Faithfulness metrics on classifiers whose cause is known."""

from tests import planted_cause


def test_every_faithfulness_metric_ranks_the_true_map_first() -> None:
    found = planted_cause.wins(planted_cause.SEEDS)
    assert min(found.values()) >= planted_cause.ENOUGH, found
