"""Training, validation and test sets that share no patient."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32

from jaxsal.data.examples import Dataset, Examples

FOLDS = 5


def split(
    dataset: Dataset, *, test_fold: int, validation_fold: int | None = None, seed: int = 0
) -> tuple[Examples, Examples, Examples]:
    """Splits by fold, so that no patient is on two sides.

    Where no fold is known, the patients of each class are dealt to five folds, in an order drawn
    from the seed. Nothing is ever split image by image: neighbouring slices of one patient look
    alike, and a random split measures how well they are recognised.

    Args:
        dataset: examples with folds, or with patients.
        test_fold: the fold to test on.
        validation_fold: the fold to validate on; None leaves validation empty and trains on it.
        seed: of the dealing of patients; of no effect where folds are known.

    Returns:
        (train, validation, test).

    Raises:
        ValueError: if a fold is empty or both are the same, if neither fold nor patient is known,
            if a patient would be on two sides, or if a class is tested that training never sees.
    """
    examples = dataset.examples
    folds = examples.folds if examples.folds.any() else _dealt(examples, seed)
    _check_folds(folds, {"test_fold": test_fold, "validation_fold": validation_fold})
    test, validation = folds == test_fold, np.equal(folds, validation_fold or 0)
    found = np.stack([~(test | validation), validation, test])
    _check_patients(examples.patients, folds, found)
    _check_classes(dataset, found)
    train, validation, test = (take(examples, rows) for rows in found)
    return train, validation, test


def take(examples: Examples, rows: Bool[np.ndarray, " N"] | Int32[np.ndarray, " M"]) -> Examples:
    """The given rows of every array."""
    return Examples(*(column[rows] for column in examples))


def known_patients(examples: Examples) -> np.ndarray | None:
    """The patient of each example, where all are known: who is drawn whole in a bootstrap."""
    known = bool(len(examples.patients)) and all(examples.patients)
    return examples.patients if known else None


def deal(groups: Sequence[str], labels: Sequence[str], seed: int = 0) -> list[int]:
    """Deals groups to folds 1..5, evenly within each class and each group whole.

    The order is that of a hash of the seed and the group's name: it depends on neither the machine
    nor the order of the files. A group with several classes counts under its first.

    Args:
        groups: the group of each example, such as a patient.
        labels: the class of each example.
        seed: an integer.

    Returns:
        the fold of each example.
    """
    members: dict[str, set[str]] = defaultdict(set)
    first = dict(zip(reversed(groups), reversed(labels), strict=True))
    for group, label in first.items():
        members[label].add(group)
    folds: dict[str, int] = {}
    for label in sorted(members):
        order = sorted(members[label], key=lambda group: _hash(f"{seed} {group}"))
        folds |= {group: i % FOLDS + 1 for i, group in enumerate(order)}
    return [folds[group] for group in groups]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


def _dealt(examples: Examples, seed: int) -> Int32[np.ndarray, " N"]:
    patients = known_patients(examples)
    if patients is None:
        raise ValueError("dataset has neither folds nor patients; a random split leaks patients")
    labels = [str(label) for label in examples.labels]
    return np.array(deal([str(name) for name in patients], labels, seed), np.int32)


def _check_folds(folds: Int32[np.ndarray, " N"], wanted: dict[str, int | None]) -> None:
    if not folds.all():
        raise ValueError(f"{np.sum(folds == 0)} examples have no fold, the others have")
    present = sorted({int(fold) for fold in folds})
    for argument, fold in wanted.items():
        if fold is not None and fold not in present:
            raise ValueError(f"{argument}={fold}, expected one of the folds {present}")
    if len(set(wanted.values())) < len(wanted):
        raise ValueError(f"test_fold and validation_fold are both {wanted['test_fold']}")


def _check_patients(
    patients: np.ndarray, folds: Int32[np.ndarray, " N"], sides: Bool[np.ndarray, "3 N"]
) -> None:
    side_of: dict[str, set[int]] = defaultdict(set)
    for patient, side in zip(patients, sides.argmax(0), strict=True):
        if patient:
            side_of[str(patient)].add(int(side))
    torn = sorted(patient for patient, found in side_of.items() if len(found) > 1)
    if torn:
        where = sorted({int(fold) for fold in folds[patients == torn[0]]})
        raise ValueError(f"{len(torn)} patients on two sides of the split: {torn[0]!r} in {where}")


def _check_classes(dataset: Dataset, found: Bool[np.ndarray, "3 N"]) -> None:
    labels = dataset.examples.labels
    unseen = sorted(set(labels[~found[0]].tolist()) - set(labels[found[0]].tolist()))
    if unseen:
        names = [dataset.classes[label] for label in unseen]
        raise ValueError(f"classes that training never sees are to be tested: {names}")
