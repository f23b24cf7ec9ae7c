"""`jaxsal train`: a folder of labelled images to a network that `jaxsal explain` reads."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsal.commands import effects, evaluation, evaluation_page, replacing, seen
from jaxsal.commands.progress import Training
from jaxsal.commands.reading import read_and_split
from jaxsal.commands.settings import Train
from jaxsal.common import files, provenance, results
from jaxsal.compiler import processes
from jaxsal.data.augment import augment, augment_volume
from jaxsal.data.examples import Dataset
from jaxsal.data.splits import Division
from jaxsal.models import Network
from jaxsal.training import checkpoint, loop, pretrained
from jaxsal.training.config import TrainConfig

LONG = ("roc", "reliability", "mistakes", "settings", "history")
"""Of the metrics, what a line of JSON does without."""


def run(settings: Train) -> dict[str, Any]:
    """Runs the command; returns what it prints under `--json`."""
    effects.check(settings)
    processes.join_if(settings.processes)
    config = settings.training.checked()
    processes.local_devices(config.devices)  # an error before anything is read
    weights = None if settings.init is None else pretrained.load(settings.init)
    if len(settings.mean) != len(settings.std):
        raise ValueError("mean: goes with --std, a number a channel each")
    if settings.dry_run:
        return {"understood": _read(settings, config, weights)[2]}
    if settings.out is None:
        raise ValueError("out: expected --out DIR, or --dry-run")
    names = {checkpoint.MODEL, checkpoint.PARAMS, seen.FILE, *evaluation_page.file_names()}
    given = (settings.init, settings.reading.labels)
    replacing.check(settings.out, results.TRAINING, names, given)
    with files.writable(settings.out) as folder:
        dataset, division, understood = _read(settings, config, weights)
    start = time.monotonic()
    model, run = _prepared(settings, config, weights, dataset, division)
    with Training(run.steps, config, silent=settings.json or jax.process_index() > 0) as bar:
        trained = loop.train(config, run, checkpoints=folder / checkpoint.CHECKPOINTS, on_step=bar)
    seconds = time.monotonic() - start
    logits = run.predict(trained.variables, division.test.images)
    measured = evaluation.measure(logits, division.test, dataset.classes)
    epochs = len(trained.history["train_loss"]) - trained.resumed
    metrics = {
        **measured,
        "warnings": [*measured["warnings"], *division.warnings],
        "trained_on": len(division.train.labels),
        "validated_on": len(division.validation.labels),
        "resumed": trained.resumed,
        "epochs": {
            "kept": loop.kept_epoch(trained.history),
            "trained": len(trained.history["train_loss"]),
            "asked": config.epochs,
            "patience": config.patience,
        },
        "seconds": round(seconds, 3),
        "images_per_second": round(epochs * len(division.train.labels) / seconds, 2),
        "understood": understood,
        "settings": config.identity() | {"data": "folder", "data_dir": str(settings.images)},
        "history": trained.history,
    }
    if not jax.process_index():
        _write(folder, config, model, trained, dataset, division, metrics, logits)
    processes.wait("trained")
    told = {name: value for name, value in metrics.items() if name not in LONG}
    result = {"out": str(folder), **told, "skipped": list(dataset.skipped)}
    return dict(files.finite({**result, "report": str(folder / evaluation_page.PAGE)}))


def _read(
    settings: Train, config: TrainConfig, weights: pretrained.Pretrained | None
) -> tuple[Dataset, Division, dict[str, Any]]:
    """All images, their split, and what was understood."""
    channels = None if settings.channels == "auto" else int(settings.channels)
    if weights is not None:
        if settings.volumes:
            raise ValueError("init: weights of a network of pictures; leave it out, or --volumes")
        if channels not in (None, weights.channels):
            raise ValueError(f"channels: --init takes {weights.channels}, got {channels}")
        channels = weights.channels
    dataset, division, found = read_and_split(
        settings.images,
        settings.reading,
        config,
        channels=channels,
        strict=settings.strict,
        force=settings.force,
        silent=settings.json or jax.process_index() > 0,
        volumes=settings.volumes,
    )
    parts = {*([] if dataset.parts is None else dataset.parts.tolist())}
    default = Train(settings.images).training.checked()
    effects.check_split(config, default, parts, len(division.validation.labels))
    return dataset, division, found


def _prepared(
    settings: Train,
    config: TrainConfig,
    weights: pretrained.Pretrained | None,
    dataset: Dataset,
    division: Division,
) -> tuple[Network, loop.Run]:
    """The network and its training: the study's CNN afresh, or a ResNet with weights it has."""
    parts = division.train, division.validation
    if weights is None:
        cnn = loop.make_model(config, len(dataset.classes), axes=3 if settings.volumes else 2)
        vary = augment_volume if settings.volumes else augment
        return cnn, loop.prepare(config, cnn, *parts, augment=vary)
    model = weights.model(len(dataset.classes), settings.mean, settings.std)
    run = loop.prepare(config, model, *parts, facts={"init": weights.digest})
    filled = weights.fill(run.state.variables)
    return model, run._replace(state=run.state._replace(variables=filled, average=filled))


def _write(
    folder: Path,
    config: TrainConfig,
    model: Network,
    trained: loop.Trained,
    dataset: Dataset,
    division: Division,
    metrics: dict[str, Any],
    logits: np.ndarray,
) -> None:
    seen.save(folder, division.train, division.validation)
    checkpoint.save(
        folder,
        model,
        trained.variables,
        classes=dataset.classes,
        image_size=config.image_size,
    )
    about = {"data": dataset.source, "notes": dataset.notes, "skipped": dataset.skipped}
    record = {**metrics, **about, **provenance.describe()}
    evaluation_page.write(
        folder, record, logits, division.test, title="What the network has learned"
    )
    files.write_json(folder / results.METRICS, record)
