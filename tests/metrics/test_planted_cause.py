"""Short form of `python -m tests.planted_cause`: 25 seeds, where that has 100."""

from tests import planted_cause


def test_every_faithfulness_metric_ranks_the_true_map_first() -> None:
    found = planted_cause.wins(25)
    assert min(found.values()) >= 24, found
