"""What intervals say: a claim holds, does not hold, or is not decided."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.tables import DASH, bounds, defined, number, text

HOLDS, AGAINST, OPEN = "holds", "does not hold", "is not decided"


def verdict(interval: Sequence[Any], *, above: float = 0.0) -> str:
    """Whether an interval `[mean, low, high]` lies above a value, below it, or around it."""
    if not all(defined(value) for value in interval):
        return OPEN
    if interval[1] > above:
        return HOLDS
    return AGAINST if interval[2] < above else OPEN


def together(verdicts: Sequence[str]) -> str:
    """One of several verdicts: holds if all hold, does not if any does not."""
    if all(each == HOLDS for each in verdicts):
        return HOLDS
    return AGAINST if AGAINST in verdicts else OPEN


def said(interval: Sequence[Any], digits: int = 2) -> str:
    """`mean [low, high]` as text."""
    if not defined(interval[0]):
        return DASH
    return f"{number(interval[0], digits)} {bounds(interval, lambda v: number(v, digits))}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def bullets(items: Sequence[str]) -> str:
    """Plain sentences as a list."""
    return f"<ul>{''.join(f'<li>{text(item)}</li>' for item in items)}</ul>"


def resampled(record: Mapping[str, Any]) -> str:
    """What the brackets of a table are; that files without patients make them too narrow."""
    unit = record["bootstrap"]
    told = f"In brackets: 95 % bootstrap intervals, resampled by {unit}."
    if unit == "patient":
        return told
    return (
        f"{told} The files name no patients: slices of one patient count as independent, and these "
        "intervals are too narrow."
    )
