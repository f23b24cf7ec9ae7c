"""The report on heads reduced to a part: a table, and what tells each class by its intervals."""

from collections.abc import Mapping
from typing import Any

from experiments.answer import conclusion
from experiments.claims import HOLDS, Findings, listed, resampled, verdict
from experiments.tables import bounds, measured, percent, table, text, two
from jaxsal.viz.page import bullets

WHOLE = "untouched"
NOTHING = "black"

ALONE = (
    "tumour alone",
    "tumour's outline alone",
    "tumour and surround alone",
    "rest of head alone",
    "rest of head, noise in the gap",
    "head's outline alone",
    "head blurred",
    "skull alone",
)
"""Of which one asks whether what is left is enough."""

WITHOUT = {
    "rest of head alone": "tumour and surround",
    "skull masked": "the skull",
    "histogram matched": "the grey values of its own",
    "head shifted": "its place in the image",
}
"""What the image has lost where all else is left."""

DEFAULT = (
    "It is what the network answers to a black image: a part may tell it by what it shows of the "
    "other classes, without speaking for it."
)
"""Of the class that is named where nothing speaks for another."""

MUCH = 0.1
"""Of the difference of the whole image: a loss of less is called small."""


def interventions_section(record: Findings) -> str:
    """Table and reading of `interventions.json`."""
    classes = list(record["classes"])
    rows = [
        (name, *(measured(by_class[each]["told"], two) for each in classes), *_shares(by_class))
        for name, by_class in record["parts"].items()
    ]
    counts = [f"{name} ({record['by_class_cases'][name]})" for name in classes]
    head = ["what is left", *counts, *(f"named: {name}, and in others" for name in classes)]
    return "".join(
        [
            "<h2>What tells a class from the others?</h2>",
            f"<p>{text(_intro(record))}</p>",
            table(
                head,
                rows,
                caption="How much more often a class is named on its own images than on others",
                quiet={WHOLE, NOTHING},
            ),
            conclusion(bullets(readings(record))),
        ]
    )


def _shares(by_class: Mapping[str, Any]) -> list[str]:
    return [
        f"{percent(each['named'][0])}, {percent(each['named_in_others'][0])}"
        for each in by_class.values()
    ]


def _intro(record: Findings) -> str:
    return (
        f"{record['cases']} test tumours, right and wrong ones, each reduced to a part of its head "
        "(all else black; of the rest of the head the tumour and its surround are imputed from "
        "their neighbours, which leaves a smooth patch of their size in their place; once more "
        "with noise in it) or without one property. The share of a class's images on which the "
        "network names it, less the share of the other classes' images on which it does: 1 tells "
        "the class apart without fail, 0 not at all, whatever the network answers when it sees "
        f"nothing. {resampled(record)} Each is a 95 % interval by itself: of twenty, one may miss."
    )


def readings(record: Findings) -> list[str]:
    """For each class, what of the image is enough to tell it, and what it is told without."""
    return [_reading(record, name) for name in record["classes"]]


def _reading(record: Findings, name: str) -> str:
    told = {part: by_class[name]["told"] for part, by_class in record["parts"].items()}
    whole = told[WHOLE][0]
    enough = sorted(
        (part for part in ALONE if verdict(told[part]) == HOLDS), key=lambda p: -told[p][0]
    )
    said = [f"{part} {two(told[part][0])} {bounds(told[part], two)}" for part in enough]
    alone = f"by {listed(said)} where that is all that is left" if said else "by no part alone"
    if verdict(told[WHOLE]) != HOLDS:
        return f"{name.capitalize()}: not told from the others on whole images ({two(whole)})."
    lost = [f"{what} ({two(told[part][0])})" for part, what in WITHOUT.items() if _kept(told, part)]
    answer = record["parts"][NOTHING][name]["named"][0]
    parts = [f"{name.capitalize()}: told from the others by {two(whole)} on whole images; {alone}."]
    parts.append(f"On average it is told nearly as well without {listed(lost)}." if lost else "")
    parts.append(DEFAULT if answer > 0.5 else "")
    return " ".join(filter(None, parts))


def _kept(told: Mapping[str, Any], part: str) -> bool:
    """Whether nine tenths of what the whole image tells is left, on average."""
    return bool(told[part][0] >= (1 - MUCH) * told[WHOLE][0] > 0)
