"""What tells a class from the others? Each head is reduced to one of its parts or properties.

    python -m experiments.interventions --checkpoint runs/brain_tumor

The tumour alone, its outline, tumour and surround, the rest of the head, the head's outline, its
coarse brightness, the skull; and the whole head without its skull, its grey values, its place. On
all test tumours of a finished study, right or wrong. What is left tells a class where the network
names it more often on images of that class than on those of others. Under a minute for 600 images
of 64x64 on two cores. Writes interventions.json, .html and figures, and a section of the report.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments import follow_up, parts, study
from experiments.edits import Mask
from experiments.interventions_section import interventions_section
from experiments.report import Figure
from experiments.study import Chosen, Reopened, Study
from experiments.wording import Wording
from jaxsal import render
from jaxsal.metrics import bootstrap
from jaxsal.training.predict import make_predict
from jaxsal.types import Image
from jaxsal.viz import charts

CHUNK = 32  # images reduced at a time
DEFINITIONS = {"parts": list(parts.PARTS)}
"""A record of other ones is not a record of this experiment."""


@dataclass(frozen=True)
class Settings(Reopened):
    """Settings of the experiment."""

    explain: int = 0
    """How many test tumours are looked at, at most; 0 = all."""


def main(settings: Settings) -> str:
    """Runs the experiment; returns what it found, in a few lines."""
    timings: dict[str, float] = {}
    with follow_up.timed(timings, "load"):
        found = study.reopen(settings)
        wanted = found.test.masks.any((1, 2))
        chosen = study.choose(found, wanted, settings.explain, settings.seed, what="has a mask")
        _check_classes(chosen, found.classes)
    with follow_up.timed(timings, "reduce"):
        answers, shown = answered(found, chosen)
    record: dict[str, Any] = {
        "study": found.about,
        "cases": len(chosen.targets),
        "definitions": DEFINITIONS,
        "bootstrap": chosen.unit,
        "clusters": chosen.drawn_from,
        **summary(answers, chosen, found.classes),
        "timings": timings,
    }
    drawn = [_figure(record, found.word), _examples(found, chosen, shown)]
    out = follow_up.publish("interventions", settings, record, drawn, interventions_section)
    lines = [f"{'named more often than in other classes':<28}{'  '.join(record['classes'])}"]
    for name, by_class in record["parts"].items():
        gaps = "   ".join(f"{each['told'][0]:6.2f}" for each in by_class.values())
        lines.append(f"  {found.word(name):<26}{gaps}")
    return "\n".join([*lines, f"wrote {out}"])


def _check_classes(chosen: Chosen, classes: tuple[str, ...]) -> None:
    """Raises where there is nothing to tell a class from.

    Raises:
        ValueError: so.
    """
    there = np.unique(chosen.examples.labels)
    if len(there) < 2:
        raise ValueError(
            f"explain: the test images with a mask are all of the class {classes[there[0]]!r}; "
            "expected two classes or more, for one to be told from the others"
        )


def answered(found: Study, chosen: Chosen) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """By what is left the network's answers, [N, K] shares; and the reduced first of each class."""
    images, masks = chosen.examples.images, chosen.examples.masks
    columns = images, masks, parts.matched(images), np.arange(len(images))
    predict = make_predict(found.apply, batch_size=CHUNK)
    first = _first_of_each(chosen.examples.labels)
    answers: dict[str, list[np.ndarray]] = {name: [] for name in parts.PARTS}
    shown: dict[str, list[np.ndarray]] = {name: [] for name in parts.PARTS}
    size = min(CHUNK, len(images))
    for start in range(0, len(images), size):
        rows = np.minimum(np.arange(start, start + size), len(images) - 1)
        reduced = jax.device_get(_reduced(*(column[rows] for column in columns)))
        new = rows[: len(images) - start]
        for name, ways in reduced.items():
            logits = [predict(found.variables, way)[: len(new)] for way in ways]
            shares = [np.eye(each.shape[-1])[each.argmax(-1)] for each in logits]
            answers[name].append(np.mean(shares, 0))
            shown[name].append(ways[0][np.flatnonzero(np.isin(new, first))])
    return _joined(answers), _joined(shown)


@jax.jit
@jax.vmap
def _reduced(image: Image, mask: Mask, everyone: Image, number: Any) -> dict[str, list[Image]]:
    """An image reduced in every way."""
    key = jax.random.fold_in(jax.random.key(0), number)
    seen = parts.scene(image, mask, everyone, key)
    return {name: [way(seen) for way in ways] for name, ways in parts.PARTS.items()}


def _joined(chunks: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(each) for name, each in chunks.items()}


def summary(
    answers: dict[str, np.ndarray], chosen: Chosen, classes: tuple[str, ...]
) -> dict[str, Any]:
    """By what is left and class: how often it is named, and by how much more than in others."""
    labels = chosen.examples.labels
    present = [k for k in range(len(classes)) if (labels == k).any()]

    def measured(named: np.ndarray, own: np.ndarray) -> dict[str, list[float]]:
        def mean(rows: np.ndarray) -> list[float]:
            clusters = None if chosen.clusters is None else chosen.clusters[rows]
            return list(bootstrap.mean_interval(named[rows], clusters))

        gap = bootstrap.group_difference(named, own, chosen.clusters)
        return {"named": mean(own), "named_in_others": mean(~own), "told": list(gap)}

    return {
        "classes": [classes[k] for k in present],
        "by_class_cases": {classes[k]: int((labels == k).sum()) for k in present},
        "parts": {
            name: {classes[k]: measured(values[:, k], labels == k) for k in present}
            for name, values in answers.items()
        },
    }


def _first_of_each(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_index=True)[1]


def _figure(record: dict[str, Any], word: Wording) -> Figure:
    series = {
        name: {word(part): by_class[name]["told"] for part, by_class in record["parts"].items()}
        for name in record["classes"]
    }
    return (
        "What is left",
        "How much more often the network names a class on what is left of its images than on what "
        "is left of the others'; 0: what is left does not tell the class.",
        render.png(charts.dots(series, label="difference of the shares", reference=0.0)),
    )


def _examples(found: Study, chosen: Chosen, shown: dict[str, np.ndarray]) -> Figure:
    rows = np.sort(_first_of_each(chosen.examples.labels))
    pictures, titles = [], []
    for at, row in enumerate(rows):
        pictures += [images[at] for images in shown.values()]
        label = found.classes[chosen.examples.labels[row]]
        titles += [label if name == "untouched" else found.word(name) for name in shown]
    figure = render.contact_sheet(pictures, titles=titles, columns=len(shown))
    return "Parts", "An image of each class, and what is left of it.", render.png(figure)


if __name__ == "__main__":
    follow_up.start(Settings, main, "interventions", __doc__)
