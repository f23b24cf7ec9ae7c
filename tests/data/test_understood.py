"""What is told of a data set is what is in it."""

from dataclasses import replace

import numpy as np

from jaxsal.data import pipeline, splits, understood
from tests.data import collections as kept


def _record(dataset):
    division = splits.divide(dataset, test_fold=5)
    return division, understood.record(dataset, division)


def test_counts_patients_masks_and_reasons(tmp_path):
    folder = kept.write(tmp_path, kept.PARALLEL)
    (folder / "IMAGES/a/broken.tif").write_bytes(b"II*")
    (folder / "IMAGES/notes.txt").touch()
    dataset = pipeline.folder(folder, image_size=16)
    _, found = _record(dataset)
    assert sum(sum(part.values()) for part in found["counts"].values()) == 10
    assert found["masks"] == {"train": 8, "validation": 0, "test": 2}
    assert {reason: each["count"] for reason, each in found["left_out"].items()} == {
        "no image (.txt)": 1,
        "cannot be read": 1,
    }
    lines = understood.lines(found)
    assert "split by 5 folds" in lines[0] and "validation" not in lines[1]
    assert any(line.startswith("  with a mask") for line in lines)
    assert any("left out, no image (.txt): 1 (IMAGES/notes.txt)" in line for line in lines)


def test_what_is_refused_is_told_before(tmp_path):
    dataset = pipeline.folder(kept.write(tmp_path, kept.YES_NO), image_size=16)
    labels = np.where(dataset.examples.folds == 5, 0, dataset.examples.labels)
    one = replace(dataset, examples=dataset.examples._replace(labels=labels.astype(np.int32)))
    _, found = _record(one)
    assert understood.lines(found)[-1].startswith("  WARNING: classes that the test set lacks")


def test_identical_images_with_two_labels_are_told(tmp_path):
    folder = kept.write(tmp_path, kept.YES_NO)
    (folder / "yes/same.jpg").write_bytes((folder / "no/no1.jpg").read_bytes())
    _, found = _record(pipeline.folder(folder, image_size=16))
    assert found["copies"]["identical"] == found["copies"]["identical_with_another_label"] == 1
    assert "  of 1 of these the labels differ" in understood.lines(found)
