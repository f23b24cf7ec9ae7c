"""What the study leaves behind: maps, figures, report, and metrics.json last."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiments import figures, sections
from experiments.explaining import Explained
from experiments.report import write_report
from jaxsal.data.examples import Examples


@contextmanager
def writable(out: Path) -> Iterator[Path]:
    """Makes the folder and tries it, before hours are spent on what would fill it.

    Where the body fails, a folder that was made here is removed again.

    Raises:
        ValueError: it cannot be made, or not be written to.
    """
    fresh = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ValueError(f"out: {out} cannot be written to ({error.strerror})") from error
    try:
        yield out
    except BaseException:
        if fresh:
            out.rmdir()
        raise


def write(
    folder: Path,
    metrics: dict[str, Any],
    explained: Explained,
    shown: Examples,
    training_set: Examples,
    classes: tuple[str, ...],
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
    drawn = figures.draw(metrics, explained, shown, training_set, classes)
    figures.write(folder / "figures", drawn)
    write_study_report(folder, metrics)
    write_json(folder / "metrics.json", metrics)


def write_study_report(folder: Path, metrics: dict[str, Any]) -> None:
    """The report of a study, from its metrics and from the figures and sections in its folder."""
    write_report(
        folder / "report.html",
        metrics,
        figures.read(folder / "figures"),
        sections.read(folder / "sections"),
    )


def write_json(path: Path, tree: Any) -> None:
    """A JSON file, whole or not at all; what is not finite becomes null."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(finite(tree), indent=1, allow_nan=False) + "\n")
    os.replace(partial, path)


def finite(tree: Any) -> Any:
    """JSON has no NaN: what is not defined becomes null."""
    if isinstance(tree, dict):
        return {str(name): finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    value = tree.item() if isinstance(tree, np.generic) else tree
    return None if isinstance(value, float) and not np.isfinite(value) else value


def summary(metrics: dict[str, Any], out: Path) -> str:
    low, high = metrics["accuracy_interval"]
    lines = [f"test accuracy {metrics['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f})"]
    for name, method in metrics["relevance"]["methods"].items():
        densities = "  ".join(
            f"{region} {method[region]['density'][0]:.2f}"
            for region in ("tumour", "surround", "rest of head")
        )
        lines.append(f"  relevance density, {name:<21} {densities}")
    within = metrics["completeness"]["within_1_percent"]
    lines.append(f"integrated gradients complete to 1 % on {within:.1%} of the images")
    lines.append(f"report: {out / 'report.html'}")
    lines += [f"  more of it: python -m experiments.{n} --checkpoint {out}" for n in sections.ORDER]
    return "\n".join(lines)
