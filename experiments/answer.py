"""What a study answers, in a sentence that its numbers support, and when it answers nothing."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.claims import HOLDS, verdict
from experiments.controls import CONTROLS
from experiments.tables import bounds, defined, number, percent, text, times
from jaxsal.metrics.chance import doubt

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

    The rule is `jaxsal.metrics.chance.doubt`.
    """
    interval = metrics.get("accuracy_interval")
    why = doubt(metrics.get("confusion", ()), interval, metrics.get("chance"))
    return f"This network is not shown to be better than chance: {why}. {NOTHING}" if why else ""


def answer(metrics: Metrics) -> str:
    """Where the relevance of the network lies, in a sentence; what is not shown is said so."""
    relevance = metrics.get("relevance", {})
    methods = relevance.get("methods", {})
    name = first_method(methods)
    if name is None or not relevance.get("cases"):
        return (
            "There are no masks of what is to be found, so where the relevance lies is shown in "
            "pictures, not measured."
        )
    own, gaps = methods[name], relevance.get("differences", {}).get(name, {})
    density = own["tumour"]["density"]
    even = methods.get("even in the head", {}).get("tumour", {}).get("density", [None])[0]
    words = name.capitalize()
    if "tumour - even" in gaps and verdict(gaps["tumour - even"]) != HOLDS:
        return (
            f"{words} are not shown to put more relevance into tumours, for their area, than a map "
            f"that is even in the head ({times(density[0])} and {times(even)} times as much as "
            "one that is even over the image)."
        )
    than_head = (
        f", {_round(density[0] / even)} times one in the head alone" if defined(even) else ""
    )
    return (
        f"{words} put {_round(density[0])} times as much relevance into tumours, for their area, "
        f"as an even map over the image{than_head}, and {_beside(own, gaps)}."
    )


def _beside(own: Metrics, gaps: Metrics) -> str:
    """The tumours' relevance beside that of their surround."""
    density, surround = own["tumour"]["density"][0], own["surround"]["density"][0]
    if "tumour - surround" in gaps and verdict(gaps["tumour - surround"]) != HOLDS:
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
    found = [("of the test images named right", percent(metrics.get("accuracy")), interval)]
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
    relevance = metrics.get("relevance", {})
    name = first_method(relevance.get("methods", {}))
    if name is not None and relevance.get("cases"):
        density = relevance["methods"][name]["tumour"]["density"]
        note = f"{bounds(density, times)}, by {name}; 1 is a map even over the image"
        even = relevance["methods"].get("even in the head")
        if even is not None:
            note += f", {times(even['tumour']['density'][0])} one even in the head"
        found.append(("times an even map's relevance in tumours", times(density[0]), note))
    return found


def answer_html(metrics: Metrics) -> str:
    """The head of a report: a banner where the network is at chance, else the answer; the cards."""
    warning = at_chance(metrics)
    if warning and metrics.get("warnings"):  # the page's banner says why
        lead = f'<p class="answer">{text(NOTHING)}</p>'
    elif warning:
        lead = f'<p class="banner" role="alert"><b>At chance.</b> {text(warning)}</p>'
    else:
        lead = f'<p class="answer">{text(answer(metrics))}</p>'
    return f'{lead}<div class="cards">{"".join(map(_card, cards(metrics)))}</div>'


def _card(card: Sequence[str]) -> str:
    name, value, note = map(text, card)
    return f'<div class="card"><b>{value}</b><span>{name}</span><span>{note}</span></div>'
