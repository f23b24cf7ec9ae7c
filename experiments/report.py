"""One self-contained HTML page from a study's metrics and figures: it opens without network.

Reads what `metrics.json` holds; a part that is missing is left out, a number that is not defined
is a dash. Numbers are formatted and compared here, never computed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.controls import CONTROLS
from experiments.relevance import relevance_section
from experiments.tables import (
    bounds,
    facts,
    measured,
    number,
    percent,
    table,
    text,
    times,
    words,
)
from jaxsal.commands.evaluation_page import patients_apart
from jaxsal.common.files import write_atomically
from jaxsal.viz.page import banner, bullets, page
from jaxsal.viz.page import cards as card_boxes
from jaxsal.viz.page import figure as figure_html

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
        sections: HTML of what looked at the study again, in order.
    """
    parts = (
        _summary(metrics),
        relevance_section(metrics.get("relevance", {}), chance=metrics.get("chance")),
        figures_section(figures),
        *sections,
        _classification(metrics),
        _checks(metrics),
        _data(metrics.get("data", {})),
        provenance(metrics),
    )
    return page("Where does the network look?", "\n".join(part for part in parts if part))


def _summary(metrics: Metrics) -> str:
    source = metrics.get("data", {}).get("source")
    lead = " · ".join(str(part) for part in (source, metrics.get("date")) if part)
    interval = bounds(metrics.get("accuracy_interval"), percent)
    if clusters := metrics.get("clusters"):
        interval = f"{interval or 'too few for an interval:'} {clusters} {metrics['bootstrap']}s"
    if metrics.get("bootstrap") == "image":
        interval += ": too narrow, the files name no patients"
    error = metrics.get("calibration", {}).get("ece")
    cards = [
        ("test accuracy", percent(metrics.get("accuracy")), interval),
        ("macro AUC", number(metrics.get("macro_auc")), "each class against the rest"),
        ("calibration error", number(error), "0 is perfect; 15 bins"),
    ]
    methods = metrics.get("relevance", {}).get("methods", {})
    names = [name for name in methods if name not in CONTROLS]
    # The paper's question in one number, for the method that adds up to the score if there is one.
    for name in sorted(names, key=lambda name: "integrated" not in name)[:1]:
        density = methods[name]["tumour"]["density"]
        even = methods.get("even in the head", {}).get("tumour", {}).get("density", [None])
        note = f"{bounds(density, times)} {name}; a map even in the head: {times(even[0])}"
        cards.append(("relevance density in tumours", times(density[0]), note))
    return (
        f'<h1>Where does the network look?</h1><p class="lead">{text(lead)}</p>'
        f"{banner(metrics.get('warnings', ()))}{card_boxes(cards)}"
    )


def figures_section(figures: Sequence[Figure]) -> str:
    """All figures under a heading; nothing without any."""
    body = "".join(figure_html(*figure) for figure in figures)
    return f"<h2>Figures</h2>\n{body}" if figures else ""


def _classification(metrics: Metrics) -> str:
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
    confusion = table(["true, predicted", *classes], counts, caption="Confusion matrix")
    names = {"ece": "ECE (15 bins)", "brier": "Brier score (0 to 2)"}
    values = {names.get(key, key): v for key, v in metrics.get("calibration", {}).items()}
    calibration = facts("Calibration", values)
    apart = patients_apart(metrics)
    parts = "".join(filter(None, [by_class, confusion if counts else "", calibration, apart]))
    return f'<h2>Classification</h2><div class="columns">{parts}</div>' if parts else ""


def _checks(metrics: Metrics) -> str:
    sanity = metrics.get("sanity", {})
    kinds = {"in_head": "in the head", "spearman": "in the image"}
    rows = [(n, *(measured(row.get(kind)) for kind in kinds)) for n, row in sanity.items()]
    legend = "Spearman's correlation of |map|"
    randomised = table(["method", *kinds.values()], rows, caption=legend) if rows else ""
    completeness = facts("Completeness of integrated gradients", metrics.get("completeness"))
    if not randomised + completeness:
        return ""
    title = (
        "<h3>Trained against fresh parameters; 0: the map depends on what was learned</h3>"
        if rows
        else ""
    )
    return (
        f'<h2>Do the maps pass?</h2><div class="columns"><div>{title}{randomised}</div>'
        f"{completeness}</div>"
    )


def _data(data: Metrics) -> str:
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
    return f"<h2>Data</h2><p>{text(data.get('source', ''))}</p>{body}"


def provenance(metrics: Metrics) -> str:
    """Command, commit, device, versions, timings and settings, as far as they are there."""
    command = metrics.get("command")
    shown = f"<pre>{text(command)}</pre>" if command else ""
    commit = {key: metrics[key] for key in ("commit", "date") if metrics.get(key)}
    names = ("device", "versions", "timings", "throughput", "settings")
    titles = {"timings": "Timings, seconds"}
    blocks = "".join(facts(titles.get(n, n.capitalize()), metrics.get(n)) for n in names)
    if not (shown or commit or blocks):
        return ""
    return (
        f'<h2>What was run, and on what</h2>{shown}<div class="columns">'
        f"{facts('Code', commit)}{blocks}</div>"
    )


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, int) else number(value)
