"""What was understood of a data set and its split: told first, and written into metrics.json."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxsal.common.words import counted
from jaxsal.data import copies
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.splits import Division, known_patients

PARTS = ("train", "validation", "test")
NAMED = 20
"""Files named for each reason in a record."""
SHOWN = 3
"""Files named for each reason in print."""

Record = dict[str, Any]


def record(dataset: Dataset, division: Division, classes: Sequence[str] | None = None) -> Record:
    """A data set as it was understood, ready for JSON.

    Args:
        classes: the names of labels, where they are not the data set's own.
    """
    classes = dataset.classes if classes is None else classes
    trained = len(division.train.labels)
    parts = dict(zip(PARTS, division[:3], strict=True))
    left_out = [*dataset.left_out, *((line, "cannot be read") for line in dataset.skipped)]
    left_out += [(name, "identical to an image that is tested") for name in division.dropped]
    return {
        "source": dataset.source,
        "counts": {name: counts(part, classes) for name, part in parts.items()},
        "split": _how(dataset) if trained else "",
        "patients": {name: patients(part) for name, part in parts.items()},
        "masks": {name: int(with_mask(part).sum()) for name, part in parts.items()},
        "notes": list(dataset.notes),
        "left_out": by_reason(left_out),
        "copies": _copies(dataset, division),
        "warnings": [*division.refusals, *division.warnings],
    }


def with_mask(part: Examples) -> np.ndarray:
    """Which examples have a pixel or a voxel in their mask, bool [N]."""
    found: np.ndarray = part.masks.any(tuple(range(1, part.masks.ndim)))
    return found


def counts(part: Examples, classes: Sequence[str]) -> dict[str, int]:
    """Images of each class."""
    found = np.bincount(part.labels, minlength=len(classes))
    return dict(zip(classes, found.tolist(), strict=True))


def patients(part: Examples) -> int | None:
    """How many patients there are; None where one is unknown."""
    known = known_patients(part)
    return None if known is None else len({*known.tolist()})


def by_reason(left_out: Iterable[tuple[str, str]]) -> dict[str, Record]:
    """Files by the reason for which they are left out: how many, and the first of them."""
    found = defaultdict(list)
    for name, reason in left_out:
        found[reason].append(name)
    return {reason: {"count": len(n), "files": n[:NAMED]} for reason, n in found.items()}


def _how(dataset: Dataset) -> str:
    if dataset.parts is not None:
        return f"split by itself: {', '.join(sorted({*dataset.parts.tolist()}))}"
    return f"split by {len({*dataset.examples.folds.tolist()})} folds"


def _copies(dataset: Dataset, division: Division) -> Record:
    """Images that are there more than once, and tested ones that resemble one trained on."""
    examples = dataset.examples
    found = copies.pairs(copies.identical(examples.images))
    contrary = sum(
        len({int(examples.labels[row]) for row in (first, *rows)}) > 1
        for first, rows in found.items()
    )
    trained, tested = division.train, division.test
    close = copies.near(copies.thumbnails(tested.images), copies.thumbnails(trained.images))
    names = [
        [str(tested.names[row]), str(trained.names[match])]
        for row, match in enumerate(close.tolist())
        if match >= 0
    ]
    return {
        "identical": sum(map(len, found.values())),
        "identical_with_another_label": contrary,
        "dropped_from_training": len(division.dropped),
        "tested_nearly_identical_to_trained": len(names),
        "nearly_identical": names[:NAMED],
    }


def lines(found: Record, cached: str = "") -> list[str]:
    """A record for people: a table of the classes, then what else was understood.

    Args:
        cached: where the images were prepared; "" where they were not.
    """
    parts = [part for part in PARTS if part == "test" or sum(found["counts"][part].values())]
    table: list[tuple[str, ...]] = [("", *parts)]
    for name in found["counts"]["test"]:
        table.append((name, *(str(found["counts"][part][name]) for part in parts)))
    table.append(("patients", *(_or(found["patients"][p], "unknown") for p in parts)))
    if any(found["masks"].values()):
        table.append(("with a mask", *(str(found["masks"][p]) for p in parts)))
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    told = [f"{found['source']}; {found['split']}".removesuffix("; ")]
    for name, *cells in table:
        numbers = "  ".join(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))
        told.append(f"  {name.ljust(widths[0])}  {numbers}")
    told += [f"  {note}" for note in found["notes"]]
    told += [f"  {line}" for line in _of_copies(found["copies"])]
    for reason, files in found["left_out"].items():
        shown = ", ".join(files["files"][:SHOWN])
        more = ", ..." if files["count"] > SHOWN else ""
        told.append(f"  left out, {reason}: {files['count']} ({shown}{more})")
    if cached:
        whose = "with the names of patients as they are given"
        told.append(f"  cached in {cached}, {whose}; $JAXSAL_CACHE moves it")
    return [*told, *(f"  WARNING: {warning}" for warning in found["warnings"])]


def _or(value: int | None, word: str) -> str:
    return word if value is None else str(value)


def _of_copies(found: Record) -> list[str]:
    told = []
    if found["identical"]:
        told.append(counted(found["identical"], "images identical to another one"))
    if found["identical_with_another_label"]:
        told.append(f"of {found['identical_with_another_label']} of these the labels differ")
    if close := found["tested_nearly_identical_to_trained"]:
        one, other = found["nearly_identical"][0]
        told.append(
            counted(close, f"tested images nearly identical to one trained on ({one} to {other})")
        )
    return told
