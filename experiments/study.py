"""A finished study, read back: its network, and the images that it was tested on."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments import settings as studies
from experiments import sources
from experiments.wording import Wording, wording
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.reading import read_again
from jaxsal.data.splits import known_patients, take
from jaxsal.metrics.bootstrap import cluster_count
from jaxsal.training import checkpoint, predict


@dataclass(frozen=True)
class Reopened:
    """Which study is looked at again. None: as the study itself had it."""

    checkpoint: Path
    """The --out folder of a study that has finished training."""
    out: Path | None = None
    """Where record, figures and page are written; none = in a folder of the study's."""
    data: sources.Name | None = None
    """Generated phantoms (`shapes`: in classes of the outline alone), Cheng's figshare set, or any
    folder of labelled images."""
    data_dir: Path | None = None
    """Where the images lie."""
    explain: int = 32
    """How many test images are looked at, at most; 0 = all."""
    seed: int = 0
    """Of the choice of images, and of all that is drawn."""

    def __post_init__(self) -> None:
        for name in ("explain", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")

    def folder(self, experiment: str) -> Path:
        """Where the record of an experiment lies."""
        return self.out or self.checkpoint / experiment


class Study(NamedTuple):
    """A trained network and its test images.

    Attributes:
        test: every test image; logits [N, K] and predicted [N] are the network's.
        background: training images, one a class: what an expected gradient starts from.
        about: what a record says of the study.
    """

    apply: Any
    variables: Any
    init: Callable[..., Any]
    classes: tuple[str, ...]
    test: Examples
    logits: np.ndarray
    predicted: np.ndarray
    background: np.ndarray
    about: dict[str, Any]

    @property
    def word(self) -> Wording:
        """How what is found is worded."""
        return wording(self.about["data"], self.classes)


class Chosen(NamedTuple):
    """Some test images, what the network says of them, and whose they are.

    Attributes:
        clusters: [N] patients, of whom whole ones are drawn; None: each image by itself.
        unit: what is drawn in a bootstrap: "patient" or "image".
    """

    examples: Examples
    logits: np.ndarray
    targets: np.ndarray
    clusters: np.ndarray | None
    unit: str

    @property
    def drawn_from(self) -> int:
        """How many patients (or images) a bootstrap draws from."""
        return cluster_count(self.targets, self.clusters)


def reopen(given: Reopened) -> Study:
    """The network of a study and the images of its test fold.

    Raises:
        ValueError: the folder holds no trained network, or images of other classes than its own.
    """
    saved = checkpoint.load(given.checkpoint)
    finished = _metrics(given)
    settings = _settings(given, finished.get("settings", {}), saved.image_size)
    dataset, splits = studies.load(settings)
    if dataset.classes != saved.classes:
        raise ValueError(
            f"data: expected images of the network's classes {saved.classes}, got {dataset.classes}"
        )
    training, test = splits["train"], splits["test"]
    _check_held_out(given, finished, test)
    logits = predict.make_predict(saved.apply, batch_size=128)(saved.variables, test.images)
    rows = [np.flatnonzero(training.labels == k)[0] for k in np.unique(training.labels)]
    return Study(
        saved.apply,
        saved.variables,
        saved.init,
        saved.classes,
        test,
        logits,
        logits.argmax(-1).astype(np.int32),
        training.images[rows],
        _about(given, settings, dataset, test, logits),
    )


def _check_held_out(given: Reopened, finished: dict[str, Any], test: Examples) -> None:
    """Raises where the test images are not those that the network was not trained on.

    Patients without folds are dealt anew where one comes or goes. Other images than the study's own
    (`data`, `data_dir`) are not checked: they may hold some that the network was trained on.

    Raises:
        ValueError: the images of the study have changed.
    """
    known = finished.get("data", {}).get("tested")
    if known and given.data is None and known != checkpoint.examples_fingerprint(test):
        raise ValueError(
            f"checkpoint: the test images of {given.checkpoint} are not those of its run, which "
            "may have trained on some of these; expected the folder of images as it was then"
        )


def _metrics(given: Reopened) -> dict[str, Any]:
    try:
        return dict(json.loads((given.checkpoint / "metrics.json").read_text()))
    except FileNotFoundError as error:
        # Without them nobody knows which images the network was not trained on.
        raise ValueError(
            f"checkpoint: {given.checkpoint} has no metrics.json of a finished study, which says "
            "what was held out; expected the --out folder of python -m experiments.brain_tumor"
        ) from error


def _settings(given: Reopened, kept: dict[str, Any], image_size: int) -> studies.Settings:
    """The study's own settings where it left them, what is given in their place."""
    known = {field.name for field in fields(studies.Settings)}
    kept = {name: value for name, value in kept.items() if name in known}
    if given.data is not None:
        kept |= {"data": given.data, "data_dir": None}
    if given.data_dir is not None:
        kept["data_dir"] = str(given.data_dir)
    if kept.get("data_dir"):
        kept["data_dir"] = Path(kept["data_dir"])
    if not sources.SOURCES[kept.get("data", studies.Settings.data)].reads:
        kept.pop("reading", None)  # an earlier run took such options, and made nothing of them
    if kept.get("reading"):
        kept["reading"] = read_again(kept["reading"])
    kept = {name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()}
    # Nothing is trained again: devices and the like are those of this machine.
    settings, _ = studies.resolve(
        replace(studies.Settings(), **{**kept, "image_size": image_size, "devices": None})
    )
    return settings


def _about(
    given: Reopened, settings: Any, dataset: Dataset, test: Examples, logits: np.ndarray
) -> dict[str, Any]:
    return {
        "checkpoint": str(given.checkpoint),
        "data": settings.data,
        "classes": list(dataset.classes),
        "source": dataset.source,
        "image_size": settings.image_size,
        "test_fold": settings.test_fold,
        "tested": len(test.labels),
        "accuracy": float(np.mean(logits.argmax(-1) == test.labels)),
    }


def choose(study: Study, wanted: np.ndarray, count: int, seed: int, *, what: str) -> Chosen:
    """At most `count` of the wanted test images, drawn at random; 0 = all of them.

    Args:
        what: the wanted ones do, in words.

    Raises:
        ValueError: none is wanted.
    """
    rows = np.flatnonzero(wanted)
    if not len(rows):
        raise ValueError(f"explain: none of the test images {what}")
    rows = rows[drawn(len(rows), count, seed)].astype(np.int32)
    examples = take(study.test, rows)
    clusters, unit = resampled(examples)
    return Chosen(examples, study.logits[rows], study.predicted[rows], clusters, unit)


def drawn(count: int, wanted: int, seed: int) -> np.ndarray:
    """`wanted` of the numbers below `count`, drawn at random, in order; all of them for 0.

    The first images of a set are often of one class.
    """
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[: wanted or count]).astype(np.int32)


def tumours(given: Reopened) -> tuple[Study, Chosen]:
    """A study, and those of its correctly classified tumours that an experiment looks at.

    Raises:
        ValueError: as of `reopen` and `choose`.
    """
    found = reopen(given)
    wanted, what = correct_tumours(found), "has a mask and is named right"
    return found, choose(found, wanted, given.explain, given.seed, what=what)


def images(given: Reopened) -> tuple[Study, Chosen]:
    """A study, and those of its test images that an experiment looks at, whatever they show.

    Raises:
        ValueError: as of `reopen`.
    """
    found = reopen(given)
    every = np.ones(len(found.predicted), bool)
    return found, choose(found, every, given.explain, given.seed, what="is there")


def subset(chosen: Chosen, rows: np.ndarray) -> Chosen:
    """Some of the chosen images."""
    rows = rows.astype(np.int32)
    examples = take(chosen.examples, rows)
    clusters = None if chosen.clusters is None else chosen.clusters[rows]
    return Chosen(examples, chosen.logits[rows], chosen.targets[rows], clusters, chosen.unit)


def over_black(study: Study, chosen: Chosen) -> np.ndarray:
    """By how much each target's logit is over that of a black image, s(x) - s(b), [N]."""
    black = study.apply(study.variables, jnp.zeros_like(chosen.examples.images[:1]))
    own = np.take_along_axis(chosen.logits, chosen.targets[:, None], 1)[:, 0]
    return own.astype(np.float64) - np.asarray(black)[0][chosen.targets]


def correct_tumours(study: Study) -> np.ndarray:
    """Which test images are tumours with a mask, correctly classified."""
    return study.test.masks.any((1, 2)) & (study.predicted == study.test.labels)


def resampled(examples: Examples) -> tuple[np.ndarray | None, str]:
    """What a bootstrap draws: patients where all are known, else images, and its name."""
    patients = known_patients(examples)
    return patients, "image" if patients is None else "patient"
