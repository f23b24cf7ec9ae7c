"""`jaxsal train`: a folder of labelled images to a network that `jaxsal explain` reads."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsal.commands.progress import Training
from jaxsal.commands.settings import Train
from jaxsal.common import files, provenance
from jaxsal.compiler import processes
from jaxsal.data import pipeline, volumes
from jaxsal.data.augment import augment, augment_volume
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.splits import known_patients
from jaxsal.metrics import bootstrap, classification
from jaxsal.models import CNN
from jaxsal.training import checkpoint, loop
from jaxsal.training.config import TrainConfig


def run(settings: Train) -> dict[str, Any]:
    """Runs the command; returns what it prints under `--json`."""
    processes.join_if(settings.processes)
    config = settings.training.checked()
    processes.local_devices(config.devices)  # an error before anything is read
    with files.writable(settings.out) as folder:
        dataset, training, validation, test = _read(settings, config)
    model = loop.make_model(config, len(dataset.classes), axes=3 if settings.volumes else 2)
    start = time.monotonic()
    vary = augment_volume if settings.volumes else augment
    run = loop.prepare(config, model, training, validation, augment=vary)
    with Training(run.steps, config, silent=settings.json or jax.process_index() > 0) as bar:
        trained = loop.train(config, run, checkpoints=folder / "checkpoints", on_step=bar)
    seconds = time.monotonic() - start
    epochs = len(trained.history["train_loss"]) - trained.resumed
    metrics = {
        **_test(run.predict(trained.variables, test.images), test, dataset.classes),
        "trained_on": len(training.labels),
        "resumed": trained.resumed,
        "seconds": round(seconds, 3),
        "images_per_second": round(epochs * len(training.labels) / seconds, 2),
    }
    if not jax.process_index():
        data = {"data": "folder", "data_dir": str(settings.images)}
        about = {"settings": config.identity() | data, "history": trained.history}
        _write(folder, config, model, trained, dataset, metrics | about)
    processes.wait("trained")
    result = {"out": str(folder), **metrics, "skipped": list(dataset.skipped)}
    return dict(files.finite(result))


def _read(settings: Train, config: TrainConfig) -> tuple[Dataset, Examples, Examples, Examples]:
    """All images, and those of training, validation and test."""
    read = volumes.folder if settings.volumes else pipeline.folder
    dataset = read(settings.images, image_size=config.image_size, strict=settings.strict)
    return dataset, *pipeline.split(
        dataset,
        test_fold=config.test_fold,
        validation_fold=config.validation_fold or None,
        seed=config.seed,
    )


def _test(logits: np.ndarray, test: Examples, classes: tuple[str, ...]) -> dict[str, Any]:
    report = classification.classification_report(logits, test.labels, classes)
    hits = (logits.argmax(-1) == test.labels).astype(float)
    _, low, high = bootstrap.share_interval(hits, known_patients(test))
    return {"accuracy": report.pop("accuracy"), "accuracy_interval": [low, high], **report}


def _write(
    folder: Path,
    config: TrainConfig,
    model: CNN,
    trained: loop.Trained,
    dataset: Dataset,
    metrics: dict[str, Any],
) -> None:
    checkpoint.save(
        folder,
        model,
        trained.variables,
        classes=dataset.classes,
        image_size=config.image_size,
    )
    about = {"data": dataset.source, "notes": dataset.notes, "skipped": dataset.skipped}
    files.write_json(folder / "metrics.json", {**metrics, **about, **provenance.describe()})
