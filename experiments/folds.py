"""The study once a fold: each fifth of the patients is tested by a network of the other four.

    python -m experiments.folds --data figshare --data-dir DIR --image-size 128 --out runs/folds

Takes the settings of `python -m experiments.brain_tumor`, `--test-fold` apart, and writes one such
run into each of fold-1 ... fold-5 under --out, and folds.json: every fold's accuracy, their mean
and spread. The same command after a kill goes on where it stopped.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tyro

from experiments import brain_tumor
from experiments.settings import Settings, resolve
from jaxsal import machine
from jaxsal.command import places

FOLDS = (1, 2, 3, 4, 5)


def main(settings: Settings, folds: Sequence[int] = FOLDS) -> dict[str, Any]:
    """Runs the study for each fold; returns what folds.json holds."""
    out = settings.out
    runs = []
    for fold in folds:
        print(f"== fold {fold}", flush=True)
        one = replace(
            settings,
            test_fold=fold,
            validation_fold=_validated(settings, fold),
            out=out / f"fold-{fold}",
        )
        metrics = brain_tumor.main(one)
        if metrics:  # of several processes the first one's alone
            runs.append({"fold": fold, **{name: metrics[name] for name in KEPT}})
    if not runs:
        return {}
    accuracies = np.array([run["accuracy"] for run in runs])
    record = {
        "accuracy": float(accuracies.mean()),
        "lowest": float(accuracies.min()),
        "highest": float(accuracies.max()),
        "standard_deviation": float(accuracies.std(ddof=1)) if len(runs) > 1 else None,
        "folds": runs,
        **machine.describe(),
    }
    places.write_json(out / "folds.json", record)
    return record


KEPT = ("accuracy", "accuracy_interval", "confusion", "completeness", "timings", "settings")
"""What folds.json has of a fold's metrics.json."""


def _validated(settings: Settings, tested: int) -> int:
    """The fold after the tested one, where the settings want a validation at all; else 0."""
    return tested % len(FOLDS) + 1 if resolve(settings).validation_fold else 0


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
