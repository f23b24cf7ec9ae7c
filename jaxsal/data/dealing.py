"""How a data set that was read is split: by the parts it names, else by folds dealt to patients."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

import numpy as np

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
    parts = np.where(parts == "", "train", parts)
    return replace(dataset, examples=examples, parts=parts if split else None, dealt=dealt)


def _dealt(dataset: Dataset, units: Sequence[str] | None) -> Sequence[int]:
    examples, classes = dataset.examples, dataset.classes
    labels = [classes[label] for label in examples.labels]
    stems = [stem(PurePath(name)) for name in examples.names.tolist()]
    units = units or [f"{label}/{own}" for label, own in zip(labels, stems, strict=True)]
    patients = examples.patients.tolist()
    whose = [patient or unit for patient, unit in zip(patients, units, strict=True)]
    return deal(copies.groups(whose, copies.identical(examples.images)), labels)
