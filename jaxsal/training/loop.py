"""The training loop: epochs, validation, checkpoints; a killed run resumes and ends the same."""

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxsal.training.devices import Parallel
from jaxsal.training.step import Recipe, TrainState
from jaxsal.types import Params

History = dict[str, list[float]]

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports every file it touches


class DivergedError(FloatingPointError):
    """The loss is no longer finite."""


class Fitted(NamedTuple):
    """A trained network.

    Attributes:
        variables: the moving average of parameters and statistics, of the epoch with the lowest
            validation loss, or without validation of the last epoch; NumPy.
        history: train_loss, train_accuracy and, with validation, validation_loss and
            validation_accuracy: a number an epoch.
        resumed: the number of epochs that an earlier process had finished.
    """

    variables: Params
    history: History
    resumed: int


class _Progress(NamedTuple):
    state: TrainState
    best: Params
    history: History

    @property
    def epoch(self) -> int:
        return len(self.history["train_loss"])

    def finished(self, recipe: Recipe) -> bool:
        losses = self.history.get("validation_loss")
        stale = len(losses) - 1 - int(np.argmin(losses)) if losses else 0
        return self.epoch >= recipe.epochs or bool(recipe.patience and stale >= recipe.patience)


def fit(
    state: TrainState,
    data: Any,
    *,
    run: Parallel,
    batches: Callable[[int], Iterable[Any]],
    recipe: Recipe,
    validate: Callable[[Params], dict[str, float]] | None = None,
    checkpoints: Path | None = None,
    identity: dict[str, Any] | None = None,
    on_step: Callable[[int, Any], None] = lambda epoch, metrics: None,
) -> Fitted:
    """Trains for `recipe.epochs` epochs, or until validation stops improving.

    Args:
        state: the state before the first step.
        data: what `run.step` takes second; replicated on every device once.
        run: the step, compiled for the devices.
        batches: `batches(epoch)` gives the epoch's selections; the same ones whenever it is asked.
        validate: `validate(variables) -> {"loss", "accuracy"}`, after each epoch.
        checkpoints: a folder; each epoch is saved there, asynchronously and atomically, and a later
            call with the same arguments goes on from the last one, to the same end.
        identity: JSON-able facts that decide the result; a folder of another identity is refused.
        on_step: called after each step with the epoch and the step's metrics, still on the device.

    Raises:
        DivergedError: a loss is not finite; the checkpoint of the epoch before is kept.
        ValueError: `checkpoints` holds a run of another identity.
    """
    empty: History = {name: [] for name in ("train_loss", "train_accuracy")}
    progress = _Progress(jax.device_get(state), jax.device_get(state.average), empty)
    with _Checkpoints(checkpoints, identity or {}) as store:
        progress = store.restore(progress)
        resumed = progress.epoch
        placed, data = run.replicate(progress.state), run.replicate(data)
        while not progress.finished(recipe):
            placed, means = _epoch(placed, data, run, batches, progress.epoch, on_step)
            progress = _record(progress, run.fetch(placed), means, validate)
            store.save(progress)
    return Fitted(progress.best, progress.history, resumed)


def _epoch(
    placed: Any,
    data: Any,
    run: Parallel,
    batches: Callable[[int], Iterable[Any]],
    epoch: int,
    on_step: Callable[[int, Any], None],
) -> tuple[Any, dict[str, float]]:
    seen = []
    for selection in batches(epoch):
        placed, metrics = run.step(placed, data, selection)
        seen.append(metrics)
        on_step(epoch, metrics)
    columns = {name: np.array([float(step[name]) for step in seen]) for name in seen[0]}
    broken = np.flatnonzero(~np.isfinite(columns["loss"]))
    if len(broken):
        raise DivergedError(
            f"the loss is {columns['loss'][broken[0]]} at epoch {epoch + 1}, step {broken[0] + 1}; "
            f"the last good checkpoint is that of epoch {epoch}. Try a lower learning rate."
        )
    return placed, {name: float(values.mean()) for name, values in columns.items()}


def _record(
    progress: _Progress,
    state: TrainState,
    means: dict[str, float],
    validate: Callable[[Params], dict[str, float]] | None,
) -> _Progress:
    new = {"train_loss": means["loss"], "train_accuracy": means["accuracy"]}
    best = state.average
    if validate is not None:
        measured = validate(state.average)
        new |= {f"validation_{name}": value for name, value in measured.items()}
        if min(progress.history.get("validation_loss", [np.inf])) <= measured["loss"]:
            best = progress.best
    history = {name: [*progress.history.get(name, []), value] for name, value in new.items()}
    return _Progress(state, best, history)


class _Checkpoints:
    """Orbax's manager under the two calls that the loop makes; `None` keeps nothing."""

    def __init__(self, folder: Path | None, identity: dict[str, Any]):
        self.folder = folder
        self.identity = json.loads(json.dumps(identity))
        self.manager = None

    def __enter__(self) -> "_Checkpoints":
        if self.folder is not None:
            options = ocp.CheckpointManagerOptions(max_to_keep=2)
            self.manager = ocp.CheckpointManager(self.folder.absolute(), options=options)
        return self

    def __exit__(self, *error: object) -> None:
        if self.manager is not None:
            self.manager.wait_until_finished()
            self.manager.close()

    def save(self, progress: _Progress) -> None:
        if self.manager is None:
            return
        arrays = {"state": progress.state, "best": progress.best}
        facts = {"identity": self.identity, "history": progress.history}
        self.manager.save(
            progress.epoch,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardSave(arrays), facts=ocp.args.JsonSave(facts)
            ),
        )

    def restore(self, fresh: _Progress) -> _Progress:
        last = None if self.manager is None else self.manager.latest_step()
        if self.manager is None or last is None:
            return fresh
        facts = self.manager.restore(
            last, args=ocp.args.Composite(facts=ocp.args.JsonRestore())
        ).facts
        self._refuse_another(facts["identity"])
        arrays = self.manager.restore(
            last,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardRestore({"state": fresh.state, "best": fresh.best})
            ),
        ).arrays
        return _Progress(arrays["state"], arrays["best"], facts["history"])

    def _refuse_another(self, found: dict[str, Any]) -> None:
        names = sorted(
            name
            for name in self.identity.keys() | found.keys()
            if self.identity.get(name) != found.get(name)
        )
        if names:
            name = names[0]
            raise ValueError(
                f"checkpoints: {self.folder} holds a run with {name}={found.get(name)!r}, this run "
                f"has {name}={self.identity.get(name)!r}; choose another folder or remove it"
            )
