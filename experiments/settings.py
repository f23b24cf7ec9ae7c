"""The settings of the brain-tumour study, with what depends on the data filled in."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.sources import SOURCES, Name
from jaxsal.commands.effects import changed
from jaxsal.compiler.processes import Processes, local_devices
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.reading import Reading
from jaxsal.data.splits import FOLDS, Division, accepted, divide
from jaxsal.data.understood import PARTS
from jaxsal.training.config import TrainConfig, TrainOptions


@dataclass(frozen=True)
class Settings(TrainOptions):
    """Settings of the study. None: what suits the data, as experiments/sources.py has it."""

    data: Name = "phantom"
    """Generated phantoms (`shapes`: in classes of the outline alone), Cheng's figshare set, or any
    folder of labelled images."""
    data_dir: Path | None = None
    """Where the images lie (figshare: the folder layout or the original files; none = download). A
    copy, with the names of patients as they are given, is cached under $JAXSAL_CACHE, else
    ~/.cache/jaxsal."""
    out: Path = Path("runs/brain_tumor")
    """Where everything is written."""
    image_size: int | None = None  # type: ignore[assignment]
    """Side of the images in pixels."""
    epochs: int | None = None  # type: ignore[assignment]
    """Passes over the training images."""
    batch_size: int | None = None  # type: ignore[assignment]
    """Images a step, over all devices."""
    widths: tuple[int, ...] | None = None  # type: ignore[assignment]
    """Channels of the network's stages."""
    validation_fold: int | None = None  # type: ignore[assignment]
    """The fold that is validated on after each epoch; 0 = none, all others train."""
    bfloat16: bool = False
    """Compute in bfloat16; parameters stay float32."""
    count: int = 4800
    """How many phantoms are generated."""
    explain: int | None = None
    """How many test images are explained, at most; 0 = all."""
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    force: bool = False
    """Go on where a class is missing from training or test, or a patient is on both sides; every
    output is marked."""
    strict: bool = False
    """Stop at a broken file, instead of leaving it out and saying so."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = field(default_factory=Processes)


def resolve(settings: Settings) -> tuple[Settings, TrainConfig]:
    """The settings with what suits their source in place of every None, and the training's.

    Raises:
        ValueError: a number that makes no sense, more devices than there are, or an option of
            reading a folder for a data set that is none.
    """
    source = SOURCES[settings.data]
    if not source.reads and (idle := [*changed(settings.reading)]):
        own = " or ".join(name for name, each in SOURCES.items() if each.reads)
        raise ValueError(
            f"{idle[0]}: of no effect with --data {settings.data}; it is for --data {own}"
        )
    names = ("image_size", "epochs", "batch_size", "widths", "validation_fold", "explain")
    missing = {name: getattr(source, name) for name in names if getattr(settings, name) is None}
    settings = replace(settings, **missing)
    for name, least in {"count": 1, "explain": 0}.items():
        if getattr(settings, name) < least:
            raise ValueError(f"{name}: expected at least {least}, got {getattr(settings, name)}")
    config = settings.checked()
    local_devices(config.devices)
    return settings, config


def load(settings: Settings) -> tuple[Dataset, dict[str, Examples]]:
    """The images of resolved settings, and those of train, validation and test."""
    dataset, division = divided(settings)
    return dataset, dict(zip(PARTS, division[:3], strict=True))


def divided(settings: Settings) -> tuple[Dataset, Division]:
    """The images of resolved settings, and their split.

    Raises:
        ValueError: a split that bears no conclusions, and is not forced.
    """
    dataset = _loaded(settings)
    division = divide(
        dataset,
        test_fold=settings.test_fold,
        validation_fold=settings.validation_fold or None,
        seed=settings.seed,
    )
    return dataset, accepted(division, force=settings.force)


def _loaded(settings: Settings) -> Dataset:
    return SOURCES[settings.data].load(
        settings.data_dir,
        count=settings.count,
        image_size=settings.image_size,
        seed=settings.seed,
        strict=settings.strict,
        reading=settings.reading,
    )


def folded(settings: Settings) -> Dataset:
    """The images of resolved settings, where they can be tested fold by fold.

    Raises:
        ValueError: they are split by themselves, or into other folds than five.
    """
    dataset = _loaded(settings)
    known = {int(fold) for fold in np.unique(dataset.examples.folds) if fold}
    if dataset.parts is not None:
        raise ValueError(
            "data_dir: the images are split by themselves, so that there are no folds to take in "
            "turn; expected images without train and test parts"
        )
    if known and known != {*range(1, FOLDS + 1)}:
        raise ValueError(f"data_dir: expected images in folds 1 to {FOLDS}, got {sorted(known)}")
    return dataset


def as_json(settings: Any) -> dict[str, Any]:
    """`plain` settings as they come back from a JSON file."""
    return dict(json.loads(json.dumps(plain(settings))))


def plain(settings: Any) -> dict[str, Any]:
    """Settings, of the study or of an experiment on it, ready for JSON; the processes are apart."""
    kept = {n: v for n, v in asdict(settings).items() if n != "processes"}
    own = asdict(Reading())
    if reading := {n: v for n, v in kept.pop("reading", {}).items() if v != own[n]}:
        kept["reading"] = {n: str(v) if isinstance(v, Path) else v for n, v in reading.items()}
    return {n: str(v) if isinstance(v, Path) else v for n, v in kept.items()}


PLACES = ("out", "data_dir", "checkpoint", "labels", "test_images")
"""Settings that say where files lie: a finished run, or its images, may have been moved."""


def without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings but for where files lie."""
    kept = {name: value for name, value in settings.items() if name not in PLACES}
    return {n: without_places(each) if n == "reading" else each for n, each in kept.items()}
