"""Does the mean over varied copies of an image name more of them right? Test-time augmentation.

    python -m experiments.augmentation --checkpoint runs/brain_tumor

Test images of a finished study, and copies of them varied as training's are: the mean of the
softmax over an image and its copies, beside the softmax of the image alone. The network, and what
its maps explain, stay as they are. Under a minute for 600 images of 64x64 on two CPU cores. Writes
augmentation.json, .html and a figure, and a section of the study's report.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import tqdm

from experiments import follow_up, study
from experiments.augmentation_section import ALONE, COPIES, augmentation_section
from experiments.study import Chosen, Reopened, Study
from jaxsal import render
from jaxsal.data.augment import augment
from jaxsal.metrics import bootstrap
from jaxsal.metrics.classification import softmax
from jaxsal.training import predict
from jaxsal.viz import charts

BATCH = 128
"""Images that are varied and named at a time."""


@dataclass(frozen=True)
class Settings(Reopened):
    """Settings of the experiment."""

    explain: int = 0
    """How many test images are named, at most; 0 = all."""
    copies: int = 16
    """Varied copies of each image."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.copies < 1:
            raise ValueError(f"copies: expected at least 1, got {self.copies}")


def main(settings: Settings) -> str:
    """Runs the experiment; returns what it found, in a few lines."""
    timings: dict[str, float] = {}
    with follow_up.timed(timings, "load"):
        found, chosen = study.images(settings)
    with follow_up.timed(timings, "predict"):
        likely = with_copies(found, chosen, settings.copies, settings.seed)
    labels = chosen.examples.labels
    right = {
        ALONE: (chosen.targets == labels).astype(float),
        COPIES: (likely.argmax(-1) == labels).astype(float),
    }
    record: dict[str, Any] = {
        "study": found.about,
        "cases": len(labels),
        "copies": settings.copies,
        "bootstrap": chosen.unit,
        "clusters": chosen.drawn_from,
        "answers": {name: _named(values, found, chosen) for name, values in right.items()},
        "gain": list(bootstrap.mean_interval(right[COPIES] - right[ALONE], chosen.clusters)),
        "timings": timings,
    }
    out = follow_up.publish(
        "augmentation", settings, record, [_figure(record)], augmentation_section
    )
    lines = [f"  {name:<22} {each['named'][0]:6.1%}" for name, each in record["answers"].items()]
    return "\n".join([*lines, f"wrote {out}"])


def with_copies(found: Study, chosen: Chosen, copies: int, seed: int) -> np.ndarray:
    """The mean of the softmax over each image and its varied copies, [N, K]."""
    images, total = chosen.examples.images, softmax(chosen.logits)
    size = min(BATCH, len(images))
    answer = predict.make_predict(found.apply, batch_size=size)
    vary = jax.jit(jax.vmap(augment))
    for copy in tqdm.tqdm(range(copies), unit="copy"):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), copy), len(images))
        parts = [slice(start, start + size) for start in range(0, len(images), size)]
        logits = [answer(found.variables, np.asarray(vary(keys[p], images[p]))) for p in parts]
        total += softmax(np.concatenate(logits))
    return total / (copies + 1)


def _named(right: np.ndarray, found: Study, chosen: Chosen) -> dict[str, Any]:
    """The share of images that are named right, of all and of each class, with intervals."""
    labels, clusters = chosen.examples.labels, chosen.clusters

    def share(rows: np.ndarray) -> list[float]:
        own = None if clusters is None else clusters[rows]
        return list(bootstrap.share_interval(right[rows], own))

    classes = {name: labels == number for number, name in enumerate(found.classes)}
    return {
        "named": share(np.ones(len(labels), bool)),
        "by_class": {n: {"named": share(rows)} for n, rows in classes.items() if rows.any()},
    }


def _figure(record: dict[str, Any]) -> tuple[str, str, bytes]:
    shares = {
        name: {"all": each["named"], **{n: own["named"] for n, own in each["by_class"].items()}}
        for name, each in record["answers"].items()
    }
    return (
        "Accuracy",
        "The share of test images that are named right, by the image alone and with its copies.",
        render.png(charts.dots(shares, label="share named right, 95 % interval")),
    )


if __name__ == "__main__":
    follow_up.start(Settings, main, "augmentation", __doc__)
