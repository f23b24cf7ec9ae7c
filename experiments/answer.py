"""What a study answers, in a sentence that its numbers support, and when it answers nothing."""

import re
from collections.abc import Mapping
from typing import Any

from experiments.claims import HOLDS, SMALL, resampled, verdict, with_bounds
from experiments.controls import CONTROLS
from experiments.head import REGIONS
from experiments.tables import bounds, defined, percent, times
from jaxsal.commands import evaluation
from jaxsal.viz.page import conclusion as conclusion

Metrics = Mapping[str, Any]

NOTHING = (
    "Its maps show what it computes, not what tells the classes apart: no conclusion is drawn "
    "from them."
)

VERDICT = re.compile(r'<div class="verdict">.*?</div>', re.DOTALL)
"""A conclusion in a report: left out of that of a network at chance."""


def without_conclusions(page: str) -> str:
    return VERDICT.sub("", page)


def at_chance(metrics: Metrics) -> str:
    """Why nothing can be said of what the network looks at; "" where it has learned something.

    The rule is `jaxsal.metrics.chance.doubt`, that of every page.
    """
    why = evaluation.at_chance(metrics)
    return f"This network is not shown to be better than chance: {why}. {NOTHING}" if why else ""


def answer(metrics: Metrics) -> str:
    """Where the relevance of the network lies, in a sentence; what is not shown is said so."""
    relevance, name = of_first(metrics)
    methods = relevance.get("methods", {})
    if name is None:
        return (
            "There are no masks of what is to be found, so where the relevance lies is shown in "
            "pictures, not measured."
        )
    own, gaps = methods[name], relevance.get("differences", {}).get(name, {})
    density = own["tumour"]["density"]
    even = methods.get("even in the head", {}).get("tumour", {}).get("density", [None])[0]
    often = f"{_round(density[0])} {bounds(density, _round)}".rstrip()
    if EVEN in gaps and verdict(gaps[EVEN]) != HOLDS:
        return (
            f"Not shown to be at the tumours: for their area, {name} are not shown to put more "
            f"relevance there than a map that is even in the head ({often} and {times(even)} times "
            "as much as one that is even over the image)."
        )
    in_head = (
        f" ({_round(density[0] / even)} times a map even in the head)" if defined(even) else ""
    )
    lead, beside = _beside(own, gaps)
    said = (
        f"{lead}{name} put {often} times as much relevance into tumours"
        f"{'' if lead else ', for their area,'} as an even map over the image{in_head}, {beside}."
    )
    return said[0].upper() + said[1:]


EVEN, BESIDE = "tumour - even", "tumour - surround"
"""The differences that the answer is about."""


def _beside(own: Metrics, gaps: Metrics) -> tuple[str, str]:
    """What the tumours' relevance beside that of their surround says first, and last."""
    density, surround = own["tumour"]["density"], own["surround"]["density"]
    found = verdict(gaps[BESIDE]) if BESIDE in gaps else HOLDS
    if found == SMALL:
        around = f"{_round(surround[0])} {bounds(surround, _round)}".rstrip()
        lead = "More around the tumours than in them, for their area: "
        return lead, f"and {around} times as much into their surround"
    if found != HOLDS:
        return "", "and are not shown to put more into them than into their surround"
    lead = "More at the tumours than elsewhere, for their area: " if BESIDE in gaps else ""
    if not defined(surround[0]) or not surround[0]:
        return lead, "and none into their surround"
    return lead, f"and {_round(density[0] / surround[0])} times as much as into their surround"


def certainty(metrics: Metrics) -> list[str]:
    """How sure the answer is, and of what it is one; nothing without an answer."""
    relevance, name = of_first(metrics)
    if name is None:
        return []
    own = relevance["methods"][name]
    shares = ", ".join(f"{part} {percent(own[part]['share'][0])}" for part in REGIONS[1:])
    told = [
        f"Measured on {_of_how_many(relevance)}, those that have a mask and are named right. "
        f"{resampled(relevance)} One network: the intervals do not count training.",
        f"Of all relevance, tumours hold {percent(own['tumour']['share'][0])} (on "
        f"{percent(own['tumour']['area'])} of the area), {shares}. Relevance is how much a pixel "
        "speaks for or against the class that is named.",
    ]
    untrained = metrics.get("sanity", {}).get(name, {}).get("in_head", [None])
    if defined(untrained[0]):
        told.append(
            "Rank correlation with the maps of an untrained network, in the head: "
            f"{with_bounds(untrained)}; near 1 the maps would be the same whatever was learned."
        )
    return told


def _of_how_many(relevance: Metrics) -> str:
    left = sum(relevance.get("excluded", {}).get(why, 0) for why in ("no mask", "misclassified"))
    return f"{relevance['cases']} of the {relevance['cases'] + left} test images explained"


def of_first(metrics: Metrics) -> tuple[Metrics, str | None]:
    """What was measured with masks, and the method that the answer is about; None without."""
    relevance = metrics.get("relevance", {})
    name = first_method(relevance.get("methods", {})) if relevance.get("cases") else None
    return relevance, name


def first_method(methods: Mapping[str, Any]) -> str | None:
    """The method that the answer is about: integrated gradients add up to the score."""
    names = [name for name in methods if name not in CONTROLS]
    return min(names, key=lambda name: "integrated" not in name, default=None)


def _round(value: float) -> str:
    """A ratio in two figures: 1.8, 21."""
    return times(value) if value < 1 else f"{value:.0f}" if value >= 10 else f"{value:.1f}"
