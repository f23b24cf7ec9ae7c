"""The head of a study's report: the answer and how sure it is, or why there is none; cards."""

from collections.abc import Sequence

from experiments.answer import NOTHING, Metrics, answer, at_chance, certainty, of_first
from experiments.tables import bounds, number, percent, text
from jaxsal.viz.page import bullets

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
    relevance, name = of_first(metrics)
    if name is None:
        return []
    share, area = (relevance["methods"][name]["tumour"][key] for key in ("share", "area"))
    note = f"on {percent(area)} of the area; by {name}"
    note = f"{bounds(share, percent)} {note}".lstrip()
    return [("of the relevance lies in tumours", percent(share[0]), note)]


def headline(metrics: Metrics) -> str:
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
