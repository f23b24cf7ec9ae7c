"""What intervals say: an effect is there, is at most small, or is not decided."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.tables import DASH, bounds, defined, number
from jaxsal.metrics.bootstrap import FEWEST

Findings = Mapping[str, Any]
"""What the JSON file of an experiment holds."""

HOLDS, SMALL, OPEN = "shown", "small at most", "not decided"


def verdict(interval: Sequence[Any], *, margin: float = 0.0) -> str:
    """Whether the interval `[mean, low, high]` of an effect lies above 0, or below a margin.

    Not to be above 0 is no proof that there is no effect: that is said only of an interval that
    ends below what would be worth speaking of.
    """
    if not all(defined(value) for value in interval):
        return OPEN
    if interval[1] > 0:
        return HOLDS
    return SMALL if interval[2] < margin else OPEN


def of_edit(over_sham: Sequence[Any], over_control: Sequence[Any], *, margin: float) -> str:
    """What an edit's cost says, less that of its sham and less that of its control.

    It is shown where both lie above 0. Small at most is by the sham alone: a control may change
    more than the edit does, so that an edit that costs less than it is no proof of anything.
    """
    if verdict(over_sham) == verdict(over_control) == HOLDS:
        return HOLDS
    bounded = all(map(defined, over_sham)) and over_sham[2] < margin
    return SMALL if bounded else OPEN


def with_bounds(interval: Sequence[Any], digits: int = 2) -> str:
    """`mean [low, high]` as text."""
    if not defined(interval[0]):
        return DASH
    return f"{number(interval[0], digits)} {bounds(interval, lambda v: number(v, digits))}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def resampled(findings: Findings) -> str:
    """What the brackets of a table are; that files without patients make them too narrow."""
    unit, count = findings["bootstrap"], findings.get("clusters")
    if unit == "network":
        return (
            f"In brackets: 95 % intervals by Student's t of the means of {count} networks, each "
            "tested on patients that no other network is tested on; so they count patients and "
            "training. (The training sets overlap, which such an interval does not know.)"
        )
    brackets = f"In brackets: 95 % bootstrap intervals, resampled by {unit}."
    if count is not None:
        brackets = f"{brackets[:-1]} ({count} {unit}s)."
        if count < FEWEST:
            brackets = f"{count} {unit}s are too few for intervals: means stand alone."
    if unit == "patient":
        return brackets
    return (
        f"{brackets} The files name no patients: images of one patient count as independent, and "
        "these intervals are too narrow."
    )
