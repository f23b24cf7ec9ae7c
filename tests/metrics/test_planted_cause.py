"""Faithfulness metrics find a planted cause; `python -m tests.planted_cause` asks 100 seeds."""

from jaxsal import metrics
from tests import planted_cause

SEEDS, ENOUGH = 20, 19


def test_every_faithfulness_metric_ranks_the_true_map_first() -> None:
    """In the direction that `LOWER_IS_BETTER` tells."""
    found = planted_cause.wins(SEEDS)
    assert min(found.values()) >= ENOUGH, found
    asked = {name.split()[0] for name in found}
    assert asked == {row.function.__name__ for row in metrics.TABLE if row.family == "faithfulness"}
