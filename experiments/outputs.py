"""What the study leaves behind: maps, figures, report, and metrics.json last."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiments import figures
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
    for name in ("maps", "figures"):
        (folder / name).mkdir(exist_ok=True)
    for name, values in explained.maps.items():
        np.save(folder / "maps" / f"{name.replace(' ', '_')}.npy", values)
    np.savez(
        folder / "maps" / "index.npz",
        names=shown.names,
        labels=shown.labels,
        targets=explained.targets,
    )
    drawn = figures.draw(metrics, explained, shown, training_set, classes)
    for title, _, png in drawn:
        (folder / "figures" / f"{title.lower().replace(' ', '_')}.png").write_bytes(png)
    write_report(folder / "report.html", metrics, drawn)
    partial = folder / ".metrics.json"
    partial.write_text(json.dumps(finite(metrics), indent=1, allow_nan=False) + "\n")
    os.replace(partial, folder / "metrics.json")


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
    return "\n".join(lines)
