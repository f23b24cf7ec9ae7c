"""One self-contained HTML page from a study's metrics and figures: it opens without network.

The answer first, then pictures, then tables, each with what follows from it. Reads what
`metrics.json` holds; a part that is missing is left out, a number that is not defined is a dash.
Numbers are formatted and compared here, never computed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.answer import at_chance, without_conclusions
from experiments.checks_section import checks_section
from experiments.headline import headline
from experiments.relevance import relevance_section
from experiments.tables import facts, number, table, text, words
from experiments.wording import study_wording
from jaxsal.commands.evaluation_page import patients_apart
from jaxsal.commands.evaluation_words import missed
from jaxsal.commands.run_section import run_section
from jaxsal.common.files import write_atomically
from jaxsal.viz.page import banner, bullets, page
from jaxsal.viz.page import figures as figures_html

Metrics = Mapping[str, Any]
Figure = tuple[str, str, bytes]


def write_report(
    path: str | Path, metrics: Metrics, figures: Sequence[Figure], sections: Sequence[str] = ()
) -> None:
    """Write the page whole or not at all; arguments as for `render_report`, and the file's path."""
    write_page(path, render_report(metrics, figures, sections))


def write_page(path: str | Path, page: str) -> None:
    """Write a page whole or not at all."""
    with write_atomically(Path(path)) as partial:
        partial.write_text(page, encoding="utf-8")


def render_report(
    metrics: Metrics, figures: Sequence[Figure] = (), sections: Sequence[str] = ()
) -> str:
    """The page of a study as a string.

    Args:
        metrics: what `metrics.json` holds.
        figures: `(title, caption, PNG bytes)`, in order.
        sections: HTML of what looked at the study again, in order, worded already.
    """
    word = study_wording(metrics)

    def drawn(*titles: str) -> list[Figure]:
        return [each for each in figures if each[0] in titles]

    told = [
        word(headline(metrics)),
        word(figures_section("Pictures", drawn(*PICTURES))),
        word(relevance_section(metrics.get("relevance", {}), drawn(*MEASURED))),
        *sections,
        word(_classification(metrics, drawn(*CLASSIFIED))),
        word(checks_section(metrics)),
        word(figures_section("Figures", [each for each in figures if each[0] not in PLACED])),
    ]
    body = "\n".join(part for part in told if part)
    body = without_conclusions(body) if at_chance(metrics) else body
    run = [_data(metrics.get("data", {}), drawn(*DATA)), run_section(metrics)]
    return page(TITLE, "\n".join([_lead(metrics), body, *filter(None, run)]))


TITLE = "Where does the network look?"
PICTURES = ("Right answers", "Wrong answers", "Relevance")
"""Titles of the figures that come before the tables."""
MEASURED, CLASSIFIED, DATA = (
    ("Relevance density",),
    ("Confusion matrix", "Learning curves"),
    ("Contact sheet",),
)
"""Of those that stand beside the tables of what they show."""
PLACED = {*PICTURES, *MEASURED, *CLASSIFIED, *DATA}


def _lead(metrics: Metrics) -> str:
    source = metrics.get("data", {}).get("source")
    lead = " · ".join(str(part) for part in (source, metrics.get("date")) if part)
    warned = banner(metrics.get("warnings", ()))
    return f'<h1>{TITLE}</h1><p class="lead">{text(lead)}</p>{warned}'


def figures_section(heading: str, figures: Sequence[Figure]) -> str:
    """Figures under a heading; nothing without any."""
    return f"<h2>{heading}</h2>\n{figures_html(figures)}" if figures else ""


def _classification(metrics: Metrics, figures: Sequence[Figure]) -> str:
    per_class = metrics.get("per_class", {})
    measures = ("count", "sensitivity", "specificity", "auc")
    columns = [c for c in measures if all(c in row for row in per_class.values())]
    rows = [(name, *(_plain(row[c]) for c in columns)) for name, row in per_class.items()]
    head = ["class", *(words(column) for column in columns)]
    classes = metrics.get("classes", list(per_class))
    counts = [
        (name, *(f"<b>{n}</b>" if i == j else str(n) for j, n in enumerate(row)))
        for i, (name, row) in enumerate(zip(classes, metrics.get("confusion", ()), strict=False))
    ]
    by_class = table(head, rows, caption="By class, on the test images") if rows else ""
    # The figure has the same numbers.
    counts = [] if any(title == "Confusion matrix" for title, *_ in figures) else counts
    confusion = table(["true, predicted", *classes], counts, caption="Confusion matrix")
    names = {"ece": "ECE (15 bins)", "brier": "Brier score (0 to 2)"}
    values = {names.get(key, key): v for key, v in metrics.get("calibration", {}).items()}
    calibration = facts("Calibration", values)
    apart = patients_apart(metrics)
    parts = "".join(filter(None, [by_class, confusion if counts else "", calibration, apart]))
    if not parts:
        return ""
    return (
        f'<h2>Classification</h2><div class="columns">{parts}</div>{missed(metrics)}'
        f"{figures_html(figures)}"
    )


def _data(data: Metrics, figures: Sequence[Figure]) -> str:
    if not data:
        return ""
    counts = data.get("counts", {})
    classes = list(dict.fromkeys(name for split in counts.values() for name in split))
    rows = [
        (split, *(str(row.get(name, 0)) for name in classes), str(sum(row.values())))
        for split, row in counts.items()
    ]
    body = table(["split", *classes, "all"], rows, caption="Images") if rows else ""
    left_out = [
        f"{reason}: {files['count']} ({', '.join(files['files'][:3])})"
        for reason, files in data.get("left_out", {}).items()
    ]
    parts = {"Notes": data.get("notes"), "Left out": left_out, "Skipped files": data.get("skipped")}
    for title, lines in parts.items():
        body += f"<h3>{title}</h3>{bullets(lines)}" if lines else ""
    return f"<h2>Data</h2><p>{text(data.get('source', ''))}</p>{body}{figures_html(figures)}"


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, int) else number(value)
