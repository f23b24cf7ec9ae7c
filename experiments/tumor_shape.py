"""Is it the tumour, its surround, its shape? Each is edited, and the class's logit watched.

    python -m experiments.tumor_shape --checkpoint runs/brain_tumor

The tumour is removed, flattened, reshaped to a disc, moved, resized, its surround removed; the same
edits of equal area elsewhere in the head (shams) say what an edit costs as such. On correctly
classified test tumours of a finished study. About a minute for 200 images of 64x64 on two cores.
Writes tumor_shape.json, .html and a figure each, and a section of the study's report.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import edits, follow_up, sham_controls, shape_figures, study
from experiments.shape_section import shape_section
from experiments.study import Chosen, Reopened, Study
from jaxsal.metrics import bootstrap
from jaxsal.training.predict import make_predict

CHUNK = 32  # images edited at a time
DEFINITIONS = {"controls": {name: edits.control(name) for name in edits.EDITS}, "shams": "apart"}
"""A record of other ones is not a record of this experiment: each edit's control, and that a sham's
surround is off the tumour's where it can be."""


@dataclass(frozen=True)
class Settings(Reopened):
    """Settings of the experiment."""

    explain: int = 200
    """How many tumours are edited, at most; 0 = all."""
    shams: int = 3
    """Places elsewhere in each head where the same is done."""


class Outcome(NamedTuple):
    """What N edited images did to the network.

    Attributes:
        drop: [N], the predicted class's logit before, less after.
        changed: [N], whether another class is predicted.
        area: [N], the share of the pixels that differ. amount: [N], the mean |difference|.
        answer: [N, K], 1 for the class predicted afterwards; of several places their shares.
    """

    drop: np.ndarray
    changed: np.ndarray
    area: np.ndarray
    amount: np.ndarray
    answer: np.ndarray


def main(settings: Settings) -> str:
    """Runs the experiment; returns what it found, in a few lines."""
    timings: dict[str, float] = {}
    with follow_up.timed(timings, "load"):
        found, chosen = study.tumours(settings)
    with follow_up.timed(timings, "place shams"):
        chosen, places, homeless = placed(chosen, settings)
    with follow_up.timed(timings, "edit"):
        rows = shape_figures.picked(chosen.targets)
        own, other, shown = outcomes(found, chosen, places, rows)
        over_black = study.over_black(found, chosen)
    record: dict[str, Any] = {
        "study": found.about,
        "cases": len(chosen.targets),
        "without_place": homeless,
        "definitions": DEFINITIONS,
        "shams": settings.shams,
        "shams_apart": places.apart_share(),
        "bootstrap": chosen.unit,
        "clusters": chosen.drawn_from,
        **summary(own, other, chosen, found.classes, over_black),
        "timings": timings,
    }
    drawn = [
        shape_figures.effects(record, found.word),
        shape_figures.examples(study.subset(chosen, rows), found.classes, shown, found.word),
    ]
    out = follow_up.publish("tumor_shape", settings, record, drawn, shape_section)
    lines = [
        f"  {found.word(name):<25} {found.word('tumour')} {edit['tumour']['drop'][0]:6.2f} "
        f"{edit['tumour']['changed'][0]:6.1%}   sham {edit['sham']['drop'][0]:6.2f} "
        f"{edit['sham']['changed'][0]:6.1%}"
        for name, edit in record["edits"].items()
    ]
    return "\n".join(["drop in logit, change of prediction:", *lines, f"wrote {out}"])


def placed(chosen: Chosen, settings: Settings) -> tuple[Chosen, sham_controls.Places, int]:
    """The tumours that would fit elsewhere in their head, with the places; how many do not."""
    images, masks = chosen.examples.images, chosen.examples.masks
    places = sham_controls.draw(
        images, masks, settings.shams, width=edits.SURROUND, seed=settings.seed
    )
    rows = np.flatnonzero(places.found)
    if not len(rows):
        raise ValueError("explain: none of the masks fits elsewhere in its image")
    places = sham_controls.Places(*(column[rows] for column in places))
    return study.subset(chosen, rows), places, int(len(images) - len(rows))


def outcomes(
    found: Study, chosen: Chosen, places: sham_controls.Places, rows: np.ndarray
) -> tuple[dict[str, Outcome], dict[str, Outcome], dict[str, np.ndarray]]:
    """What each edit of tumour and shams (their mean) did; and the edited images of `rows`."""
    images, masks = chosen.examples.images, chosen.examples.masks
    predict = make_predict(found.apply, batch_size=128)

    def measured(masks: np.ndarray, by: np.ndarray) -> tuple[dict[str, Outcome], Any]:
        altered = edit_all(images, masks, by)
        results = {
            name: _outcome(chosen, images, pixels, predict(found.variables, pixels))
            for name, pixels in altered.items()
        }
        return results, {name: pixels[rows] for name, pixels in altered.items()}

    own, shown = measured(masks, places.first[:, 0])
    each = []
    for s in range(places.first.shape[1]):
        by = places.first[:, s]
        moved = np.stack([sham_controls.shifted(m, d) for m, d in zip(masks, by, strict=True)])
        each.append(measured(moved, places.second[:, s])[0])
    other = {name: _mean([outcome[name] for outcome in each]) for name in own}
    return own, other, shown


def _mean(outcomes: list[Outcome]) -> Outcome:
    return Outcome(*(np.mean(column, 0) for column in zip(*outcomes, strict=True)))


def edit_all(images: np.ndarray, masks: np.ndarray, by: np.ndarray) -> dict[str, np.ndarray]:
    """Every edit of N images, [N, H, W, C] each, a chunk at a time."""
    parts = []
    size = min(CHUNK, len(images))
    for start in range(0, len(images), size):
        rows = np.minimum(np.arange(start, start + size), len(images) - 1)
        parts.append(jax.device_get(_edited(images[rows], masks[rows], by[rows])))
    return {n: np.concatenate([part[n] for part in parts])[: len(images)] for n in edits.EDITS}


_edited = jax.jit(jax.vmap(edits.edited))


def _outcome(chosen: Chosen, images: np.ndarray, after: np.ndarray, logits: np.ndarray) -> Outcome:
    rows = np.arange(len(images))
    gap = np.abs(after - images).mean(-1)
    return Outcome(
        chosen.logits[rows, chosen.targets] - logits[rows, chosen.targets],
        (logits.argmax(-1) != chosen.targets).astype(float),
        (gap > 1e-3).mean((1, 2)),
        gap.mean((1, 2)),
        np.eye(logits.shape[-1])[logits.argmax(-1)],
    )


def summary(
    own: dict[str, Outcome],
    other: dict[str, Outcome],
    chosen: Chosen,
    classes: tuple[str, ...],
    over_black: np.ndarray,
) -> dict[str, Any]:
    """Means and intervals of every edit, of its differences to sham and control.

    Args:
        own, other: by edit, of the tumours and of their shams.
        chosen: the tumours.
        classes: K names.
        over_black: [N], each logit less that of a black image, which no logit's zero changes.
    """

    def mean(values: np.ndarray, rows: Any = slice(None)) -> list[float]:
        clusters = None if chosen.clusters is None else chosen.clusters[rows]
        return list(bootstrap.mean_interval(values[rows], clusters))

    def measures(outcome: Outcome) -> dict[str, list[float]]:
        found = {name: mean(np.asarray(getattr(outcome, name), float)) for name in MEASURES}
        return found | {"changed": list(bootstrap.share_interval(outcome.changed, chosen.clusters))}

    labels = {name: chosen.targets == k for k, name in enumerate(classes)}
    labels = {name: rows for name, rows in labels.items() if rows.any()}
    logit = chosen.logits[np.arange(len(chosen.targets)), chosen.targets]

    def by_class(values: np.ndarray) -> dict[str, list[float]]:
        return {label: mean(values, rows) for label, rows in labels.items()}

    return {
        "logit": mean(logit),
        "logit_by_class": by_class(logit),
        "over_black": mean(over_black),
        "over_black_by_class": by_class(over_black),
        "edits": {
            name: {
                "tumour": measures(own[name]),
                "sham": measures(other[name]),
                "over_sham": mean(own[name].drop - other[name].drop),
                "changed_over_sham": mean(own[name].changed - other[name].changed),
                "control": edits.control(name),
                "over_control": mean(own[name].drop - own[edits.control(name)].drop),
                "by_class": by_class(own[name].drop - other[name].drop),
                "over_control_by_class": by_class(own[name].drop - own[edits.control(name)].drop),
                "tumour_by_class": by_class(own[name].drop),
                "sham_by_class": by_class(other[name].drop),
                "changed_by_class": by_class(own[name].changed - other[name].changed),
                "answers": dict(zip(classes, own[name].answer.mean(0).tolist(), strict=True)),
            }
            for name in own
        },
        "by_class_cases": {name: int(rows.sum()) for name, rows in labels.items()},
    }


MEASURES = ("drop", "area", "amount")
"""What of an `Outcome` is averaged, beside the share of changed predictions."""


if __name__ == "__main__":
    follow_up.start(Settings, main, "tumor_shape", __doc__)
