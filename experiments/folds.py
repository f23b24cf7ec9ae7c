"""The study once a fold: each fifth of the patients is tested by a network of the other four.

    python -m experiments.folds --data figshare --data-dir DIR --image-size 128 --out runs/folds

Takes the settings of `python -m experiments.brain_tumor`, `--test-fold` apart (a fold that is to be
validated on gives way to the next where it is tested), and writes one such run into each of
fold-1 ... fold-5 under --out, and after each folds.json: every fold's accuracy so far, their mean
and spread. The same command after a kill goes on where it stopped. (The study's recipe was tuned on
figshare's folds 1 to 4: of them this is no unseen test.)
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import tyro

from experiments import brain_tumor
from experiments.settings import Settings, plain, resolve
from jaxsal.common import files, provenance
from jaxsal.compiler import processes
from jaxsal.compiler.processes import Processes

FOLDS = (1, 2, 3, 4, 5)


def main(settings: Settings, folds: Sequence[int] = FOLDS) -> dict[str, Any]:
    """Runs the study for each fold; returns what folds.json holds."""
    processes.join_if(settings.processes)  # once, for all folds
    settings, _ = resolve(replace(settings, processes=Processes()))
    runs: list[dict[str, Any]] = []
    record: dict[str, Any] = {}
    for fold in folds:
        print(f"== fold {fold}", flush=True)
        metrics = _of_fold(settings, fold)
        if metrics:  # of several processes the first one's alone, or all find them finished
            runs.append({"fold": fold, **{name: metrics[name] for name in KEPT}})
        if not jax.process_index():
            record = _record(runs)
            files.write_json(settings.out / "folds.json", record)
    return record


def _record(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What folds.json holds of the folds so far."""
    accuracies = np.array([run["accuracy"] for run in runs])
    return {
        "accuracy": float(accuracies.mean()),
        "lowest": float(accuracies.min()),
        "highest": float(accuracies.max()),
        "standard_deviation": float(accuracies.std(ddof=1)) if len(runs) > 1 else None,
        "folds": runs,
        **provenance.describe(),
    }


def _of_fold(settings: Settings, fold: int) -> dict[str, Any]:
    """The study's metrics on one fold: of the finished run that is there, or of a new one."""
    validated = settings.validation_fold
    if validated == fold:
        validated = fold % len(FOLDS) + 1
    out = settings.out / f"fold-{fold}"
    one = replace(settings, test_fold=fold, validation_fold=validated, out=out)
    try:
        found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return brain_tumor.main(one)
    same = found["settings"] == json.loads(json.dumps(plain(one)))
    return found if same else brain_tumor.main(one)


KEPT = ("accuracy", "accuracy_interval", "confusion", "completeness", "timings", "settings")
"""What folds.json has of a fold's metrics.json."""


def summary(record: dict[str, Any]) -> str:
    """What was found, in a few lines."""
    lines = [f"  fold {run['fold']}: {run['accuracy']:.4f}" for run in record["folds"]]
    spread = f"{record['lowest']:.4f} to {record['highest']:.4f}"
    return "\n".join([f"mean accuracy {record['accuracy']:.4f}, {spread}", *lines])


if __name__ == "__main__":
    given = tyro.cli(Settings, prog="python -m experiments.folds", description=__doc__)
    try:
        if found := main(given):
            print(summary(found))
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
