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


def together(verdicts: Sequence[str]) -> str:
    """One of several that must all hold: it is small where one of them is."""
    if all(each == HOLDS for each in verdicts):
        return HOLDS
    return SMALL if SMALL in verdicts else OPEN


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
