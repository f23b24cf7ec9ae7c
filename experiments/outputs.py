"""What the study leaves behind: maps, figures, report, and metrics.json last."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments import figures, sections
from experiments.explaining import Explained
from experiments.report import write_report
from experiments.wording import study_wording
from jaxsal.commands.evaluation import interval_words
from jaxsal.common import files
from jaxsal.data.examples import Examples


def write(
    folder: Path,
    metrics: dict[str, Any],
    explained: Explained,
    shown: Examples,
    training_set: Examples,
    classes: tuple[str, ...],
    probabilities: np.ndarray,
) -> None:
    """Maps and figures first, the report next, metrics.json last: where it is, all is."""
    (folder / "maps").mkdir(exist_ok=True)
    for name, values in explained.maps.items():
        np.save(folder / "maps" / f"{name.replace(' ', '_')}.npy", values)
    np.savez(
        folder / "maps" / "index.npz",
        names=shown.names,
        labels=shown.labels,
        targets=explained.targets,
    )
    drawn = figures.draw(metrics, explained, shown, training_set, classes, probabilities)
    figures.write(folder / "figures", drawn)
    write_study_report(folder, metrics)
    files.write_json(folder / "metrics.json", metrics)


def measured_again(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a run that trained nothing, with what the one that trained says of training.

    Its time and rate are kept, and `trained` says when, by which code and where that was.
    """
    try:
        earlier = json.loads((folder / "metrics.json").read_text())
    except FileNotFoundError:  # killed between training and the end
        return metrics
    by = earlier.get("trained") or {n: earlier.get(n) for n in ("date", "commit", "device")}
    timings = metrics["timings"] | {"train": earlier["timings"]["train"]}
    rates = metrics["throughput"] | {"training": earlier["throughput"]["training"]}
    kept = {"timings": timings, "throughput": rates, "resumed": earlier["resumed"]}
    return metrics | kept | {"trained": by}


def write_study_report(folder: Path, metrics: dict[str, Any]) -> None:
    """The report of a study, from its metrics and from the figures and sections in its folder."""
    write_report(
        folder / "report.html",
        metrics,
        figures.read(folder / "figures", masked=bool(metrics.get("relevance", {}).get("cases"))),
        sections.read(folder),
    )


def summary(metrics: dict[str, Any], out: Path) -> str:
    word = study_wording(metrics)
    lines = [f"WARNING: {warning}" for warning in metrics["warnings"]]
    lines.append(f"test accuracy {metrics['accuracy']:.4f} ({interval_words(metrics)})")
    for name, method in metrics["relevance"]["methods"].items():
        densities = "  ".join(
            f"{word(region)} {method[region]['density'][0]:.2f}"
            for region in ("tumour", "surround", "rest of head")
        )
        lines.append(f"  relevance density, {word(name):<21} {densities}")
    completeness = metrics["completeness"]
    lines.append(
        f"integrated gradients complete to 1 % on {completeness['within_1_percent']:.1%} of the "
        f"images, with {completeness['mean_points']:.0f} points on average"
    )
    lines.append(f"report: {out / 'report.html'}")
    lines += [f"  more of it: python -m experiments.{n} --checkpoint {out}" for n in sections.ORDER]
    return "\n".join(lines)
