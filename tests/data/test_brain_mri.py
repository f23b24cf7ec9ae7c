"""The readers give back what is in the files, name what is broken, and leave no trace."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxsal.data import folder, matlab, pipeline
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
    assert matlab._text(np.array([[100360.0]])) == "100360"


ROWS = [("2.png", "glioma", "1"), ("10.png", "glioma", "2"), ("1.png", "meningioma", "2")]


def test_the_table_gives_class_and_fold(tmp_path):
    files.write_table(tmp_path, ROWS)
    (tmp_path / "masks" / "glioma" / "10.png").unlink()
    read = pipeline.figshare(tmp_path, image_size=12)
    assert read.examples.names.tolist() == ["glioma/2.png", "glioma/10.png", "meningioma/1.png"]
    assert read.examples.labels.tolist() == [0, 0, 1]
    assert read.examples.folds.tolist() == [1, 2, 2]
    for number, image in enumerate(read.examples.images):
        np.testing.assert_allclose(image[..., 0] * 255, files.grey(number), atol=1e-4)
    assert read.examples.masks.any((1, 2)).tolist() == [True, False, True]
    assert read.notes == ("1 images without a mask",)


def test_a_table_that_says_nonsense_is_an_error(tmp_path):
    files.write_table(tmp_path, ROWS, header="file,kind,author_fold")
    with pytest.raises(ValueError, match=r"lacks the columns \['class'\]"):
        pipeline.figshare(tmp_path, image_size=8)
    files.write_table(tmp_path, [*ROWS, ("3.png", "glioma", "none")])
    with pytest.raises(ValueError, match=r"line 5: author_fold='none'"):
        pipeline.figshare(tmp_path, image_size=8)


def test_an_image_of_the_table_that_is_missing_or_cut_short_is_named(tmp_path):
    files.write_table(tmp_path, [*ROWS, ("4.png", "glioma", "1")])
    (tmp_path / "images/glioma/2.png").unlink()
    cut = tmp_path / "images/glioma/4.png"
    cut.write_bytes(cut.read_bytes()[:100])
    read = pipeline.figshare(tmp_path, image_size=8)
    assert [line.split(":")[0] for line in read.skipped] == ["glioma/2.png", "glioma/4.png"]


def test_folders_are_classes_and_what_is_hidden_is_not_there(tmp_path):
    files.write_folders(tmp_path)
    files.save(tmp_path / ".git" / "a.png", files.grey(1))
    files.save(tmp_path / "yes" / ".b.png", files.grey(1))
    files.save(tmp_path / "__MACOSX" / "yes" / "c.png", files.grey(1))
    files.save(tmp_path / "loose.png", files.grey(1))
    (tmp_path / "yes" / "notes.txt").write_text("no image")
    files.save(tmp_path / "no" / "d.JPEG", files.grey(1))
    read = pipeline.folder(tmp_path, image_size=12)
    assert read.classes == ("no", "yes")
    assert np.bincount(read.examples.labels).tolist() == [6, 5]
    assert sorted(read.examples.folds[read.examples.labels == 1].tolist()) == [1, 2, 3, 4, 5]
    assert not read.examples.masks.any() and set(read.examples.patients.tolist()) == {""}
    assert any("patients unknown" in note for note in read.notes)


@pytest.mark.parametrize(
    "image, mask",
    [
        ("images/{}/a.png", "masks/{}/a.png"),
        ("{}/a.jpg", "{}_masks/a.png"),
        ("{}/a.png", "masks/{}/a.jpg"),
        ("{}/p/a.png", "{}_masks/p/a_mask.png"),
    ],
)
def test_masks_are_found_beside_their_images(tmp_path, image, mask):
    for label in ("yes", "no"):
        files.save(tmp_path / image.format(label), files.grey(1))
    files.save(tmp_path / mask.format("yes"), files.outline().astype(np.uint8) * 255)
    read = pipeline.folder(tmp_path, image_size=12)
    no, yes = read.examples.masks
    assert not no.any() and (yes == files.outline()).mean() > 0.98
    assert any("1 images without a mask" in note for note in read.notes)


def test_a_copy_of_the_set_inside_itself_is_ignored(tmp_path):
    files.write_folders(tmp_path)
    files.write_folders(tmp_path / "brain_tumor_dataset")
    read = pipeline.folder(tmp_path, image_size=8)
    assert read.classes == ("no", "yes") and len(read.examples.labels) == 10
    assert any("'brain_tumor_dataset' ignored" in note for note in read.notes)


def test_slices_of_one_name_or_folder_share_a_fold(tmp_path):
    for label in ("yes", "no"):
        for patient in range(5):
            for n in range(3):
                files.save(tmp_path / label / f"pat{label}{patient}_s{n}.png", files.grey(n, 4, 4))
        for n in range(3):
            files.save(tmp_path / label / "someone" / f"{n}.png", files.grey(n, 4, 4))
    examples = pipeline.folder(tmp_path, image_size=4).examples
    names = [name.removesuffix(".png") for name in examples.names.tolist()]
    groups = np.array([name[: name.rindex("_" if "_" in name else "/")] for name in names])
    assert len(set(groups)) == 12 and len(set(examples.folds.tolist())) == 5
    for group in set(groups):
        assert len(set(examples.folds[groups == group].tolist())) == 1


@pytest.mark.parametrize("name, group", [("p12_slice03", "p12"), ("TCGA-02 7", "TCGA-02")])
def test_what_precedes_a_last_number_is_a_group_if_it_holds_a_digit(name, group):
    assert folder._group(Path("yes", f"{name}.png")) == group
    assert folder._group(Path("yes", "Tr-gl_0010.png")) == "yes/Tr-gl_0010"
    assert folder._group(Path("no", "no 7.png")) == "no/no 7"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda root: None, r"class folders \[\], expected two"),
        (lambda root: files.write_folders(root, ("only",)), r"class folders \['only'\]"),
        (lambda root: (root / "a").mkdir(), r"class folders \[\]"),
    ],
)
def test_a_folder_with_fewer_than_two_classes_is_an_error(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(ValueError, match=message):
        pipeline.folder(tmp_path, image_size=8)


def test_a_set_of_which_nothing_can_be_read_is_an_error(tmp_path):
    files.write_folders(tmp_path, count=2)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"not an image")
    with pytest.raises(ValueError, match="none of 4 images can be read"):
        pipeline.folder(tmp_path, image_size=8)
    files.save(tmp_path / "yes" / "good.png", files.grey(1))
    with pytest.raises(ValueError, match=r"only \['yes'\] of \['no', 'yes'\] can be read"):
        pipeline.folder(tmp_path, image_size=8)


@pytest.mark.parametrize("read", [pipeline.figshare, pipeline.folder])
def test_a_missing_directory_is_an_error_that_names_it(tmp_path, read):
    with pytest.raises(ValueError, match=r"data_dir=.*nowhere.* does not exist"):
        read(tmp_path / "nowhere", image_size=8)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"data_dir=.*file.* is not a directory"):
        read(tmp_path / "file", image_size=8)


def test_a_directory_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(ValueError, match=r"data_dir=.* cannot be read: Permission denied"):
        pipeline.folder(tmp_path, image_size=8)


def test_a_directory_with_neither_form_says_what_was_expected(tmp_path):
    files.write_folders(tmp_path)
    with pytest.raises(ValueError, match=r"neither labels\.csv with .* nor the original N\.mat"):
        pipeline.figshare(tmp_path, image_size=8)
