"""The head of a study's report: the answer and how sure it is, or why there is none; cards."""

from experiments.answer import NOTHING, Metrics, answer, at_chance, certainty, of_first
from experiments.tables import bounds, percent, text
from jaxsal.commands import evaluation_words
from jaxsal.commands.evaluation_words import Card
from jaxsal.viz import page


def cards(metrics: Metrics) -> list[Card]:
    """The headline numbers, in words that need no other reading."""
    shares = [] if at_chance(metrics) else _shares(metrics)
    return [*shares, *evaluation_words.cards(metrics)]


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
            lead += f'<div class="sure"><b>How sure?</b>{page.bullets(sure)}</div>'
    return lead + page.cards(cards(metrics))
