"""Every collection is read as it is meant, and what is not used is told with its reason."""

from collections import Counter

import pytest

from jaxsal.data import folder, pipeline
from jaxsal.data.listing import Listing
from jaxsal.data.reading import Reading
from tests.data import collections as kept


def _labels(found: Listing) -> dict[str, int]:
    return dict(Counter(item.read.args[2] for item in found.items))


def _parts(found: Listing) -> dict[str, int]:
    return dict(Counter(item.part for item in found.items))


def _masks(found: Listing) -> dict[str, list[str]]:
    return {item.name: kept.masks(item) for item in found.items}


def _patients(found: Listing) -> set[str]:
    return {item.read.args[3] for item in found.items}


LAYOUTS = {
    "yes and no": (kept.YES_NO, {"no": 5, "yes": 5}, {"": 10}, 0),
    "Training and Testing": (
        kept.TRAINING_TESTING,
        {"glioma": 10, "notumor": 10},
        {"train": 10, "test": 10},
        0,
    ),
    "train, val, test": (
        kept.CHEST,
        {"NORMAL": 15, "PNEUMONIA": 15},
        {"train": 10, "test": 10, "validation": 10},
        0,
    ),
    "masks beside": (kept.BESIDE, {"benign": 5, "malignant": 5}, {"": 10}, 10),
    "several masks": (kept.SEVERAL, {"benign": 5, "malignant": 5}, {"": 10}, 12),
    "IMAGES and MASKS": (kept.PARALLEL, {"a": 5, "b": 5}, {"": 10}, 10),
    "in each class": (kept.IN_CLASS, {"COVID": 5, "Normal": 5}, {"": 10}, 10),
    "classes called masks": (kept.WITH_MASK, {"no_mask": 5, "with_mask": 5}, {"": 10}, 0),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("wrapper", ["", "dataset/", "archive/data/"])
def test_a_collection_is_read_as_it_lies(name, wrapper, tmp_path):
    names, labels, parts, masks = LAYOUTS[name]
    found = folder.listing(kept.touch(tmp_path, [wrapper + n for n in names]))
    assert (_labels(found), _parts(found)) == (labels, parts)
    assert sum(map(len, _masks(found).values())) == masks
    assert len(found.items) + masks == len(names) and found.left_out == ()
    for image, own in _masks(found).items():
        stem = image.rpartition("/")[2].rpartition(".")[0]
        assert all(mask.startswith(stem) for mask in own)


def test_a_set_zipped_with_itself_is_read_once(tmp_path):
    again = [f"chest_xray/{name}" for name in kept.CHEST]
    found = folder.listing(kept.touch(tmp_path, [*kept.CHEST, *again]))
    assert _labels(found) == {"NORMAL": 15, "PNEUMONIA": 15}
    assert {reason for _, reason in found.left_out} == {"in a folder that is there twice"}
    assert len(found.left_out) == len(again)


def test_a_class_with_a_patient_called_as_another_class_is_no_copy(tmp_path):
    names = [f"{c}/{p}/{c}{p}.png" for c, p in ("01", "02", "10", "12", "20", "25")]
    found = folder.listing(kept.touch(tmp_path, names))
    assert _labels(found) == {"0": 2, "1": 2, "2": 2} and found.left_out == ()


def test_every_format_that_is_read_elsewhere_is_trained_on(tmp_path):
    endings = ("png", "bmp", "webp", "tif", "tiff", "gif", "pgm", "JPG")
    found = folder.listing(kept.touch(tmp_path, [f"{c}/1.{e}" for c in "ab" for e in endings]))
    assert _labels(found) == {"a": len(endings), "b": len(endings)}


def test_every_file_that_is_not_used_has_its_reason(tmp_path):
    odd = ["notes.txt", "yes/x.xml", "loose.png", "masks/other.png", "yes/README"]
    found = folder.listing(
        kept.touch(tmp_path, [*kept.YES_NO, *odd, "masks/yes/yes1.png", "extra/1.png"]),
        Reading(exclude=("extra/*",)),
    )
    assert dict(found.left_out) == {
        "notes.txt": "no image (.txt)",
        "yes/x.xml": "no image (.xml)",
        "yes/README": "no image (no suffix)",
        "loose.png": "in no class folder",
        "masks/other.png": "a mask of no image",
        "extra/1.png": "excluded",
    }


def test_a_mask_of_no_image_is_no_image(tmp_path):
    names = [*kept.PARALLEL, "MASKS/a/other.tif"]
    found = folder.listing(kept.touch(tmp_path, names))
    assert found.left_out == (("MASKS/a/other.tif", "a mask of no image"),)


def test_folders_beside_a_split_are_refused(tmp_path):
    kept.touch(tmp_path, [*kept.TRAINING_TESTING, "extra/glioma/1.png"])
    with pytest.raises(ValueError, match=r"\['extra'\] beside .*--exclude 'extra/\*'"):
        folder.listing(tmp_path)
    assert len(folder.listing(tmp_path, Reading(exclude=("extra/*",))).items) == 20


def test_a_split_inside_each_class_is_the_split(tmp_path):
    names = [f"{c}/{s}/{n}.png" for c in ("cat", "dog") for s in ("train", "test") for n in "123"]
    found = folder.listing(kept.touch(tmp_path, names))
    assert _labels(found) == {"cat": 6, "dog": 6} and _parts(found) == {"train": 6, "test": 6}


def test_classes_that_differ_in_case_are_one(tmp_path):
    names = ["train/Cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png"]
    found = folder.listing(kept.touch(tmp_path, names))
    assert found.classes == ("cat", "dog") and len(found.items) == 4
    assert any("taken as one" in note for note in found.notes)


def test_classes_are_ordered_as_numbers(tmp_path):
    names = [f"{c}/{n}.png" for c in ("10", "2", "1") for n in "ab"]
    assert folder.listing(kept.touch(tmp_path, names)).classes == ("1", "2", "10")


def test_another_folder_is_tested_on(tmp_path):
    kept.touch(tmp_path / "a", kept.YES_NO)
    kept.touch(tmp_path / "b", [*kept.YES_NO[:7], "x.txt"])
    found = folder.listing(tmp_path / "a", Reading(test_images=tmp_path / "b"))
    assert _parts(found) == {"train": 10, "test": 7}
    assert found.left_out == (("--test-images/x.txt", "no image (.txt)"),)
    kept.touch(tmp_path / "c", kept.TRAINING_TESTING)
    with pytest.raises(ValueError, match=r"test_images: .* has a test folder of its own"):
        folder.listing(tmp_path / "c", Reading(test_images=tmp_path / "b"))


def test_masks_may_lie_elsewhere(tmp_path):
    kept.touch(tmp_path / "a", kept.YES_NO)
    kept.touch(tmp_path / "m", ["yes/yes1_mask.png", "yes/yes1_mask_2.png", "no3.png"])
    found = folder.listing(tmp_path / "a", Reading(masks=tmp_path / "m"))
    own = {name: masks for name, masks in _masks(found).items() if masks}
    assert own == {"yes/yes1.jpg": ["yes1_mask.png", "yes1_mask_2.png"], "no/no3.jpg": ["no3.png"]}
    kept.touch(tmp_path / "n", ["other.png"])
    with pytest.raises(ValueError, match="masks: none of 1 files"):
        folder.listing(tmp_path / "a", Reading(masks=tmp_path / "n"))


# Patients.


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        ([f"{c}/pat{p}_t1_{n}.png" for c in "ab" for p in "12" for n in "123"], {"pat1", "pat2"}),
        ([f"{c}/p{p}_{v}.png" for c in "ab" for p in "12" for v in ("axial", "cor")], {"p1", "p2"}),
        (
            [f"{c}/{p}/axial/{n}.png" for c in "ab" for p in ("P1", "P2") for n in "12"],
            {"P1", "P2"},
        ),
        ([f"{c}/axial/{n}.png" for c in "ab" for n in "123"], {""}),
        ([f"{c}/{c}_{n}.png" for c in ("g1", "g2") for n in "1234"], {""}),
        ([f"{c}/image ({n}).png" for c in "ab" for n in "123"], {""}),
        ([f"{c}/TCGA-{c}{n}_1.png" for c in "ab" for n in "123"], {""}),
    ],
)
def test_patients_are_what_names_have_in_common(names, patients, tmp_path):
    found = folder.listing(kept.touch(tmp_path, names))
    assert _patients(found) == patients
    assert any("patients unknown" in note for note in found.notes) == (patients == {""})


def test_what_is_no_patient_is_said(tmp_path):
    named = [f"{c}/{c}_{n}.png" for c in ("g1", "g2") for n in "1234"]
    found = folder.listing(kept.touch(tmp_path, named))
    assert "no patient, but a class's own name: 'g1', 'g2'" in found.notes


def test_patients_by_a_pattern_or_none_at_all(tmp_path):
    kept.touch(tmp_path, [f"{c}/x{p}y{n}.png" for c in "ab" for p in "12" for n in "34"])
    found = folder.listing(tmp_path, Reading(group=r"(x\d)y"))
    assert _patients(found) == {"x1", "x2"}
    assert _patients(folder.listing(tmp_path, Reading(group="none"))) == {""}
    with pytest.raises(ValueError, match=r"group: 'q\(' is no regular expression"):
        folder.listing(tmp_path, Reading(group="q("))
    with pytest.raises(ValueError, match="group: 'q' matches none of 8 names"):
        folder.listing(tmp_path, Reading(group="q"))


def test_a_test_folder_without_classes_is_no_split(tmp_path):
    names = [f"train/{c}/{c}{n}.png" for c in "ab" for n in range(5)]
    dataset = pipeline.folder(kept.write(tmp_path, [*names, "test/1.png"]), image_size=16)
    assert dataset.parts is None and len({*dataset.examples.folds.tolist()}) == 5
    assert dataset.left_out == (("test/1.png", "in no class folder"),)
