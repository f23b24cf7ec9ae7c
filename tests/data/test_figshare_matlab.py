"""The original files come back upright, from archives too; what is broken is named."""

import os
import zipfile

import numpy as np
import pytest

from jaxsal.data import figshare_matlab, pipeline
from tests.data import files


def _stretched(image):
    low, high = int(image.min()), int(image.max())
    return np.rint(255 * (image.astype(float) - low) / (high - low)) / 255


def test_the_original_files_come_back_upright_with_label_patient_fold_and_mask(tmp_path):
    patients = files.write_original(tmp_path / "a")
    files.write_folds(tmp_path / "cvind.mat", [1, 2, 3, 1, 2, 3])
    read = pipeline.figshare(tmp_path, image_size=12)
    examples = read.examples
    assert read.classes == ("glioma", "meningioma", "pituitary") and not read.skipped
    assert [read.classes[i] for i in examples.labels[:3]] == ["meningioma", "glioma", "pituitary"]
    assert examples.patients.tolist() == patients
    assert examples.folds.tolist() == [1, 2, 3, 1, 2, 3]
    assert examples.names.tolist() == [f"{n}.mat" for n in range(1, 7)]
    for n, image in enumerate(examples.images, 1):
        np.testing.assert_allclose(image[..., 0], _stretched(files.picture(n)), atol=1e-6)
    assert (examples.masks == files.outline()).all()
    assert "int16" in read.notes[0] and "6" in read.notes[0]


def test_zips_read_as_the_loose_files_do_and_a_slice_counts_once(tmp_path):
    loose, zipped = tmp_path / "loose", tmp_path / "zipped"
    files.write_original(loose)
    zipped.mkdir()
    for part, numbers in enumerate(((4, 5, 6), (1, 2, 3))):
        with zipfile.ZipFile(zipped / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for n in numbers:
                archive.write(loose / f"{n}.mat", f"brain/{n}.mat")
    one = pipeline.figshare(loose, image_size=8).examples
    for a, b in zip(one, pipeline.figshare(zipped, image_size=8).examples, strict=True):
        np.testing.assert_array_equal(a, b)
    os.rename(zipped / "0.zip", loose / "0.zip")
    both = pipeline.figshare(loose, image_size=8)
    assert len(both.examples.labels) == 6
    assert sum("left out" in note for note in both.notes) == 3


def test_without_the_authors_folds_the_split_is_by_patient(tmp_path):
    for n in range(1, 31):
        patient = f"P{(n - 1) // 2}"
        label = (n - 1) // 2 % 3 + 1
        files.write_struct(
            tmp_path / f"{n}.mat", label, patient, files.picture(n, 4, 4), files.outline(4, 4)
        )
    read = pipeline.figshare(tmp_path, image_size=4)
    assert not read.examples.folds.any() and any("patients" in note for note in read.notes)
    parts = pipeline.split(read, test_fold=1, validation_fold=2)
    train, validation, test = (set(part.patients.tolist()) for part in parts)
    assert len(train) == 9 and len(validation) == 3 and len(test) == 3
    assert not train & validation and not train & test and not validation & test


@pytest.mark.parametrize("entry", ["../1.mat", "/1.mat", "a/../../1.mat", "..\\1.mat", "C:\\1.mat"])
def test_an_archive_that_points_out_of_itself_is_refused(tmp_path, entry):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, b"")
    with pytest.raises(ValueError, match="points out of the archive"):
        pipeline.figshare(tmp_path, image_size=8)


def test_broken_originals_are_named_and_skipped_or_fail_when_strict(tmp_path):
    files.write_original(tmp_path)
    (tmp_path / "2.mat").write_bytes((tmp_path / "2.mat").read_bytes()[:900])
    files.write_struct(tmp_path / "4.mat", 7, "P", files.picture(4), files.outline())
    files.write_struct(tmp_path / "5.mat", 2, "P", files.picture(5), files.outline(3, 3))
    (tmp_path / "b.zip").write_bytes(b"PK no archive")
    read = pipeline.figshare(tmp_path, image_size=8)
    assert read.examples.names.tolist() == ["1.mat", "3.mat", "6.mat"]
    assert [line.split(":")[0] for line in read.skipped] == ["2.mat", "4.mat", "5.mat", "b.zip"]
    with pytest.raises(ValueError, match=r"strict: 4 broken files: 2\.mat"):
        pipeline.figshare(tmp_path, image_size=8, strict=True)


def test_folds_that_cannot_be_read_or_do_not_reach_are_an_error(tmp_path):
    files.write_original(tmp_path)
    files.write_folds(tmp_path / "cvind.mat", [1, 2, 3])
    with pytest.raises(ValueError, match=r"cvind\.mat has 3 folds, none for the slices \[4, 5"):
        pipeline.figshare(tmp_path, image_size=8)
    (tmp_path / "cvind.mat").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"cvind\.mat cannot be read"):
        pipeline.figshare(tmp_path, image_size=8)


def test_a_numeric_patient_is_text_too():
    assert figshare_matlab._text(np.array([[100360.0]])) == "100360"
