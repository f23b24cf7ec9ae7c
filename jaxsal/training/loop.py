"""The training loop: epochs, validation, checkpoints; a killed run resumes and ends the same."""

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import PyTree

from jaxsal.compiler import processes
from jaxsal.data.augment import augment
from jaxsal.data.batches import batches
from jaxsal.data.examples import Examples
from jaxsal.models import CNN, Network
from jaxsal.training import step
from jaxsal.training.checkpoint import Checkpoints, examples_fingerprint, model_fields
from jaxsal.training.config import TrainConfig
from jaxsal.training.devices import MODES, Parallel
from jaxsal.training.predict import Predict, batch_of, evaluate, make_predict
from jaxsal.training.step import Selection, TrainState
from jaxsal.types import ApplyFn, Key, Params

History = dict[str, list[float]]
"""A number an epoch of each: train_loss, train_accuracy, learning_rate and, with validation,
validation_loss and validation_accuracy."""


class DivergedError(FloatingPointError):
    """The loss is no longer finite."""


class Trained(NamedTuple):
    """A trained network.

    Attributes:
        variables: the moving average of parameters and statistics, of the epoch that `kept_epoch`
            tells; NumPy.
        history: see `History`.
        resumed: the number of epochs that an earlier process had finished.
    """

    variables: Params
    history: History
    resumed: int


class Run(NamedTuple):
    """A training that is ready to start: all that is built once.

    Attributes:
        parallel: the step, compiled for the devices.
        state: before the first step.
        data: images and labels; replicated on every device once.
        steps: of an epoch.
        selections: `selections(epoch)` gives the epoch's batches; the same whenever it is asked.
        schedule: the learning rate by step.
        predict: the logits of images. init: from a key to variables that have learned nothing.
        validate: `validate(variables) -> {"loss", "accuracy"}`; None without validation images.
        identity: what decides the result; checkpoints of another identity are refused.
    """

    parallel: Parallel
    state: TrainState
    data: tuple[np.ndarray, np.ndarray]
    steps: int
    selections: Callable[[int], Iterable[Selection]]
    schedule: optax.Schedule
    predict: Predict
    init: Callable[[Key], Params]
    validate: Callable[[Params], dict[str, float]] | None
    identity: dict[str, Any]


class Progress(NamedTuple):
    """How far a training is: after each epoch, what is needed to go on from there."""

    state: TrainState
    best: Params
    history: History

    @property
    def epoch(self) -> int:
        return len(self.history["train_loss"])

    def finished(self, config: TrainConfig) -> bool:
        stale = self.epoch - kept_epoch(self.history)
        patient = not config.patience or stale < config.patience or 2 * self.epoch < config.epochs
        return self.epoch >= config.epochs or not patient


def kept_epoch(history: History) -> int:
    """The epoch, from 1 on, whose network is kept: the most accurate on the validation images.

    Of equally accurate ones that of the lowest loss, then the first; without validation the last.
    """
    accuracies = history.get("validation_accuracy", ())
    scores = list(zip(accuracies, np.negative(history.get("validation_loss", ())), strict=True))
    return scores.index(max(scores)) + 1 if scores else len(history["train_loss"])


def make_model(
    config: TrainConfig, classes: int, *, dtype: DTypeLike = jnp.float32, axes: int = 2
) -> CNN:
    """The CNN for images of `config.image_size`: of large ones it smooths and strides more.

    Of volumes (3 axes) it keeps the maximum over all positions, and strides from 32 voxels on.

    Raises:
        ValueError: the stride leaves too few pixels for so many stages.
    """
    if axes == 3:
        # Of 400 phantoms of 32 voxels a side, whose tumours fill 2 to 6 thousandths, 240 trained on
        # for 20 epochs and 80 tested: 0.85 of these are known with the maximum, 0.66 with the mean.
        return CNN(
            classes=classes,
            widths=config.widths,
            stride=2 if config.image_size >= 32 else 1,
            last_pool=False,
            dropout=config.dropout,
            dtype=dtype,
            axes=axes,
            top="max",
        )
    # Twice as many pixels a millimetre: the same detail is smoothed away, at the same cost.
    stride = _stride(config)
    return CNN(
        classes=classes,
        widths=config.widths,
        smooth=stride,
        stride=stride,
        dropout=config.dropout,
        dtype=dtype,
    )


def _stride(config: TrainConfig) -> int:
    """2 where pictures are large, else 1.

    Raises:
        ValueError: it leaves too few pixels for the pools of so many stages. (Of a stride of one
            `TrainConfig` says so, which knows nothing of volumes and their strides.)
    """
    size, stages = config.image_size, len(config.widths)
    stride = 2 if size >= 128 else 1
    if -(-size // stride) < 2**stages:
        raise ValueError(
            f"widths: {stages} stages cannot be had from images of {size} pixels, of which the "
            "first convolution takes every second one"
        )
    return stride


def prepare(
    config: TrainConfig,
    model: Network,
    training: Examples,
    validation: Examples,
    *,
    facts: dict[str, Any] | None = None,
    augment: step.Augment = augment,
) -> Run:
    """Builds the training of `model` on examples that fit on a device, over all processes' devices.

    Args:
        validation: may be empty.
        facts: what else decides the result, JSON-able; part of the identity.
        augment: how an image is varied.
    """
    count = len(training.labels)
    epoch_steps = -(-count // config.batch_size)
    steps = config.epochs * epoch_steps
    weights = np.ones(model.classes, np.float32)
    if config.class_weights:
        weights = step.class_weights(training.labels, model.classes)
    make_step = step.make_step(model, config, steps=steps, class_weight=weights, augment=augment)
    devices = processes.all_devices(config.devices)
    at_once = batch_of(training.images)
    predict = make_predict(cast(ApplyFn, model.apply), batch_size=at_once, devices=devices)
    sample = jnp.asarray(training.images[:1])
    init = jax.jit(lambda key: model.init(key, sample))

    def validate(variables: Params) -> dict[str, float]:
        return evaluate(predict(variables, validation.images), validation.labels)

    return Run(
        parallel=MODES[config.parallel](make_step, devices),
        state=step.init_state(
            init(jax.random.key(config.seed)), step.make_optimizer(config, steps)
        ),
        data=(training.images, training.labels),
        steps=epoch_steps,
        selections=functools.partial(select, count, config.batch_size, config.seed),
        schedule=step.make_schedule(config, steps),
        predict=predict,
        init=init,
        validate=validate if len(validation.labels) else None,
        identity={
            **(facts or {}),
            **config.identity(),
            **model_fields(model),
            "training images": examples_fingerprint(training, validation),
        },
    )


def select(count: int, batch_size: int, seed: int, epoch: int) -> Iterator[Selection]:
    """The batches of one epoch: a function of its arguments alone."""
    positions = np.arange(batch_size, dtype=np.int32)
    weights = np.ones(batch_size, np.float32)
    for rows in batches(count, batch_size, seed=seed, epoch=epoch):
        yield Selection(rows, weights, positions)


def train(
    config: TrainConfig,
    run: Run,
    *,
    checkpoints: Path | None = None,
    on_step: Callable[[int, step.Metrics], None] = lambda epoch, metrics: None,
) -> Trained:
    """Trains for `config.epochs` epochs, or until validation stops improving.

    Args:
        checkpoints: a folder; each epoch is saved there, asynchronously and atomically, and a later
            call with the same arguments goes on from the last one, to the same end.
        on_step: called after each step with the epoch and the step's metrics, still on the device.

    Raises:
        DivergedError: a loss is not finite; the checkpoint of the epoch before, if there is one,
            is kept.
        ValueError: `checkpoints` holds a run of another identity.
    """
    state = jax.device_get(run.state)
    progress = Progress(state, state.average, {"train_loss": [], "train_accuracy": []})
    with Checkpoints(checkpoints, run.identity) as kept:
        progress = Progress(*kept.restore(*progress))
        resumed = progress.epoch
        placed, data = run.parallel.replicate((progress.state, run.data))
        while not progress.finished(config):
            placed, columns = _epoch(run, placed, data, progress.epoch, on_step)
            _check_finite(columns["loss"], progress.epoch, checkpoints)
            means = {name: float(values.mean()) for name, values in columns.items()}
            progress = _record(progress, run.parallel.fetch(placed), means, run.validate)
            kept.save(progress.epoch, *progress)
    rates = [float(run.schedule(run.steps * epoch)) for epoch in range(progress.epoch)]
    return Trained(progress.best, progress.history | {"learning_rate": rates}, resumed)


def _epoch(
    run: Run,
    state: TrainState,
    data: PyTree,
    epoch: int,
    on_step: Callable[[int, step.Metrics], None],
) -> tuple[TrainState, dict[str, np.ndarray]]:
    """The state after an epoch, and its metrics, of each a number a step."""
    seen = []
    for selection in run.selections(epoch):
        state, metrics = run.parallel.step(state, data, selection)
        seen.append(metrics)
        on_step(epoch, metrics)
    return state, {name: np.array([float(each[name]) for each in seen]) for name in seen[0]}


def _check_finite(losses: np.ndarray, epoch: int, checkpoints: Path | None) -> None:
    """Raises where a loss of the epoch, counted from 0, is not finite.

    Raises:
        DivergedError: it says what is kept.
    """
    broken = np.flatnonzero(~np.isfinite(losses))
    if not len(broken):
        return
    kept = "no epoch is finished" if checkpoints else "no checkpoint is kept"
    if checkpoints and epoch:
        kept = f"the last good checkpoint is that of epoch {epoch}"
    raise DivergedError(
        f"the loss is {losses[broken[0]]} at epoch {epoch + 1}, step {broken[0] + 1}; {kept}. Try "
        "a lower learning rate."
    )


def _record(
    progress: Progress,
    state: TrainState,
    means: dict[str, float],
    validate: Callable[[Params], dict[str, float]] | None,
) -> Progress:
    """The progress after an epoch, validated."""
    new = {"train_loss": means["loss"], "train_accuracy": means["accuracy"]}
    if validate is not None:
        measured = validate(state.average)
        new |= {f"validation_{name}": value for name, value in measured.items()}
    history = {name: [*progress.history.get(name, []), value] for name, value in new.items()}
    best = state.average if kept_epoch(history) == progress.epoch + 1 else progress.best
    return Progress(state, best, history)
