"""What a study answers, in a sentence that its numbers support, and when it answers nothing."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.claims import HOLDS, resampled, verdict, with_bounds
from experiments.controls import CONTROLS
from experiments.head import REGIONS
from experiments.tables import bounds, defined, number, percent, text, times
from jaxsal.metrics.chance import LEVEL
from jaxsal.viz.page import bullets

Metrics = Mapping[str, Any]

NOTHING = (
    "Its maps show what it computes, not what tells the classes apart: no conclusion is drawn "
    "from them."
)

VERDICT = re.compile(r'<div class="verdict">.*?</div>', re.DOTALL)
"""A conclusion in a report; there is no other `div` in it."""


def conclusion(body: str) -> str:
    """HTML of what follows from a table: left out of the report of a network at chance."""
    return f'<div class="verdict">{body}</div>'


def without_conclusions(page: str) -> str:
    return VERDICT.sub("", page)


def at_chance(metrics: Metrics) -> str:
    """Why nothing can be said of what the network looks at; "" where it has learned something.

    It has where few shuffled labels give its accuracy (`jaxsal.metrics.chance`), and the interval
    of its accuracy lies above the share of the most frequent class, which one gets by always naming
    it.
    """
    if (metrics.get("chance") or 0) > LEVEL:
        return (
            f"This network is not shown to be better than chance: {percent(metrics['chance'])} of "
            f"shuffled labels give its accuracy or more. {NOTHING}"
        )
    counts = [sum(row) for row in metrics.get("confusion", ())]
    interval = metrics.get("accuracy_interval")
    if not sum(counts) or not interval or not all(defined(bound) for bound in interval):
        return ""
    most = max(range(len(counts)), key=counts.__getitem__)
    always = counts[most] / sum(counts)
    if interval[0] > always:
        return ""
    name = [*metrics.get("classes", ()), *map(str, range(len(counts)))][most]
    return (
        f"This network is not shown to be better than chance: its accuracy is "
        f"{percent(metrics.get('accuracy'))} {bounds(interval, percent)}, and always answering "
        f"{name} is right for {percent(always)}. {NOTHING}"
    )


def answer(metrics: Metrics) -> str:
    """Where the relevance of the network lies, in a sentence; what is not shown is said so."""
    relevance, name = _of_first(metrics)
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
    if "tumour - even" in gaps and verdict(gaps["tumour - even"]) != HOLDS:
        return (
            f"Not shown to be at the tumours: for their area, {name} are not shown to put more "
            f"relevance there than a map that is even in the head ({often} and {times(even)} times "
            "as much as one that is even over the image)."
        )
    than_head = (
        f", {_round(density[0] / even)} times one in the head alone" if defined(even) else ""
    )
    shown = [key in gaps and verdict(gaps[key]) == HOLDS for key in ("tumour - even", BESIDE)]
    lead = "More at the tumours than elsewhere, for their area: " if all(shown) else ""
    said = (
        f"{lead}{name} put {often} times as much relevance into tumours{'' if lead else AREA} as "
        f"an even map over the image{than_head}, and {_beside(own, gaps)}."
    )
    return said[0].upper() + said[1:]


BESIDE, AREA = "tumour - surround", ", for their area,"


def certainty(metrics: Metrics) -> list[str]:
    """How sure the answer is, and of what it is one; nothing without an answer."""
    relevance, name = _of_first(metrics)
    if name is None:
        return []
    own = relevance["methods"][name]
    shares = ", ".join(f"{part} {percent(own[part]['share'][0])}" for part in REGIONS[1:])
    told = [
        f"Measured on {relevance['cases']} test images whose tumour the network names right. "
        f"{resampled(relevance)}",
        f"Of all relevance, tumours hold {percent(own['tumour']['share'][0])} (on "
        f"{percent(own['tumour']['area'])} of the area), {shares}. Relevance is how much a pixel "
        "speaks for or against the class that is named.",
    ]
    untrained = metrics.get("sanity", {}).get(name, {}).get("in_head", [None])
    if defined(untrained[0]):
        told.append(
            "Rank correlation with the maps of an untrained network, in the head: "
            f"{with_bounds(untrained)}, where 1 is the same maps whatever was learned."
        )
    return told


def _of_first(metrics: Metrics) -> tuple[Metrics, str | None]:
    """What was measured with masks, and the method that the answer is about; None without."""
    relevance = metrics.get("relevance", {})
    name = first_method(relevance.get("methods", {})) if relevance.get("cases") else None
    return relevance, name


def _beside(own: Metrics, gaps: Metrics) -> str:
    """The tumours' relevance beside that of their surround."""
    density, surround = own["tumour"]["density"][0], own["surround"]["density"][0]
    if BESIDE in gaps and verdict(gaps[BESIDE]) != HOLDS:
        return "are not shown to put more into them than into their surround"
    if not defined(surround) or not surround:
        return "none into their surround"
    return f"{_round(density / surround)} times as much as into their surround"


def first_method(methods: Mapping[str, Any]) -> str | None:
    """The method that the answer is about: integrated gradients add up to the score."""
    names = [name for name in methods if name not in CONTROLS]
    return min(names, key=lambda name: "integrated" not in name, default=None)


def _round(value: float) -> str:
    """A ratio in two figures: 1.8, 21."""
    return times(value) if value < 1 else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


Card = tuple[str, str, str]
"""A headline number: what it is, the number, and a note."""


def cards(metrics: Metrics) -> list[Card]:
    """The headline numbers, in words that need no other reading."""
    interval = bounds(metrics.get("accuracy_interval"), percent)
    if clusters := metrics.get("clusters"):
        interval = f"{interval or 'too few for an interval:'} {clusters} {metrics['bootstrap']}s"
    if metrics.get("bootstrap") == "image":
        interval += ", by image: too narrow, the files name no patients"
    found = [] if at_chance(metrics) else _shares(metrics)
    found.append(("of the test images named right", percent(metrics.get("accuracy")), interval))
    found.append(
        (
            "area under the ROC curve",
            number(metrics.get("macro_auc")),
            "each class against the rest, averaged; 0.5 is guessing, 1 is perfect",
        )
    )
    error = metrics.get("calibration", {}).get("ece")
    found.append(
        (
            "between a stated probability and how often it comes true",
            number(error),
            "the expected calibration error, on average; 0 is perfect",
        )
    )
    return found


def _shares(metrics: Metrics) -> list[Card]:
    """How much of all relevance lies in tumours, beside how large they are."""
    relevance, name = _of_first(metrics)
    if name is None:
        return []
    share, area = (relevance["methods"][name]["tumour"][key] for key in ("share", "area"))
    note = f"on {percent(area)} of the area; by {name}"
    note = f"{bounds(share, percent)} {note}".lstrip()
    return [("of the relevance lies in tumours", percent(share[0]), note)]


def answer_html(metrics: Metrics) -> str:
    """The head of a report: a banner where the network is at chance, else the answer; the cards."""
    warning = at_chance(metrics)
    if warning and metrics.get("warnings"):  # the page's banner says why
        lead = f'<p class="answer">{text(NOTHING)}</p>'
    elif warning:
        lead = f'<p class="banner" role="alert"><b>At chance.</b> {text(warning)}</p>'
    else:
        lead = f'<p class="answer">{text(answer(metrics))}</p>'
        if sure := certainty(metrics):
            lead += f'<div class="sure"><b>How sure?</b>{bullets(sure)}</div>'
    return f'{lead}<div class="cards">{"".join(map(_card, cards(metrics)))}</div>'


def _card(card: Sequence[str]) -> str:
    name, value, note = map(text, card)
    return f'<div class="card"><b>{value}</b><span>{name}</span><span>{note}</span></div>'
