"""The readers of folders give back what is in the files and name what is broken."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from jaxsal.data import pipeline
from tests.data import files

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
    assert read.notes == ("1 image without a mask",)


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
    assert any("1 image without a mask" in note for note in read.notes)


def test_a_copy_of_the_set_inside_itself_is_ignored(tmp_path):
    files.write_folders(tmp_path)
    files.write_folders(tmp_path / "brain_tumor_dataset")
    read = pipeline.folder(tmp_path, image_size=8)
    assert read.classes == ("no", "yes") and len(read.examples.labels) == 10
    assert any("'brain_tumor_dataset' ignored" in note for note in read.notes)


def test_links_are_followed_once_and_names_need_not_be_unicode(tmp_path):
    files.write_folders(tmp_path / "elsewhere")
    (tmp_path / "set").mkdir()
    for label in ("yes", "no"):
        (tmp_path / "set" / label).symlink_to(tmp_path / "elsewhere" / label)
    (tmp_path / "elsewhere" / "yes" / "back").symlink_to(tmp_path / "set")
    folder_no = tmp_path / "set" / "no"
    os.rename(folder_no / "no1.png", os.fsencode(folder_no) + b"/\xff.png")
    read = pipeline.folder(tmp_path / "set", image_size=8)
    assert len(read.examples.labels) == 10 and "no/\\udcff.png" in read.examples.names


def test_slices_of_one_name_or_folder_share_a_fold(tmp_path):
    for label in ("yes", "no"):
        for patient in range(5):
            for n in range(3):
                place = tmp_path / label / f"pat{label}{patient}_s{n}.png"
                files.save(place, files.grey(ord(label[0]) + 1000 * patient + n, 4, 4))
        for n in range(3):
            files.save(
                tmp_path / label / "someone" / f"{n}.png", files.grey(len(label) + 9 * n, 4, 4)
            )
    examples = pipeline.folder(tmp_path, image_size=4).examples
    names = [name.removesuffix(".png") for name in examples.names.tolist()]
    groups = np.array([name[: name.rindex("_" if "_" in name else "/")] for name in names])
    assert len(set(groups)) == 12 and len(set(examples.folds.tolist())) == 5
    for group in set(groups):
        assert len(set(examples.folds[groups == group].tolist())) == 1


def test_a_patients_folder_is_the_same_patient_in_every_class(tmp_path):
    for label in ("yes", "no"):
        for patient in range(6):
            for n in range(2):
                place = tmp_path / label / f"patient{patient}" / f"{n}.png"
                files.save(place, files.grey(n + patient, 4, 4))
    examples = pipeline.folder(tmp_path, image_size=4).examples
    assert set(examples.patients.tolist()) == {f"patient {n}" for n in range(1, 7)}
    for patient in set(examples.patients.tolist()):
        assert len(set(examples.folds[examples.patients == patient].tolist())) == 1


def test_a_mask_beside_its_image_is_no_image(tmp_path):
    for n in range(3):
        files.save(tmp_path / "no" / f"{n}.png", files.grey(n))
        files.save(tmp_path / "yes" / f"{n}.png", files.grey(n))
        files.save(tmp_path / "yes" / f"{n}_mask.png", files.outline())
    examples = pipeline.folder(tmp_path, image_size=12).examples
    assert len(examples.names) == 6
    assert examples.masks.any((1, 2)).tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda root: None, r"no class folders, expected two .*, or --labels FILE\.csv"),
        (lambda root: files.write_folders(root, ("only",)), r"class folders \['only'\]"),
        (lambda root: (root / "a").mkdir(), "no class folders"),
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


def test_preparing_leaves_nothing_outside_the_cache(tmp_path, monkeypatch):
    files.write_folders(tmp_path / "set")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    pipeline.folder(tmp_path / "set", image_size=8)
    assert not os.listdir(tmp_path / "temporary")
