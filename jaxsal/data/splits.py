"""Training, validation and test sets that share no patient."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from jaxsal.common.words import counted
from jaxsal.data import copies
from jaxsal.data.examples import Dataset, Examples

FOLDS = 5


class Division(NamedTuple):
    """A dataset split, and what has to be said of it.

    Attributes:
        train, validation, test: the examples of each part.
        dropped: names of examples in no part: identical to one of a part that is tested.
        refusals: what forbids conclusions: a class that is missing, a patient on two sides.
        warnings: what may speak against them.
    """

    train: Examples
    validation: Examples
    test: Examples
    dropped: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def split(
    dataset: Dataset, *, test_fold: int, validation_fold: int | None = None, seed: int = 0
) -> tuple[Examples, Examples, Examples]:
    """The parts of `divide`.

    Raises:
        ValueError: as of `divide` and `accepted`.
    """
    found = divide(dataset, test_fold=test_fold, validation_fold=validation_fold, seed=seed)
    return accepted(found)[:3]


def accepted(division: Division, *, force: bool = False) -> Division:
    """A division without refusals; forced, they are warnings.

    Raises:
        ValueError: it has some.
    """
    if division.refusals and not force:
        raise ValueError(f"{division.refusals[0]}; --force goes on, and marks every output")
    return division._replace(refusals=(), warnings=(*division.refusals, *division.warnings))


def divide(
    dataset: Dataset, *, test_fold: int, validation_fold: int | None = None, seed: int = 0
) -> Division:
    """Splits as the source does, else by fold, so that no patient and no image is on two sides.

    Where no fold is known, the patients of each class are dealt to five folds, in an order drawn
    from the seed. Nothing is ever split image by image: neighbouring slices of one patient look
    alike, and a random split measures how well they are recognised. Of identical images on two
    sides, the one that is trained on (or validated on, where the other is tested on) is dropped.

    Args:
        dataset: examples with parts, with folds, or with patients.
        test_fold: the fold to test on; of no effect where the source has a test part.
        validation_fold: the fold to validate on; None leaves validation empty and trains on it.
        seed: of the dealing of patients; of no effect where folds are known.

    Raises:
        ValueError: if a fold is empty or both are the same, or if neither fold nor patient is
            known.
    """
    examples = dataset.examples
    if dataset.parts is not None:
        found = _by_parts(dataset.parts, examples.folds, validation_fold)
    else:
        folds = examples.folds if examples.folds.any() else _dealt(examples, seed)
        _check_folds(folds, {"test_fold": test_fold, "validation_fold": validation_fold})
        test, validation = folds == test_fold, np.equal(folds, validation_fold or 0)
        found = np.stack([~(test | validation), validation, test])
    torn = _torn_patients(examples, found)
    dropped = _copies_trained_on(examples, found)
    found &= ~dropped
    refusals = [*([] if dataset.guessed else torn), *_missing_classes(dataset, found)]
    warnings = torn if dataset.guessed else []
    parts = [take(examples, rows) for rows in found]
    names = tuple(str(name) for name in examples.names[dropped])
    return Division(parts[0], parts[1], parts[2], names, tuple(refusals), tuple(warnings))


def take(examples: Examples, rows: Bool[np.ndarray, " N"] | Int32[np.ndarray, " M"]) -> Examples:
    """The given rows of every array."""
    return Examples(*(column[rows] for column in examples))


def known_patients(examples: Examples) -> np.ndarray | None:
    """The patient of each example, where all are known: who is drawn whole in a bootstrap."""
    known = bool(len(examples.patients)) and all(examples.patients)
    return examples.patients if known else None


def deal(groups: Sequence[str], labels: Sequence[str], seed: int = 0) -> list[int]:
    """Deals groups to folds 5..1, evenly within each class and each group whole.

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
        # From the last fold down: it is tested by default, and a class may have few groups.
        folds |= {group: FOLDS - i % FOLDS for i, group in enumerate(order)}
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


def _by_parts(
    parts: np.ndarray, folds: Int32[np.ndarray, " N"], validation_fold: int | None
) -> Bool[np.ndarray, "3 N"]:
    """The source's own parts; validated on a fold of what is trained on where it has none.

    Where it has a validation part and no test part, the former is tested on.
    """
    train, validation, test = (parts == name for name in ("train", "validation", "test"))
    if not test.any():
        validation, test = test, validation
    if validation_fold and not validation.any():
        validation = train & (folds == validation_fold)
    return np.stack([train & ~validation, validation, test])


def _torn_patients(examples: Examples, sides: Bool[np.ndarray, "3 N"]) -> list[str]:
    """Says which patients are on two sides of the split, if any are."""
    side_of: dict[str, set[int]] = defaultdict(set)
    for patient, side in zip(examples.patients, sides.argmax(0), strict=True):
        if patient:
            side_of[str(patient)].add(int(side))
    torn = sorted(patient for patient, found in side_of.items() if len(found) > 1)
    if not torn:
        return []
    first = sorted(str(name) for name in examples.names[examples.patients == torn[0]])
    what = f"{torn[0]!r} of {first[0]} and {first[-1]}"
    return [f"{counted(len(torn), 'patients')} on two sides of the split: {what}"]


def _missing_classes(dataset: Dataset, found: Bool[np.ndarray, "3 N"]) -> list[str]:
    """Says which classes are missing from training or test, if any are."""
    labels, told = dataset.examples.labels, []
    for rows, what in ((found[0], "training never sees"), (found[2], "the test set lacks")):
        absent = sorted({*labels.tolist()} - {*labels[rows].tolist()})
        if absent:
            names = [dataset.classes[label] for label in absent]
            told.append(
                f"classes that {what}: {names}; it has {counted(int(rows.sum()), 'images')}"
            )
    return told


def _copies_trained_on(
    examples: Examples, sides: Bool[np.ndarray, "3 N"]
) -> Bool[np.ndarray, " N"]:
    """Which images are identical to one of a part that is tested after theirs."""
    same = copies.identical(examples.images)
    validated, tested = (np.isin(same, same[rows]) for rows in sides[1:])
    return (sides[0] & (validated | tested)) | (sides[1] & tested)
