"""Training of the CNN on examples that fit on a device, over the devices of all processes."""

import functools
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler import processes
from jaxsal.data.augment import augment
from jaxsal.data.batches import batches
from jaxsal.data.examples import Examples
from jaxsal.models import CNN
from jaxsal.training import loop, step
from jaxsal.training.devices import MODES, Step


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; each range in both directions."""

    rotation: float = 0.5
    """Radians."""
    scale: tuple[float, float] = (0.8, 1.3)
    """Smallest and largest magnification."""
    shift: float = 0.06
    """Fraction of the image's side."""
    sharpness: float = 0.0
    """Share of the image's finest detail that is taken away or added."""
    noise: float = 0.0
    """Largest standard deviation; white is 1."""
    intensity: float = 0.1
    """Of the logarithms of gain and gamma."""


@dataclass(frozen=True)
class Fading:
    """Some training images are darkened towards black, and their labels towards ignorance.

    The darkened images are the path of integrated gradients from a black baseline: the network is
    taught what to say there, and that a black image says nothing (a baseline ought to be neutral:
    Sundararajan et al., ICML 2017).
    """

    share: float = 0.0
    """Of the images."""

    def __call__(self, key: Any, image: Any) -> tuple[Any, Any]:
        """The image times a, uniform in [0, 1], and a; or both as they are."""
        draws = jax.random.uniform(key, (2,), jnp.float32)
        factor = jnp.where(draws[0] < self.share, draws[1], 1.0)
        return factor * image, factor


LEAST = {
    "image_size": 16,
    "epochs": 1,
    "batch_size": 1,
    "test_fold": 1,
    "validation_fold": 0,
    "patience": 0,
    "seed": 0,
}
"""Settings and what they are at least."""


def check(settings: Any) -> None:
    """Settings of a training that make no sense, before anything is read.

    Raises:
        ValueError: a number out of its range, or more devices than there are.
    """
    for name, bound in LEAST.items():
        if getattr(settings, name) < bound:
            raise ValueError(f"{name}: expected at least {bound}, got {getattr(settings, name)}")
    if not 0 <= settings.fading <= 1:
        raise ValueError(f"fading: expected a share from 0 to 1, got {settings.fading}")
    if not 0 <= settings.dropout < 1:
        raise ValueError(f"dropout: expected a rate from 0 to below 1, got {settings.dropout}")
    if not 0 < settings.learning_rate < float("inf"):
        raise ValueError(f"learning_rate: expected more than 0, got {settings.learning_rate}")
    widths = settings.widths or ()
    if not widths or settings.image_size < 2 ** len(widths) or min(widths) < 1:
        size = settings.image_size
        raise ValueError(f"widths: {len(widths)} stages cannot be had from images of {size} pixels")
    processes.local_devices(settings.devices)


def network(
    classes: int, image_size: int, *, widths: tuple[int, ...], dropout: float, dtype: Any
) -> CNN:
    """The CNN for images of that side: the larger, the more is smoothed and strided away."""
    large = image_size >= 128
    # Twice as many pixels a millimetre: the same detail is smoothed away, at the same cost.
    # Without the last pool, and with half of the images faded, integrated gradients of 64 steps are
    # complete to 1 % on 96 % of the images of fold 4, by a network of folds 1 to 3 (64x64, 24
    # epochs); 94 % with a quarter faded, 92 % with the pool too; accuracies 0.84, 0.86, 0.85.
    return CNN(
        classes=classes,
        widths=widths,
        smooth=2 if large else 1,
        stride=2 if large else 1,
        last_pool=False,
        dropout=dropout,
        dtype=dtype,
    )


def fingerprint(*parts: Examples) -> str:
    """Of images and labels: a checkpoint of other ones is another run's."""
    content = hashlib.sha256()
    for part in parts:
        for column in (part.images, part.labels):
            content.update(np.ascontiguousarray(column))
    return content.hexdigest()[:16]


class Selection(NamedTuple):
    """Which examples make a batch: rows of the set on the device.

    Attributes:
        rows: int [B], of the examples.
        weights: float [B], 0 for padding.
        positions: int [B], in the batch; they decide the examples' random numbers, on any device.
    """

    rows: Any
    weights: Any
    positions: Any


def select(count: int, batch_size: int, seed: int, epoch: int) -> Iterable[Selection]:
    """The selections of one epoch: a function of its arguments alone."""
    positions = np.arange(batch_size, dtype=np.int32)
    weights = np.ones(batch_size, np.float32)
    for rows in batches(count, batch_size, seed=seed, epoch=epoch):
        yield Selection(rows, weights, positions)


def make_step(
    model: CNN,
    *,
    recipe: step.Recipe,
    augmentation: Augmentation,
    fading: Fading,
    steps: int,
    class_weight: np.ndarray,
    seed: int,
) -> Callable[[str | None], Step]:
    """`make_step(...)(axis_name)` is the step: draw a batch on the device, vary it, descend."""
    vary = jax.vmap(lambda key, image: augment(key, image, **vars(augmentation)))

    def on_axis(axis_name: str | None) -> Step:
        descend = functools.partial(
            step.train_step,
            apply=step.linen(model.clone(axis_name=axis_name)),
            optimizer=step.make_optimizer(recipe, steps),
            recipe=recipe,
            class_weight=jnp.asarray(class_weight),
            axis_name=axis_name,
        )

        def drawn(state: step.TrainState, data: Any, selection: Selection) -> Any:
            images, labels = (column[selection.rows] for column in data)
            key = jax.random.fold_in(jax.random.key(seed), state.step)
            keys = jax.vmap(functools.partial(jax.random.fold_in, key))(selection.positions)
            split = jax.vmap(functools.partial(jax.random.split, num=3))
            pose, drop, fade = jnp.unstack(split(keys), axis=1)
            images, certainty = jax.vmap(fading)(fade, vary(pose, images))
            batch = step.Batch(images, labels, selection.weights, drop, certainty)
            return descend(state, batch)

        return drawn

    return on_axis


class Trained(NamedTuple):
    """A trained network and how it got there: its history has a learning rate an epoch too."""

    fitted: loop.Fitted
    predict: Callable[[Any, np.ndarray], np.ndarray]
    init: Callable[[jax.Array], Any]


def run(
    model: CNN,
    examples: Examples,
    validation: Examples,
    *,
    recipe: step.Recipe,
    augmentation: Augmentation,
    fading: Fading,
    seed: int,
    mode: str,
    devices: int | None,
    checkpoints: Path | None,
    identity: dict[str, Any],
    on_step: Callable[[int, Any], None] = lambda epoch, metrics: None,
) -> Trained:
    """Trains `model` on `examples`, validating where there are validation examples.

    Args:
        recipe, augmentation, fading: how.
        seed: of the parameters, the batches, and how their images are varied.
        mode: "jit" or "pmap". devices: of each process; None: all.
        checkpoints, identity, on_step: as of `loop.fit`.
    """
    count = len(examples.labels)
    steps = recipe.epochs * -(-count // recipe.batch_size)
    weights = np.ones(model.classes, np.float32)
    if recipe.class_weights:
        weights = step.class_weights(examples.labels, model.classes)
    make = make_step(
        model,
        recipe=recipe,
        augmentation=augmentation,
        fading=fading,
        steps=steps,
        class_weight=weights,
        seed=seed,
    )
    chosen = processes.all_devices(devices)
    apply: Any = model.apply
    predict = step.make_predict(apply, batch_size=256, devices=chosen)
    sample = jnp.asarray(examples.images[:1])
    init = jax.jit(lambda key: model.init(key, sample))
    variables = init(jax.random.key(seed))

    def validate(average: Any) -> dict[str, float]:
        return step.evaluate(predict(average, validation.images), validation.labels)

    fitted = loop.fit(
        step.init_state(variables, step.make_optimizer(recipe, steps)),
        (examples.images, examples.labels),
        run=MODES[mode](make, chosen),
        batches=functools.partial(select, count, recipe.batch_size, seed),
        recipe=recipe,
        validate=validate if len(validation.labels) else None,
        checkpoints=checkpoints,
        identity=identity,
        on_step=on_step,
    )
    schedule, epochs = step.make_schedule(recipe, steps), len(fitted.history["train_loss"])
    rates = [float(schedule(steps * epoch // recipe.epochs)) for epoch in range(epochs)]
    history = fitted.history | {"learning_rate": rates}
    return Trained(fitted._replace(history=history), predict, init)
