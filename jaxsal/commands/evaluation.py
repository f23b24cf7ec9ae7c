"""What a network's answers are worth: measured on labelled images, and what speaks against it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxsal.data.examples import Examples
from jaxsal.data.splits import known_patients
from jaxsal.metrics import bootstrap, chance, classification, operating_curves

POINTS = 200
"""Points of a ROC curve in a record, at most."""
MISTAKES = 50
"""Mistakes that a record names, the surest first."""

Record = dict[str, Any]


def measure(logits: np.ndarray, tested: Examples, classes: Sequence[str]) -> Record:
    """Everything that a record says of a classifier, `accuracy` first.

    Args:
        logits: of the tested images, [N, K]. classes: K names.

    Returns:
        `accuracy`, `accuracy_interval` (None below `bootstrap.FEWEST` clusters; then `by_patient`
        has each one's hits and images), `clusters` and `bootstrap` (what is drawn, and how many),
        what `classification_report` has, `roc`, `reliability`, `mistakes`, `one_class`, `chance`
        and, in words, `warnings`.
    """
    report = classification.classification_report(logits, tested.labels, classes)
    probabilities = classification.softmax(logits)
    predicted = logits.argmax(-1)
    sure = certainty(predicted == tested.labels, tested)
    return {
        "accuracy": report.pop("accuracy"),
        **sure,
        **report,
        "roc": {
            name: _thinned(operating_curves.roc_curve(probabilities[:, k], tested.labels == k))
            for k, name in enumerate(classes)
        },
        "reliability": {
            name: values.tolist()
            for name, values in operating_curves.reliability(probabilities, tested.labels)
            ._asdict()
            .items()
        },
        "mistakes": mistakes(probabilities, tested, classes),
        **doubts(predicted, tested.labels, classes, by_patient(sure)),
    }


def certainty(hits: np.ndarray, tested: Examples) -> Record:
    """The interval of a share of hits, of whom it is drawn, and of few patients each one's own."""
    patients = known_patients(tested)
    values = hits.astype(float)
    _, low, high = bootstrap.share_interval(values, patients)
    clusters = bootstrap.cluster_count(values, patients)
    found: Record = {
        "accuracy_interval": [low, high] if np.isfinite([low, high]).all() else None,
        "bootstrap": "image" if patients is None else "patient",
        "clusters": clusters,
    }
    if patients is not None and clusters < bootstrap.FEWEST:
        found["by_patient"] = {
            str(name): [int(hits[patients == name].sum()), int((patients == name).sum())]
            for name in np.unique(patients)
        }
    return found


def by_patient(record: Mapping[str, Any]) -> Sequence[float | None] | None:
    """The accuracy's interval where it resamples patients, else None.

    Image by image the shuffled labels say more; they do not know of patients.
    """
    return record.get("accuracy_interval") if record.get("bootstrap") == "patient" else None


def at_chance(record: Mapping[str, Any]) -> str:
    """Why a record's accuracy is not shown to be better than chance; "" where it is."""
    return chance.doubt(record.get("confusion", ()), by_patient(record), record.get("chance"))


def interval_words(record: Record) -> str:
    """Of how many patients or images an accuracy is, and its interval where it has one."""
    clusters, unit = record["clusters"], record["bootstrap"]
    drawn = f"{clusters} {unit}{'s' if clusters != 1 else ''}"
    if record["accuracy_interval"] is None:
        return f"{drawn}: too few for an interval"
    low, high = record["accuracy_interval"]
    return f"95 % interval {low:.3f} to {high:.3f}, by {drawn}"


def doubts(
    predicted: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    interval: Sequence[float | None] | None = None,
) -> Record:
    """What speaks against conclusions: one class said of nearly all, accuracy of guessing.

    Args:
        interval: of the accuracy, by patient.
    """
    most, share = chance.one_class(predicted)
    guessed = chance.chance(labels, predicted)
    said, warnings = round(share * len(labels)), []
    if share >= chance.NEARLY_ALL:
        warnings.append(
            f"The network predicts {classes[most]!r} for {said} of {len(labels)} images."
        )
    counts = classification.confusion_matrix(labels, predicted, len(classes))
    if why := chance.doubt(counts, interval, guessed):
        warnings.append(
            f"No better than chance: {why}. Its maps do not show what tells the classes apart."
        )
    return {
        "one_class": {"class": classes[most], "share": share},
        "chance": guessed,
        "warnings": warnings,
    }


def mistakes(probabilities: np.ndarray, tested: Examples, classes: Sequence[str]) -> list[Record]:
    """Images taken for another class, those first that were surest of it."""
    predicted, sure = probabilities.argmax(-1), probabilities.max(-1)
    rows = [row for row in np.argsort(-sure, kind="stable") if predicted[row] != tested.labels[row]]
    return [
        {
            "name": str(tested.names[row]),
            "number": int(row),
            "label": classes[tested.labels[row]],
            "predicted": classes[predicted[row]],
            "probability": float(probabilities[row, predicted[row]]),
        }
        for row in rows[:MISTAKES]
    ]


def rows(logits: np.ndarray, tested: Examples, classes: Sequence[str]) -> list[list[Any]]:
    """Every image a row, below a header: name, patient, label, prediction, probabilities."""
    probabilities = classification.softmax(logits)
    header = ["name", "patient", "label", "predicted", *(f"p({name})" for name in classes)]
    body = [
        [name, patient, classes[label], classes[own.argmax()], *(f"{p:.6f}" for p in own)]
        for name, patient, label, own in zip(
            tested.names.tolist(),
            tested.patients.tolist(),
            tested.labels,
            probabilities,
            strict=True,
        )
    ]
    return [header, *body]


def _thinned(curve: operating_curves.Roc) -> list[list[float]]:
    count = len(curve.false_positives)
    kept = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
    return [values[kept].tolist() for values in curve]
