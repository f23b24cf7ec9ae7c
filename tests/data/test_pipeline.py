"""Splits keep patients apart; batches are the same rows from the same seed."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jaxsal.data import pipeline, splits
from jaxsal.data.batches import batches
from jaxsal.data.splits import deal, known_patients
from tests.data import files

sizes = st.integers(1, 40)


def _dataset(folds, labels=None, patients=None):
    count = len(folds)
    labels = np.arange(count) % 2 if labels is None else labels
    patients = [""] * count if patients is None else patients
    return pipeline.Dataset(
        pipeline.Examples(
            images=np.arange(count, dtype=np.float32)[:, None, None, None] / count,
            labels=np.array(labels, np.int32),
            masks=np.zeros((count, 1, 1), bool),
            folds=np.array(folds, np.int32),
            patients=np.array(patients),
            names=np.array([str(n) for n in range(count)]),
        ),
        classes=("a", "b", "c"),
        source="made up",
    )


# Splits.


@given(st.lists(st.integers(1, 5), min_size=60, max_size=80), st.permutations(range(1, 6)))
def test_a_split_by_folds_is_a_partition(folds, order):
    present = [fold for fold in order if fold in folds]
    dataset = _dataset(folds, labels=[0] * len(folds))
    assume(len(present) > 2)
    train, validation, test = pipeline.split(
        dataset, test_fold=present[0], validation_fold=present[1]
    )
    assert set(test.folds.tolist()) == {present[0]}
    assert set(validation.folds.tolist()) == {present[1]}
    names = np.concatenate([train.names, validation.names, test.names])
    assert sorted(names.tolist()) == sorted(dataset.examples.names.tolist())
    assert (train.images[:, 0, 0, 0] * len(folds)).round().astype(int).tolist() == [
        int(name) for name in train.names
    ]


def test_without_a_validation_fold_everything_else_is_trained_on():
    train, validation, test = pipeline.split(_dataset([1, 1, 2, 2, 3, 3]), test_fold=2)
    assert len(train.labels) == 4 and len(validation.labels) == 0 and len(test.labels) == 2


def test_patients_are_known_only_where_all_are():
    both, one = (_dataset([1, 2], patients=names).examples for names in (["p", "q"], ["p", ""]))
    np.testing.assert_array_equal(known_patients(both), ["p", "q"])
    assert known_patients(one) is None


def test_a_patient_on_two_sides_is_refused():
    dataset = _dataset([1, 1, 2, 2, 3, 3], patients=["x", "y", "z", "z", "x", "w"])
    with pytest.raises(ValueError, match=r"1 patient on two sides of the split: 'x' of 0 and 4"):
        pipeline.split(dataset, test_fold=1)
    pipeline.split(dataset, test_fold=2)


def test_a_class_never_trained_on_is_named():
    dataset = _dataset([1, 1, 2, 2], labels=[0, 1, 0, 2])
    with pytest.raises(ValueError, match=r"classes that training never sees: \['c'\]; it has 2 im"):
        pipeline.split(dataset, test_fold=2)


@pytest.mark.parametrize(
    "folds, options, message",
    [
        ([1, 1, 2, 2], {"test_fold": 5}, r"test_fold=5, expected one of the folds \[1, 2\]"),
        ([1, 1, 2, 2], {"test_fold": 1, "validation_fold": 0}, "validation_fold=0, expected"),
        ([1, 1, 2, 2], {"test_fold": 1, "validation_fold": 1}, "are both 1"),
        ([1, 0, 2, 2], {"test_fold": 1}, "1 examples have no fold"),
        ([0, 0, 0, 0], {"test_fold": 1}, "neither folds nor patients"),
    ],
)
def test_folds_that_are_not_there_are_refused(folds, options, message):
    with pytest.raises(ValueError, match=message):
        pipeline.split(_dataset(folds), **options)


def test_patients_without_folds_are_dealt_by_the_seed():
    patients = [f"p{n // 2}" for n in range(60)]
    dataset = _dataset([0] * 60, labels=[n // 2 % 2 for n in range(60)], patients=patients)
    first = pipeline.split(dataset, test_fold=1, seed=1)[2].patients.tolist()
    assert first == pipeline.split(dataset, test_fold=1, seed=1)[2].patients.tolist()
    assert first != pipeline.split(dataset, test_fold=1, seed=2)[2].patients.tolist()
    assert len(first) == 12


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1), st.randoms())
def test_dealing_keeps_groups_whole_and_ignores_the_order_of_other_groups(pairs, random):
    groups, labels = [f"g{group} {label}" for group, label in pairs], [str(b) for _, b in pairs]
    folds = deal(groups, labels)
    dealt = set(zip(groups, folds, strict=True))
    assert len(dealt) == len(set(groups))
    order = random.sample(range(len(pairs)), len(pairs))
    assert deal([groups[i] for i in order], [labels[i] for i in order]) == [folds[i] for i in order]
    for label in set(labels):
        counts = np.bincount([f for g, f in dealt if g.endswith(f" {label}")], minlength=6)
        assert np.ptp(counts[1:]) <= 1


# Batches.


@given(sizes, sizes, st.integers(0, 99), st.integers(0, 9))
def test_an_epoch_has_every_row_and_full_steps_without_repeats(count, batch_size, seed, epoch):
    rows = batches(count, batch_size, seed=seed, epoch=epoch)
    assert rows.dtype == np.int32 and rows.shape == (-(-count // batch_size), batch_size)
    assert sorted(rows.ravel()[:count].tolist()) == list(range(count))
    if batch_size <= count:
        assert all(len(set(step.tolist())) == batch_size for step in rows)
    np.testing.assert_array_equal(rows, batches(count, batch_size, seed=seed, epoch=epoch))


def test_epochs_and_seeds_differ():
    drawn = {
        batches(50, 10, seed=seed, epoch=epoch).tobytes() for seed in range(3) for epoch in range(3)
    }
    assert len(drawn) == 9


@pytest.mark.parametrize("bad", [(0, 1), (1, 0)])
def test_nothing_to_draw_is_an_error(bad):
    with pytest.raises(ValueError, match="expected both at least 1"):
        batches(*bad, seed=0, epoch=0)
    with pytest.raises(ValueError, match=r"epoch=-1, expected integers >= 0"):
        batches(1, 1, seed=0, epoch=-1)


def test_images_of_no_size_are_an_error(tmp_path):
    files.write_folders(tmp_path)
    with pytest.raises(ValueError, match="image_size: expected an integer >= 1, got -8"):
        pipeline.folder(tmp_path, image_size=-8)


def test_pixels_are_averaged_when_made_smaller(tmp_path):
    board = np.indices((32, 32)).sum(0) % 2 * 255
    for label in "ab":
        files.save(tmp_path / label / "board.png", board.astype(np.uint8))
    images = pipeline.folder(tmp_path, image_size=8).examples.images
    assert images.dtype == np.float32 and images.shape == (2, 8, 8, 1)
    np.testing.assert_allclose(images, 0.5, atol=0.01)


# A source's own split.


def _parted(parts, labels, images=None, **options):
    dataset = _dataset([1] * len(parts), labels=labels)
    examples = dataset.examples
    if images is not None:
        pixels = np.random.default_rng(0).random((len(parts), 2, 2, 1), np.float32)
        examples = examples._replace(
            images=pixels[images], masks=np.zeros((len(parts), 2, 2), bool)
        )
    return replace(dataset, examples=examples, parts=np.array(parts), **options)


def test_a_split_of_the_source_is_kept():
    parts = ["train", "train", "test", "test", "validation", "validation"]
    found = splits.divide(_parted(parts, [0, 1] * 3), test_fold=4)
    sizes = [part.names.tolist() for part in found[:3]]
    assert sizes == [["0", "1"], ["4", "5"], ["2", "3"]] and not found.refusals


def test_without_a_test_part_the_validation_part_is_tested_on():
    found = splits.divide(_parted(["train"] * 2 + ["validation"] * 2, [0, 1] * 2), test_fold=1)
    assert found.test.names.tolist() == ["2", "3"] and not len(found.validation.labels)


def test_copies_of_tested_images_are_not_trained_on():
    parts = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    dataset = _parted(parts, [0, 1] * 4, images=[0, 1, 2, 3, 4, 0, 5, 4])
    found = splits.divide(dataset, test_fold=1)
    assert found.dropped == ("0", "4")
    assert [part.names.tolist() for part in found[:3]] == [["1", "2", "3"], ["5"], ["6", "7"]]
    assert not found.refusals


@pytest.mark.parametrize(
    ("parts", "labels", "message"),
    [
        (["train"] * 3 + ["test"], [0, 1, 0, 1], r"the test set lacks: \['a'\]; it has 1 image"),
        (["train"] * 2 + ["test"] * 2, [0, 0, 0, 1], r"training never sees: \['b'\]"),
    ],
)
def test_a_class_missing_from_a_part_is_refused_or_forced(parts, labels, message):
    division = splits.divide(_parted(parts, labels), test_fold=1)
    with pytest.raises(ValueError, match=message):
        splits.accepted(division)
    assert re.search(message, splits.accepted(division, force=True).warnings[0])


def test_guessed_patients_on_two_sides_are_warned_of_and_given_ones_refused():
    dataset = _parted(["train"] * 2 + ["test"] * 2, [0, 1, 0, 1])
    examples = dataset.examples._replace(patients=np.array(["p", "q", "p", "r"]))
    given = splits.divide(replace(dataset, examples=examples), test_fold=1)
    with pytest.raises(ValueError, match=r"1 patient on two sides of the split: 'p' of 0 and 2"):
        splits.accepted(given)
    guessed = splits.divide(replace(dataset, examples=examples, guessed=True), test_fold=1)
    assert "1 patient on two sides" in splits.accepted(guessed).warnings[0]


def test_a_class_of_few_groups_is_tested_by_default():
    assert deal(["p", "q"], ["a", "a"]) in ([5, 4], [4, 5])
