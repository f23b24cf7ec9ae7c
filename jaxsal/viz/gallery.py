"""A page of many pictures: filtered by class, right and wrong, and sorted, without network."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from jaxsal.viz.page import banner, page

STYLE = Path(__file__).with_suffix(".css")
SCRIPT = Path(__file__).with_suffix(".js")


class Card(NamedTuple):
    """One picture.

    Attributes:
        name, file, thumbnail: of its source, and paths beside the page.
        true, predicted: classes; "" where unknown.
        score: of the prediction; None where there is none.
        explained: the class of the map, where it is not the predicted one.
    """

    name: str
    file: str
    thumbnail: str
    true: str
    predicted: str
    score: float | None
    explained: str = ""

    @property
    def correct(self) -> str:
        """right, wrong, or "" where one of the classes is not known."""
        if not (self.true and self.predicted):
            return ""
        return "right" if self.true == self.predicted else "wrong"


def gallery(
    title: str,
    cards: Sequence[Card],
    left_out: Sequence[tuple[str, str]] = (),
    about: str = "",
    warnings: Sequence[str] = (),
    in_order: bool = False,
) -> str:
    """The page: a card a picture, the highest score first, or in the order of the cards.

    Args:
        left_out: `(name, reason)` of images without a picture. about: how the pictures were made.
        warnings: what speaks against the model, above all pictures.
        in_order: whether their order tells more than their scores, as of the slices of a scan.
    """
    places = range(len(cards))
    ordered = places if in_order else sorted(places, key=lambda place: -_sure(cards[place]))
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        banner(warnings),
        f'<p class="lead">{html.escape(_counts(cards, left_out))}</p>',
        f"<p>{html.escape(about)}</p>" if about else "",
        _controls(cards, in_order),
        f'<div class="grid">{_grid([(place, cards[place]) for place in ordered])}</div>',
        _reasons(left_out),
    ]
    return page(title, "".join(parts), css=STYLE, script=SCRIPT)


def _counts(cards: Sequence[Card], left_out: Sequence[tuple[str, str]]) -> str:
    counts = {word: sum(card.correct == word for card in cards) for word in ("right", "wrong")}
    told = [f"{count} {word}" for word, count in counts.items() if any(counts.values())]
    without = [f"{len(left_out)} without a picture, listed below"] if left_out else []
    return ", ".join([f"{len(cards)} images", *told, *without])


def _sure(card: Card) -> float:
    """Its score, by which cards are sorted: one without, or with NaN, comes last."""
    return -1e30 if card.score is None or math.isnan(card.score) else card.score


def _controls(cards: Sequence[Card], in_order: bool) -> str:
    choices: Mapping[str, tuple[str, Sequence[str]]] = {
        "true": ("true class", sorted({card.true for card in cards} - {""})),
        "predicted": ("predicted class", sorted({card.predicted for card in cards} - {""})),
        "correct": (
            "answer",
            [w for w in ("right", "wrong") if any(c.correct == w for c in cards)],
        ),
    }
    boxes = [
        f'<label>{words} <select data-filter="{key}"><option value="">all</option>'
        + "".join(f"<option>{html.escape(value)}</option>" for value in values)
        + "</select></label>"
        for key, (words, values) in choices.items()
        if values
    ]
    given = {"place": "order of the images"}
    orders = {"score-": "score, highest first", "score": "score, lowest first", "name": "name"}
    orders = given | orders if in_order else orders | given
    options = "".join(f'<option value="{key}">{text}</option>' for key, text in orders.items())
    return (
        f'<form class="controls">{"".join(boxes)}'
        f"<label>sort by <select data-sort>{options}</select></label><output></output></form>"
    )


def _grid(cards: Iterable[tuple[int, Card]]) -> str:
    """Cards with the place that each has among the images; the first are loaded at once."""
    return "".join(
        _card(card, place, "eager" if n < 24 else "lazy") for n, (place, card) in enumerate(cards)
    )


def _card(card: Card, place: int, loading: str) -> str:
    data = {
        "true": card.true,
        "predicted": card.predicted,
        "correct": card.correct,
        "score": f"{_sure(card):.6g}",
        "name": card.name,
        "place": str(place),
    }
    attributes = "".join(f' data-{key}="{html.escape(value)}"' for key, value in data.items())
    score = "" if card.score is None else f" ({card.score:.3g})"
    lines = [
        f"<b>{html.escape(card.predicted)}{score}</b>" if card.predicted or score else "",
        f"<span>true: {html.escape(card.true)}</span>" if card.true else "",
        f"<span>map of: {html.escape(card.explained)}</span>" if card.explained else "",
        f'<span class="name">{html.escape(card.name)}</span>',
    ]
    return (
        f'<a class="card {card.correct}" href="{quote(card.file)}"{attributes}>'
        f'<img loading="{loading}" alt="{html.escape(card.name)}" src="{quote(card.thumbnail)}">'
        f"{''.join(lines)}</a>\n"
    )


def _reasons(left_out: Sequence[tuple[str, str]]) -> str:
    if not left_out:
        return ""
    items = "".join(
        f"<li>{html.escape(name)}: {html.escape(reason)}</li>" for name, reason in left_out
    )
    return f"<h2>Without a picture</h2><ul>{items}</ul>"
