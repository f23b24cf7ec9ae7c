"""The settings of a training, each declared once."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal


@dataclass(frozen=True)
class TrainOptions:
    """The settings of a training as a command line gives them, not looked at yet."""

    image_size: int = 64
    """Side in pixels that images are made square and resized to."""
    epochs: int = 60
    """Passes over the training images."""
    batch_size: int = 32
    """Images a step, over all devices."""
    learning_rate: float = 4e-3
    """Peak of the one-cycle schedule."""
    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    """Channels of the network's stages."""
    dropout: float = 0.5
    """Rate before the dense layer."""
    class_weights: bool = False
    """Weigh classes by the inverse of their frequency."""
    test_fold: int = 5
    """The fold, 1 to 5, that is tested on, and not used for anything else."""
    validation_fold: int = 0
    """The fold that is validated on after each epoch; 0 = none, all others train."""
    patience: int = 0
    """Stop after so many epochs without a better validation, at the earliest half-way: before, the
    learning rate is high; 0 = never."""
    parallel: Literal["jit", "pmap"] = "jit"
    """How a batch is spread over the devices; the numbers are the same."""
    devices: int | None = None
    """How many devices of each process to use; none: all."""
    seed: int = 0
    """Of the initial parameters, the batches, the augmentation and whatever else is random."""

    def checked(self) -> "TrainConfig":
        """The same settings as a `TrainConfig`.

        Raises:
            ValueError: as of `TrainConfig`.
        """
        return TrainConfig(
            **{field.name: getattr(self, field.name) for field in fields(TrainOptions)}
        )


@dataclass(frozen=True)
class TrainConfig(TrainOptions):
    """The settings of a training: the options, checked, and the constants that have no option.

    Raises:
        ValueError: a number out of its range, or too many stages for the image size.
    """

    warmup: ClassVar[float] = 0.1
    """Share of the steps in which the learning rate rises to its peak; then a cosine to zero."""
    weight_decay: ClassVar[float] = 1e-2
    """Decoupled (AdamW), on kernels only."""
    label_smoothing: ClassVar[float] = 0.1
    """Probability mass spread over all classes."""
    clip: ClassVar[float] = 1.0
    """Largest global norm of the gradient."""
    average: ClassVar[float] = 0.995
    """Decay of the moving average of parameters and statistics that is evaluated; 0 = none."""

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected a rate from 0 to below 1, got {self.dropout}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate: expected more than 0, got {self.learning_rate}")
        stages, size = len(self.widths), self.image_size
        if not stages or size < 2**stages or min(self.widths) < 1:
            raise ValueError(f"widths: {stages} stages cannot be had from images of {size} pixels")

    def identity(self) -> dict[str, Any]:
        """The settings that decide the trained parameters."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("parallel", "devices")
        }


LEAST = {
    "image_size": 16,
    "epochs": 1,
    "batch_size": 1,
    "test_fold": 1,
    "validation_fold": 0,
    "patience": 0,
    "seed": 0,
}
"""The smallest value of each integer setting."""
