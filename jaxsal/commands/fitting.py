"""A network trained as settings say, with a progress bar: for the command and the study alike."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxsal.commands.progress import Training
from jaxsal.data.examples import Examples
from jaxsal.models import CNN
from jaxsal.training import checkpoint, in_memory, step


@runtime_checkable
class Settings(Protocol):
    """What the settings of a training have in common."""

    @property
    def epochs(self) -> int | None: ...
    @property
    def batch_size(self) -> int | None: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def class_weights(self) -> bool: ...
    @property
    def patience(self) -> int: ...
    @property
    def fading(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def parallel(self) -> str: ...
    @property
    def devices(self) -> int | None: ...


def fitted(
    settings: Settings,
    model: CNN,
    training: Examples,
    validation: Examples,
    *,
    checkpoints: Path,
    identity: dict[str, Any],
    silent: bool,
) -> in_memory.Trained:
    """Trains `model`, or goes on where the checkpoints are.

    Args:
        identity: the settings that decide the parameters; checkpoints of other settings, images or
            networks are refused.
        silent: no progress bar.
    """
    recipe = step.Recipe(
        epochs=settings.epochs or 1,
        batch_size=settings.batch_size or 1,
        learning_rate=settings.learning_rate,
        class_weights=settings.class_weights,
        patience=settings.patience,
    )
    steps = -(-len(training.labels) // recipe.batch_size)
    with Training(steps, recipe, silent=silent) as progress:
        return in_memory.run(
            model,
            training,
            validation,
            recipe=recipe,
            augmentation=in_memory.Augmentation(),
            fading=in_memory.Fading(settings.fading),
            seed=settings.seed,
            mode=settings.parallel,
            devices=settings.devices,
            checkpoints=checkpoints,
            identity={
                **identity,
                **checkpoint.described(model),
                "training images": in_memory.fingerprint(training, validation),
            },
            on_step=progress,
        )
