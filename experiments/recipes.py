"""What was tried for the study's network and its training: each row changes one part of it."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxsal.data.augment import augment
from jaxsal.models import Network, ResNet
from jaxsal.training import loop
from jaxsal.training.config import TrainConfig
from jaxsal.training.step import Augment

Build = Callable[[TrainConfig, int], Network]
"""`build(config, classes) -> network`."""


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained; by default as the study does it."""

    what: str
    """How it differs from the study's, in words."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the training, in place of the study's."""
    build: Build = loop.make_model
    """Makes the network."""
    augment: Augment = augment
    """Varies an image."""


def _cnn(**changes: Any) -> Build:
    """The study's network with other fields."""
    return lambda config, classes: loop.make_model(config, classes).clone(**changes)


def _resnet(config: TrainConfig, classes: int) -> ResNet:
    """As many parameters as the study's network: six blocks of 32 channels and up."""
    return ResNet(classes=classes, blocks=(1, 2, 2, 1), width=32)


STUDY = "study"

RECIPES: dict[str, Recipe] = {
    STUDY: Recipe("the study's"),
    "sharp": Recipe("images not smoothed", build=_cnn(smooth=0)),
    "deep": Recipe("two convolutions a stage", build=_cnn(convs=2)),
    "narrow": Recipe("half as many channels", {"widths": (16, 32, 64, 128, 128)}),
    "no-dropout": Recipe("no dropout", {"dropout": 0.0}),
    "slow": Recipe("half the learning rate", {"learning_rate": 2e-3}),
    "long": Recipe("60 epochs", {"epochs": 60}),
    "weighed": Recipe("classes weighed by their frequency", {"class_weights": True}),
    "noisy": Recipe(
        "sharpness and noise varied too",
        augment=functools.partial(augment, sharpness=0.5, noise=0.05),
    ),
    "large-poses": Recipe(
        "larger turns, sizes, shifts and tones",
        augment=functools.partial(
            augment, rotation=0.8, scale=(0.7, 1.4), shift=0.1, intensity=0.3
        ),
    ),
    "resnet": Recipe("a ResNet of bottleneck blocks", build=_resnet),
}
"""By name; tried in this order."""
