"""An image has the label to be explained by that it has in a training on the same folder."""

import os

import pytest

from jaxsal.commands.folder_labels import FolderLabels
from jaxsal.data import folder, pictures
from tests.data import collections as kept

NUMBERED = [f"{c}/{p}/{n}.png" for c in "01" for p in "012" for n in "ab"]

LAYOUTS = {
    "patients called as classes": NUMBERED,
    "and none called otherwise": [f"{c}/{p}/{n}.png" for c in "01" for p in "01" for n in "ab"],
    "in a split": [f"{s}/{name}" for s in ("train", "test") for name in NUMBERED],
    "in a wrapper called as a class": [f"1/{name}" for name in NUMBERED],
    "a split in each class": [f"{c}/{s}/0/a.png" for c in "01" for s in ("train", "test")],
    "beside a copy": [*NUMBERED, *(f"all/{name}" for name in NUMBERED)],
    "words": kept.YES_NO,
    "words in a split": kept.TRAINING_TESTING,
    "with masks": kept.IN_CLASS,
}


def told(what: str, classes: tuple[str, ...]) -> dict[str, str | None]:
    """The class of each image by the path that it has below its source's folder."""
    source = pictures.find(what)
    labels = FolderLabels(source, classes)
    found = (labels.of(number, source_record(source, number)) for number in range(len(source)))
    return {
        source.name(number): None if label is None else classes[label]
        for number, label in enumerate(found)
    }


def source_record(source: pictures.Files, number: int) -> dict[str, str]:
    return {"name": source.name(number)}


@pytest.mark.parametrize("root", ["set", "1", "yes"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_class_is_that_of_a_training(name, root, tmp_path) -> None:
    """Whatever the folder of all is called."""
    place = kept.touch(tmp_path / root, LAYOUTS[name])
    listed = folder.listing(place)
    expected = {item.name: item.read.args[2] for item in listed.items}
    found = told(str(place), listed.classes)
    assert {each: found[each] for each in expected} == expected
    assert len({*expected.values()}) == 2


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("0", {"0"}),  # patients 0, 1 and 2 of class 0
        ("1", {"1"}),
        ("0/1/a.png", {"0"}),
        ("0/2/*.png", {None}),  # patient 2: nothing says what lies above
        ("0/1", {"0"}),
        ("?/1/*.png", {"0", "1"}),
        ("*/0/a.png", {"0", "1"}),
    ],
)
def test_of_a_part_of_the_images_it_is_the_outermost_folder(what, expected, tmp_path) -> None:
    kept.touch(tmp_path / "set", NUMBERED)
    found = told(os.fspath(tmp_path / "set" / what), ("0", "1"))
    assert {*found.values()} == expected


def test_a_class_that_is_there_alone_is_no_wrapper(tmp_path) -> None:
    kept.touch(tmp_path, ["Yes/P1/a.png", "Yes/P2/b.png"])
    assert {*told(str(tmp_path), ("no", "yes")).values()} == {"yes"}
    assert {*told(str(tmp_path), ()).values()} == {None}
