"""`jaxsal train`: a folder of labelled images to a network that `jaxsal explain` reads."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.commands.fitting import fitted
from jaxsal.commands.settings import Train
from jaxsal.common import files, provenance
from jaxsal.compiler import processes
from jaxsal.data import pipeline
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.splits import known_patients
from jaxsal.metrics import bootstrap, classification
from jaxsal.models import CNN
from jaxsal.training import checkpoint, in_memory

APART = ("images", "out", "parallel", "devices", "strict", "json", "processes")
"""Settings that do not decide the trained parameters."""


def train(settings: Train) -> dict[str, Any]:
    """Runs the command; returns what is told of it."""
    processes.join_if(settings.processes)
    in_memory.check(settings)
    with files.writable(settings.out) as folder:
        dataset = pipeline.folder(
            settings.images, image_size=settings.image_size, strict=settings.strict
        )
        training, validation, test = pipeline.split(
            dataset,
            test_fold=settings.test_fold,
            validation_fold=settings.validation_fold or None,
            seed=settings.seed,
        )
    model = in_memory.network(
        len(dataset.classes),
        settings.image_size,
        widths=settings.widths,
        dropout=settings.dropout,
        dtype=jnp.float32,
    )
    begun = time.monotonic()
    trained = fitted(
        settings,
        model,
        training,
        validation,
        checkpoints=folder / "checkpoints",
        identity=_kept(settings),
        silent=settings.json or jax.process_index() > 0,
    )
    seconds = time.monotonic() - begun
    logits = trained.predict(trained.fitted.variables, test.images)
    metrics = {
        **_tested(logits, test, dataset.classes),
        "trained_on": len(training.labels),
        "resumed": trained.fitted.resumed,
        "seconds": round(seconds, 3),
        "images_per_second": round(_seen(trained, training) / seconds, 2),
    }
    if not jax.process_index():
        about = {
            "size": settings.image_size,
            "settings": _kept(settings) | {"data": "folder", "data_dir": str(settings.images)},
            "history": trained.fitted.history,
        }
        _write(folder, model, trained, dataset, metrics | about)
    processes.wait("trained")
    told = {"out": str(folder), **metrics, "skipped": list(dataset.skipped)}
    return dict(files.finite(told))


def _kept(settings: Train) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(settings).items() if k not in APART}


def _tested(logits: np.ndarray, test: Examples, classes: tuple[str, ...]) -> dict[str, Any]:
    report = classification.classification_report(logits, test.labels, classes)
    hits = (logits.argmax(-1) == test.labels).astype(float)
    _, low, high = bootstrap.share_interval(hits, known_patients(test))
    return {"accuracy": report.pop("accuracy"), "accuracy_interval": [low, high], **report}


def _seen(trained: in_memory.Trained, training: Examples) -> int:
    epochs = len(trained.fitted.history["train_loss"]) - trained.fitted.resumed
    return epochs * len(training.labels)


def _write(
    folder: Path,
    model: CNN,
    trained: in_memory.Trained,
    dataset: Dataset,
    metrics: dict[str, Any],
) -> None:
    size = metrics.pop("size")
    variables = trained.fitted.variables
    checkpoint.save(folder, model, variables, classes=dataset.classes, image_size=size)
    about = {"data": dataset.source, "notes": dataset.notes, "skipped": dataset.skipped}
    files.write_json(folder / "metrics.json", {**metrics, **about, **provenance.describe()})
