"""Chooses the study's recipe: each one trained on three folds and validated on a fourth.

    python -m experiments.tune --data figshare --data-dir DIR --image-size 64 --out runs/tune

Of the folds 1 to 4, each in turn validates the networks of the other three; the fold that the study
tests (5) is never predicted. Every recipe of experiments/recipes.py, or those named. Writes one
record a recipe and fold, and protocol.json with all of them, best first, after each; the same
command goes on where a killed one stopped. A fold of figshare takes about three minutes for 24
epochs at 64x64 on two CPU cores.
"""

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from experiments import settings as studies
from experiments.follow_up import full_precision
from experiments.recipes import RECIPES, Recipe
from experiments.settings import Settings as Study
from experiments.settings import as_json, plain
from experiments.sources import Name
from jaxsal.commands.progress import Training
from jaxsal.common import files, provenance
from jaxsal.data.examples import Dataset
from jaxsal.data.splits import accepted, divide, take
from jaxsal.metrics.classification import classification_report
from jaxsal.training import loop
from jaxsal.training.checkpoint import model_fields

FOLDS = (1, 2, 3, 4)
HELD_OUT = 5
"""The fold that no recipe sees."""
KEPT = ("accuracy", "macro_auc", "calibration", "per_class")


@dataclass(frozen=True)
class Settings:
    """Settings of the choice. None: what suits the data."""

    data: Name = "phantom"
    """Generated phantoms (`shapes`: in classes of the outline alone), Cheng's figshare set, or any
    folder of labelled images."""
    data_dir: Path | None = None
    """Where the images lie."""
    image_size: int | None = None
    """Side of the images in pixels."""
    epochs: int | None = 24
    """Passes over the training images; fewer than the study's rank recipes nearly as well."""
    count: int = 4800
    """How many phantoms are generated."""
    recipes: tuple[str, ...] = tuple(RECIPES)
    """Which are tried."""
    folds: tuple[int, ...] = FOLDS
    """Which validate, in turn."""
    seed: int = 0
    """Of the initial parameters, the batches and the augmentation."""
    out: Path = Path("runs/tune")
    """Where everything is written."""

    def __post_init__(self) -> None:
        for name, known in {"recipes": tuple(RECIPES), "folds": FOLDS}.items():
            wrong = [each for each in getattr(self, name) if each not in known]
            if wrong or not getattr(self, name):
                raise ValueError(f"{name}: expected some of {known}, got {wrong or 'none'}")


def main(settings: Settings) -> dict[str, Any]:
    """Tries the recipes; returns what protocol.json holds."""
    study, _ = studies.resolve(
        Study(
            data=settings.data,
            data_dir=settings.data_dir,
            image_size=settings.image_size,
            epochs=settings.epochs,
            count=settings.count,
            seed=settings.seed,
            test_fold=HELD_OUT,
        )
    )
    with files.writable(settings.out) as folder:
        dataset = studies.folded(study)
    record: dict[str, Any] = {}
    for fold in settings.folds:  # a fold of every recipe first: a killed run compares them all
        for name in settings.recipes:
            print(f"== {name}, validated on fold {fold}", flush=True)
            if not _known(folder, dataset, study, name, fold):
                _try(folder, dataset, study, name, fold)
            record = _protocol(folder, dataset, study)
            files.write_json(folder / "protocol.json", record)
    return record


def _with(study: Study, name: str, fold: int) -> Study:
    """The study's settings with a recipe's, and the fold that validates."""
    return replace(study, validation_fold=fold, **RECIPES[name].options)


def _known(folder: Path, dataset: Dataset, study: Study, name: str, fold: int) -> dict[str, Any]:
    """The record of a recipe on a fold, of the same settings; empty where there is none."""
    path = folder / f"{name}-fold{fold}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    config = _with(study, name, fold)
    asked = {"settings": as_json(config), "code": _code(RECIPES[name], config, dataset)}
    return found if all(found.get(key) == value for key, value in asked.items()) else {}


def _code(recipe: Recipe, study: Study, dataset: Dataset) -> dict[str, Any]:
    """What a recipe is beside its settings: the network's fields, and how an image is varied."""
    model = recipe.build(study.checked(), len(dataset.classes))
    varied = getattr(recipe.augment, "keywords", {})
    return dict(json.loads(json.dumps({"network": model_fields(model), "augment": varied})))


def _try(folder: Path, dataset: Dataset, study: Study, name: str, fold: int) -> None:
    """Trains a recipe, validates it on a fold, and writes its record."""
    config, run = _with(study, name, fold), f"{name}-fold{fold}"
    found = _validated(folder, dataset, config, RECIPES[name], run)
    code = _code(RECIPES[name], config, dataset)
    record = {**found, "fold": fold, "settings": plain(config), "code": code}
    files.write_json(folder / f"{run}.json", record)


def _validated(
    folder: Path, dataset: Dataset, study: Study, recipe: Recipe, run_name: str
) -> dict[str, Any]:
    """What the network of a recipe is worth on its validation fold."""
    config, fold = study.checked(), study.validation_fold
    division = accepted(divide(dataset, test_fold=HELD_OUT, validation_fold=fold, seed=study.seed))
    model = recipe.build(config, len(dataset.classes))
    # Validated once, at the end: the epoch is no choice of the validation fold.
    nothing = take(division.validation, np.zeros(0, np.int32))
    facts = {"augment": _code(recipe, study, dataset)["augment"]}
    run = loop.prepare(config, model, division.train, nothing, facts=facts, augment=recipe.augment)
    begin = time.perf_counter()
    with Training(run.steps, config) as bar:
        trained = loop.train(config, run, checkpoints=folder / run_name, on_step=bar)
    seconds = time.perf_counter() - begin
    with full_precision():
        logits = run.predict(trained.variables, division.validation.images)
    report = classification_report(logits, division.validation.labels, dataset.classes)
    found = {name: report[name] for name in KEPT}
    return {**found, "images": len(logits), "train_seconds": seconds, "resumed": trained.resumed}


def _protocol(folder: Path, dataset: Dataset, study: Study) -> dict[str, Any]:
    """Every recipe that was ever tried into this folder, the best first, and on what."""
    tried = {
        name: found
        for name in RECIPES
        if (found := [r for fold in FOLDS if (r := _known(folder, dataset, study, name, fold))])
    }
    rows = {name: _row(name, records) for name, records in tried.items()}
    most = max(len(records) for records in tried.values())
    # Recipes that were given up after a fold or two are not compared with the others' means.
    best_first = sorted(rows, key=lambda n: (len(tried[n]) < most, -rows[n]["accuracy"]))
    return {
        "held_out": HELD_OUT,
        "recipes": {name: rows[name] for name in best_first},
        "settings": plain(study),
        **provenance.describe(),
    }


def _row(name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [record["accuracy"] for record in records]
    return {
        "what": RECIPES[name].what,
        "accuracy": float(np.mean(accuracies)),
        "macro_auc": float(np.mean([record["macro_auc"] for record in records])),
        "ece": float(np.mean([record["calibration"]["ece"] for record in records])),
        "minutes": _minutes([each["train_seconds"] for each in records if not each["resumed"]]),
        "by_fold": {str(record["fold"]): record["accuracy"] for record in records},
    }


def _minutes(seconds: list[float]) -> float | None:
    """The mean; None where every training was resumed, of which only the last part is timed."""
    return float(np.mean(seconds)) / 60 if seconds else None


def summary(record: dict[str, Any]) -> str:
    """What was found, a line a recipe."""
    lines = []
    for name, row in record["recipes"].items():
        folds = "  ".join(f"{fold}: {value:.3f}" for fold, value in row["by_fold"].items())
        lines.append(f"  {name:<12} {row['accuracy']:.4f}   {folds}   {row['what']}")
    return "\n".join(["mean accuracy on the validation folds:", *lines])


if __name__ == "__main__":
    given = tyro.cli(Settings, prog="python -m experiments.tune", description=__doc__)
    try:
        print(summary(main(given)))
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
