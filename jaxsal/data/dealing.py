"""How a data set that was read is split: by the parts it names, else by folds dealt to patients."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

import numpy as np

from jaxsal.common.words import counted
from jaxsal.data import copies
from jaxsal.data.examples import Dataset
from jaxsal.data.listing import stem
from jaxsal.data.patients import numbered
from jaxsal.data.splits import deal


def with_split(
    dataset: Dataset, part_of: Mapping[str, str], units: Sequence[str] | None = None
) -> Dataset:
    """The data set with its parts, and with folds for examples that have none.

    Args:
        part_of: "train", "validation", "test" or "" of each example, by its name.
        units: what is dealt whole of each example whose patient is unknown, such as its scan; None:
            those of one class and file name.
    """
    examples = dataset.examples
    parts = np.array([part_of[name] for name in examples.names.tolist()])
    split = {*parts.tolist()} - {"", "train"}  # a part to train on alone splits nothing
    dealt = not (examples.folds.any() or any(part_of.values()))
    if not examples.folds.any():
        examples = examples._replace(folds=np.array(_dealt(dataset, units), np.int32))
    examples = examples._replace(patients=np.array(numbered(examples.patients.tolist())))
    notes = (*dataset.notes, *(_of_none(parts) if split else ()))
    whole = np.where(parts == "", "train", parts) if split else None
    return replace(dataset, examples=examples, parts=whole, dealt=dealt, notes=notes)


def _of_none(parts: np.ndarray) -> list[str]:
    """What is to be said of examples that no part of the split is named for."""
    count = int((parts == "").sum())
    what = "images of no part of the split, counted to its training part"
    return [counted(count, what)] if count else []


def _dealt(dataset: Dataset, units: Sequence[str] | None) -> Sequence[int]:
    examples, classes = dataset.examples, dataset.classes
    labels = [classes[label] for label in examples.labels]
    stems = [stem(PurePath(name)) for name in examples.names.tolist()]
    units = units or [f"{label}/{own}" for label, own in zip(labels, stems, strict=True)]
    patients = examples.patients.tolist()
    whose = [patient or unit for patient, unit in zip(patients, units, strict=True)]
    return deal(copies.groups(whose, copies.identical(examples.images)), labels)
