"""A mask that a table names is looked for beside the table and among masks, and is no image."""

from pathlib import Path

import pytest

from jaxsal.data import folder, pipeline
from jaxsal.data.reading import Reading
from tests.data import collections as kept
from tests.data import files

COUNT = range(4)
IMAGES = [f"data/images/p{n}.png" for n in COUNT]


def listed(place: Path, cells: list[str], images: str = "data/images", **options: object):
    """The masks of each image, as paths below a place, and what is told."""
    rows = [(f"p{n}.png", "ab"[n % 2], cell) for n, cell in enumerate(cells)]
    table = kept.table(place / "data/labels.csv", "file,label,mask", rows)
    found = folder.listing(place / images, Reading(labels=table, **options))
    masks = {}
    for item in found.items:
        outline = item.read.args[1]
        own = outline.func.__self__.files(*outline.args)
        masks[Path(item.name).name] = [path.relative_to(place).as_posix() for path in own]
    return [masks[f"p{n}.png"] for n in COUNT], found


@pytest.mark.parametrize("images", ["data/images", "data"])
def test_a_cell_is_a_path_from_its_table(images, tmp_path) -> None:
    """Beside a folder of images of the same names; not the image, whose name the mask has."""
    masks = [f"data/masks/p{n}.png" for n in COUNT]
    kept.touch(tmp_path, [*IMAGES, *masks])
    found, told = listed(tmp_path, [f"masks/p{n}.png" for n in COUNT], images)
    assert found == [[mask] for mask in masks]
    assert not [name for name, _ in told.left_out if name != "labels.csv"]
    assert not any("other folders" in note for note in told.notes)


@pytest.mark.parametrize("before", ["", "gone/"])
def test_a_cell_is_a_name_in_the_folder_of_masks(before, tmp_path) -> None:
    """That of the cell counts more than one that is called as the image."""
    kept.touch(tmp_path, [*IMAGES, *(f"m/drawn{n}.png" for n in COUNT), "m/p0.png"])
    cells = [f"{before}drawn{n}.png" for n in COUNT]
    found, told = listed(tmp_path, cells, masks=tmp_path / "m")
    assert found == [[f"m/drawn{n}.png"] for n in COUNT]
    note = "labels.csv: 4 masks in other folders (gone/drawn0.png): taken by their names"
    assert (note in told.notes) == bool(before)
    (tmp_path / "m/p0.png").unlink()  # none is called as an image
    assert listed(tmp_path, cells, masks=tmp_path / "m")[0] == found


def test_an_image_is_no_mask_and_a_cell_of_none_is_told(tmp_path) -> None:
    """By its name, by its own path, or by another; what lies elsewhere by its name stays."""
    kept.touch(tmp_path, [*IMAGES, "m/p0.png", "data/images/a/x.png", "data/images/b/x.png"])
    (tmp_path / "data/link.png").symlink_to("images/p2.png")
    cells = ["gone.png", "p2.png", "link.png", "x.png"]
    found, told = listed(tmp_path, cells, masks=tmp_path / "m")
    assert found == [["m/p0.png"], [], [], []]
    reasons = dict(told.left_out)
    for n, cell in enumerate(cells[:3]):
        assert reasons[f"labels.csv, mask of p{n}.png: {cell}"] == "its mask is no file"
    assert reasons["labels.csv, mask of p3.png: x.png"] == "it names several files"
    for cells, lost in (([f"masks/p{n}.png" for n in COUNT], 4), (["", "nan", "None", "NA"], 0)):
        found, told = listed(tmp_path, cells)
        assert found == [[]] * 4
        assert [why for _, why in told.left_out].count("its mask is no file") == lost


def test_a_cell_brings_back_nothing_that_is_excluded(tmp_path) -> None:
    kept.touch(tmp_path, [*IMAGES, *(f"data/masks/p{n}.png" for n in COUNT)])
    cells = [f"masks/p{n}.png" for n in COUNT]
    found, told = listed(tmp_path, cells, "data", exclude=("masks/*",))
    assert found == [[]] * 4 and not any("excluded by" in note for note in told.notes)
    reasons = [why for _, why in told.left_out]
    assert reasons.count("excluded") == reasons.count("its mask is no file") == 4


def test_a_mask_that_is_no_file_is_refused_if_strict(tmp_path) -> None:
    kept.write(tmp_path, IMAGES)
    rows = [(f"p{n}.png", "ab"[n % 2], "gone.png") for n in COUNT]
    reading = Reading(labels=kept.table(tmp_path / "l.csv", "file,label,mask", rows))
    with pytest.raises(ValueError, match=r"^strict: 4 rows .*: l\.csv, mask of p0\.png: gone"):
        pipeline.folder(tmp_path / "data/images", image_size=8, reading=reading, strict=True)


def test_masks_that_a_table_exchanges_are_read_anew(tmp_path) -> None:
    """The files are those that are prepared already: whose they are has changed."""
    kept.write(tmp_path, [*IMAGES, *(f"data/masks/{n}.png" for n in COUNT)])
    for n in COUNT:
        files.save(tmp_path / f"data/masks/{n}.png", files.outline(16, 16) * (n == 0))

    def masked(*numbers: int) -> list[bool]:
        rows = [(f"p{n}.png", "ab"[n % 2], f"masks/{m}.png") for n, m in enumerate(numbers)]
        table = kept.table(tmp_path / "data/labels.csv", "file,label,mask", rows)
        place, reading = tmp_path / "data/images", Reading(labels=table)
        masks = pipeline.folder(place, image_size=16, reading=reading).examples.masks
        return masks.any((1, 2)).tolist()

    assert masked(0, 1, 2, 3) == [True, False, False, False]
    assert masked(1, 0, 2, 3) == [False, True, False, False]
