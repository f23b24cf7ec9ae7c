"""`jaxsal evaluate`: a trained network on labelled images of another folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxsal.commands import (
    effects,
    evaluation,
    evaluation_page,
    image_form,
    localising,
    method_syntax,
    model,
    moved_pixels,
    replacing,
    seen,
)
from jaxsal.commands.model_objects import of_arrays
from jaxsal.commands.preprocessing import Preprocess
from jaxsal.commands.settings import Evaluate
from jaxsal.common import files, provenance, results
from jaxsal.data import pipeline, understood, volumes
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.splits import Division, take
from jaxsal.training import checkpoint, predict

LONG = ("roc", "reliability", "mistakes")
"""Of the metrics, what a line of JSON does without."""


def run(settings: Evaluate) -> dict[str, Any]:
    """Runs the command; returns what it prints under `--json`."""
    effects.check(settings)
    methods = method_syntax.methods(settings.method) if settings.explain else {}
    if settings.reading.test_images is not None:
        raise ValueError("test_images: every image is tested; expected --images alone")
    replacing.check(
        settings.out,
        results.EVALUATION,
        evaluation_page.file_names(),
        (*_checkpoint_files(settings), settings.params, settings.reading.labels),
    )
    found = model.load(settings.checkpoint, settings.apply, settings.params, settings.classes)
    preprocess = Preprocess(settings.preprocessing)
    given = model.input_of(found, settings.image_size, settings.channels)
    free = image_form.open_options(found, settings.image_size, settings.channels)
    classes, size = _known(settings, found)
    with files.writable(settings.out) as folder:
        whole = found.volumes or settings.volumes
        dataset = (volumes.folder if whole else pipeline.folder)(
            settings.images,
            image_size=size,
            strict=settings.strict,
            reading=settings.reading,
            least=1,
            known=classes,
            channels=given[1] or 1,
            argument="images",
        )
        first = preprocess.of_all(dataset.examples.images[:1])
        one = jax.ShapeDtypeStruct(first.shape, first.dtype)
        with image_form.advised(found, one, free):
            found = found.fitted(one)
        labelled = _renamed(dataset.examples, dataset.classes, classes)
        unseen = _unseen(settings, labelled)
        tested = unseen.examples
        localised = bool(settings.explain and tested.masks.any())
        noted = () if localised or not settings.explain else ("no masks: no maps are made",)
        split = () if dataset.dealt else ("all images are tested, whatever their split",)
        told = _understood(dataset, unseen._replace(notes=(*unseen.notes, *noted, *split)), classes)
        if not settings.json:
            print("\n".join(understood.lines(told, dataset.cached)), flush=True)
        images = preprocess.of_all(tested.images)
        if localised:
            _check_size(images, tested.masks)
        doubts = _moved_pixels(preprocess, tested) if localised else ()
        with image_form.advised(found, one, free):
            logits = _logits(settings, found, images, len(classes))
        measured = evaluation.measure(logits, tested, classes)
        metrics = {
            **measured,
            "warnings": [
                *measured["warnings"],
                *unseen.warnings,
                *_absent(tested, classes),
                *doubts,
            ],
            "seen": {**unseen.seen, "tested": settings.seen},
            "understood": told,
            "data": ", ".join(filter(None, (dataset.source, preprocess.text))),
        }
        more = {}
        if localised:
            metrics["localisation"], more["Maps"] = localising.localise(
                settings, found, methods, tested, images
            )
        metrics |= provenance.describe()
        # First what tells that a run has written here: it may be interrupted.
        files.write_json(folder / results.METRICS, metrics)
        evaluation_page.write(
            folder,
            metrics,
            logits,
            tested,
            title="What the network knows of these images",
            more=more,
        )
    told = {name: value for name, value in metrics.items() if name not in LONG}
    result = {"out": str(folder), **told, "report": str(folder / evaluation_page.PAGE)}
    return dict(files.finite(result))


def _checkpoint_files(settings: Evaluate) -> list[Path]:
    names = (checkpoint.MODEL, checkpoint.PARAMS, results.METRICS, seen.FILE)
    return [settings.checkpoint / name for name in names] if settings.checkpoint else []


def _known(settings: Evaluate, found: model.Model) -> tuple[tuple[str, ...], int]:
    """The names of the network's classes, and the side of its images.

    Raises:
        ValueError: neither the checkpoint nor the options tell.
    """
    classes, size = found.classes, settings.image_size or found.image_size
    if len(classes) < 2 or size is None:
        raise ValueError(
            "classes: --apply needs --classes with the names of its outputs in order, as no,yes, "
            f"and --image-size; got {settings.classes!r} and {size}"
        )
    return classes, size


def _renamed(examples: Examples, given: Sequence[str], known: Sequence[str]) -> Examples:
    """The examples with labels of the network: by the names of classes, in any case.

    Raises:
        ValueError: a class that the network does not know.
    """
    places = {name.casefold(): place for place, name in enumerate(known)}
    if unknown := [name for name in given if name.casefold() not in places]:
        raise ValueError(
            f"images: classes {unknown} are none of the network's {list(known)}; "
            "--labels gives images the names of its classes, --exclude leaves some out"
        )
    order = np.array([places[name.casefold()] for name in given], np.int32)
    return examples._replace(labels=order[examples.labels])


class Unseen(NamedTuple):
    """The images to test on.

    Attributes:
        left_out: `(name, reason)` of those that made the network.
        seen: how many of all did: by part of `seen.PARTS`.
        warnings, notes: what is to be said of it.
    """

    examples: Examples
    left_out: tuple[tuple[str, str], ...] = ()
    seen: Mapping[str, int] = MappingProxyType({})
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _understood(dataset: Dataset, unseen: Unseen, classes: Sequence[str]) -> understood.Record:
    """What was understood, of images that are all tested."""
    none = take(unseen.examples, np.arange(0, dtype=np.int32))
    told = replace(
        dataset,
        notes=(*dataset.notes, *unseen.notes),
        left_out=(*dataset.left_out, *unseen.left_out),
    )
    return understood.record(told, Division(none, none, unseen.examples), classes)


def _unseen(settings: Evaluate, examples: Examples) -> Unseen:
    """The images without those that the network was trained on, or that chose its epoch.

    Raises:
        ValueError: there is no other.
    """
    if settings.checkpoint is None:
        nobody_says = "trained or validated on: a model of --apply does not say"
        return Unseen(examples, warnings=_unknown(nobody_says))
    found = seen.among(settings.checkpoint, examples.images)
    parts = dict(zip(seen.PARTS, (found.trained, found.validated), strict=True))
    counts = {part: int(known.sum()) for part, known in parts.items()}
    said = seen.words(counts)
    notes = (f"{found.near.sum()} images are nearly identical to one trained or validated on",)
    told = Unseen(
        examples,
        seen=counts,
        warnings=_unknown(found.unknown),
        notes=notes if found.near.any() else (),
    )
    known = found.trained | found.validated
    if settings.seen and known.any():
        warning = f"The network knows some of these images: {said}."
        return told._replace(warnings=(*told.warnings, warning))
    if known.all():
        raise ValueError(
            f"images: the network knows all {len(known)} of them: {said}; --seen tests it on "
            "them, which tells nothing of others"
        )
    left_out = tuple(
        (str(name), f"the network was {part} on it")
        for part, rows in parts.items()
        for name in examples.names[rows]
    )
    return told._replace(examples=take(examples, ~known), left_out=left_out)


def _unknown(what: str) -> tuple[str, ...]:
    """The warning of what nobody can tell of the images, as of `seen.Among`; none of ""."""
    return (f"It is unknown which of these images the network was {what}.",) if what else ()


def _absent(tested: Examples, classes: Sequence[str]) -> list[str]:
    """Classes of the network of which there is no image."""
    absent = [name for k, name in enumerate(classes) if not (tested.labels == k).any()]
    return [f"No image of {', '.join(map(repr, absent))} is tested."] if absent else []


def _logits(settings: Evaluate, found: model.Model, images: np.ndarray, classes: int) -> np.ndarray:
    """What the network says, as logits [N, K]; one output is that of the second class.

    Raises:
        ValueError: another number of outputs than of classes.
    """
    apply, arrays = of_arrays(found.apply, found.params)
    answer = predict.make_predict(apply, batch_size=predict.batch_of(images))(arrays, images)
    answer = np.asarray(answer, np.float64)
    if settings.output == "probability":
        both = [1 - answer, answer] if answer.shape[1] == 1 else [answer]
        answer = np.log(np.clip(np.concatenate(both, 1), 1e-12, 1))
    elif answer.shape[1] == 1:
        answer = np.concatenate([np.zeros_like(answer), answer], 1)
    if answer.shape[1] != classes:
        raise ValueError(f"classes: {classes} names, but the network has {answer.shape[1]} outputs")
    return answer


def _check_size(images: np.ndarray, masks: np.ndarray) -> None:
    """Raises where maps would not lie on masks.

    Raises:
        ValueError: so.
    """
    if masks.shape[1:] not in (images.shape[1:-1], images.shape[2:]):
        raise ValueError(
            f"preprocess: made images {images.shape[1:]} of those with masks {masks.shape[1:]}; "
            "expected [H, W, C] or [C, H, W] of the same size, or --explain 0"
        )


def _moved_pixels(preprocess: Preprocess, tested: Examples) -> tuple[str, ...]:
    """A warning where a preprocessing may move the pixels of images with masks.

    Raises:
        ValueError: it does.
    """
    moved = preprocess.moves(tested.images[moved_pixels.some(len(tested.images))])
    if moved:
        raise ValueError(
            f"preprocess: {preprocess.moved_text()}, but not their masks; expected pixels that "
            "stay where they are, or --explain 0"
        )
    return preprocess.unknown_warning() if moved is None else ()
