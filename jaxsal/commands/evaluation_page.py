"""The report of an evaluation: figures as PNG files, and one page with all of them."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsal.commands import cuts, evaluation, evaluation_words
from jaxsal.commands.run_section import run_section
from jaxsal.common import files
from jaxsal.common.results import METRICS
from jaxsal.data import understood
from jaxsal.data.examples import Examples
from jaxsal.viz import charts, classification, page
from jaxsal.viz.picture import Figure, png

SHOWN = 12
"""Mistakes that are drawn."""

PAGE, TABLE = "report.html", "predictions.csv"

MEASURES = ("sensitivity", "specificity", "auc")

Record = Mapping[str, Any]

CAPTIONS = {
    "Confusion matrix": "Tested images: rows are true classes, columns predicted ones.",
    "ROC curves": "Each class against the rest.",
    "Reliability": "Predictions in bins of their confidence: on the line they are as often right "
    "as they are sure.",
    "Worst mistakes": "Images taken for another class, those first that were surest of it: true "
    "class, prediction, its probability.",
    "Learning curves": "By epoch.",
    "Maps": "Image, outline of the mask, and the signed map of each method for the predicted "
    "class: red speaks for it, blue against it, white is zero; one scale a method.",
}
"""By title, in the page's order."""


VOLUMES = dict.fromkeys(
    ("Worst mistakes", "Maps"),
    " Of a volume its axial slice with most of the mask, else the middle one.",
)
"""What is added to captions of volumes."""


def file_names() -> set[str]:
    """What is written below a folder, were every figure drawn, `metrics.json` with it."""
    return {PAGE, TABLE, METRICS, *map(_figure, CAPTIONS)}


def _figure(title: str) -> str:
    return f"figures/{title.lower().replace(' ', '_')}.png"


def write(
    folder: Path,
    metrics: Record,
    logits: np.ndarray,
    tested: Examples,
    *,
    title: str,
    more: Mapping[str, Figure] | None = None,
) -> None:
    """Writes figures/, predictions.csv and report.html.

    Args:
        metrics: what metrics.json holds. logits, tested: of the images that it is of.
        more: other figures by their titles, of `CAPTIONS`.
    """
    drawn = {**draw(metrics, tested), **(more or {})}
    pictures = {name: png(drawn[name]) for name in CAPTIONS if name in drawn}
    for name, drawing in pictures.items():
        files.write_result(folder / _figure(name), drawing)
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows(evaluation.rows(logits, tested, metrics["classes"]))
    content = lines.getvalue().encode(errors="backslashreplace")
    files.write_result(folder / TABLE, content)
    cut = VOLUMES if tested.images.ndim == 5 else {}
    shown = {
        name: page.figure(name, CAPTIONS[name] + cut.get(name, ""), png)
        for name, png in pictures.items()
    }
    body = render(metrics, shown, title)
    files.write_result(folder / PAGE, page.page(title, body).encode(errors="replace"))


def draw(metrics: Record, tested: Examples) -> dict[str, Figure]:
    """The figures of what `evaluation.measure` found, by title."""
    classes = metrics["classes"]
    auc = {name: page.number(row["auc"]) for name, row in metrics["per_class"].items()}
    curves = {f"{name}, AUC {auc[name]}": tuple(metrics["roc"][name]) for name in classes}
    drawn = {
        "Confusion matrix": charts.confusion(metrics["confusion"], classes),
        "ROC curves": classification.roc(curves),
        "Reliability": classification.reliability(**metrics["reliability"]),
    }
    if wrong := metrics["mistakes"][:SHOWN]:
        rows = [each["number"] for each in wrong]
        titles = [
            f"{_short(each['label'])} as {_short(each['predicted'])} {each['probability']:.2f}"
            for each in wrong
        ]
        shown, outlines = tested.images[rows], tested.masks[rows]
        if shown.ndim == 5:
            outlines, shown = cuts.one_each(outlines, shown)
        drawn["Worst mistakes"] = classification.mistakes(shown, titles, outlines)
    if metrics.get("history"):
        drawn["Learning curves"] = charts.learning_curves(metrics["history"])
    return drawn


def _short(name: str) -> str:
    return name if len(name) <= 11 else f"{name[:9]}.."


BESIDE = ("Confusion matrix", "ROC curves", "Reliability")
"""Figures that are small enough to stand side by side."""


def render(metrics: Record, figures: Mapping[str, str], title: str) -> str:
    """The page's body: warnings, answer, masks, the table of classes, figures, data, machine.

    Args:
        figures: HTML by title.
    """
    below = [html for name, html in figures.items() if name not in (*BESIDE, "Maps")]
    parts = [
        f"<h1>{page.text(title)}</h1>",
        page.banner(metrics["warnings"]),
        f'<p class="answer">{page.text(evaluation_words.answer(metrics))}</p>',
        page.cards(evaluation_words.cards(metrics)),
        _localisation(metrics, figures.get("Maps", "")),
        "<h2>By class</h2>",
        f'<div class="beside"><div>{_classes(metrics)}{patients_apart(metrics)}'
        f"{evaluation_words.missed(metrics)}</div>"
        f"{''.join(figures.get(name, '') for name in BESIDE)}</div>",
        *below,
        f"<p>{page.text(said)}</p>" if (said := evaluation_words.kept(metrics)) else "",
        _data(metrics),
        run_section(metrics),
    ]
    return "\n".join(part for part in parts if part)


def _classes(metrics: Record) -> str:
    rows = [
        (name, str(row["count"]), *(page.number(row[column]) for column in MEASURES))
        for name, row in metrics["per_class"].items()
    ]
    return page.table(["class", "images", "sensitivity", "specificity", "AUC"], rows)


def patients_apart(metrics: Record) -> str:
    """The values by patient, where there are too few of them for an interval."""
    rows = [
        (name, str(hits), str(count))
        for name, (hits, count) in metrics.get("by_patient", {}).items()
    ]
    if not rows:
        return ""
    legend = f"{len(rows)} patients are too few for an interval; each one's images"
    return page.table(["patient", "right", "images"], rows, caption=legend)


def _localisation(metrics: Record, maps: str) -> str:
    found = metrics.get("localisation")
    if not found:
        return ""
    names = {
        "relevance_mass": "relevance mass",
        "rank_accuracy": "rank accuracy",
        "pointing_game": "pointing game",
        "roc_auc": "ROC AUC",
    }
    rows = [
        (method, *(page.measured(values[name]) for name in names))
        for method, values in found["methods"].items()
    ]
    area = page.percent(found["area"])
    about = (
        f"Maps of {found['images']} images with a mask, for the predicted class. In brackets: 95 % "
        f"intervals, by {found['clusters']} {found['bootstrap']}s. A map even over the image has a "
        f"relevance mass and a rank accuracy of {area}, the masks' share of the area."
    )
    head = ["method", *names.values()]
    return (
        f"<h2>Do the maps lie on the masks?</h2><p>{page.text(about)}</p>{page.table(head, rows)}"
        f"{evaluation_words.on_masks(metrics)}{_not_possible(found)}{maps}"
    )


def _not_possible(found: Record) -> str:
    lines = (f"{name}: {why}" for name, why in found.get("not_possible", {}).items())
    items = "".join(f"<li>{page.text(line)}</li>" for line in lines)
    return f"<p>Not possible with this network:</p><ul>{items}</ul>" if items else ""


def _data(metrics: Record) -> str:
    if "understood" not in metrics:
        return ""
    told = understood.lines(metrics["understood"])
    return f"<h2>Data</h2><pre>{page.text(chr(10).join(told))}</pre>"
