"""What runs have written is not read as images, and all else is."""

import json

import pytest

from jaxsal.data import folder, pictures
from jaxsal.data.reading import Reading
from jaxsal.data.written import WRITTEN, written
from tests.data import collections as kept
from tests.data import files

ENTRY = {"source": "a.png", "number": 0, "status": "explained", "file": "yes/own.png"}

RECORDS = {
    "model.json": {"classes": [], "fields": {}, "image_size": 8},
    "metrics.json": {"accuracy": 1, "confusion": [], "classes": []},
    "index.json": [ENTRY],
    "zarr.json": {"attributes": {"jaxsal": {}}},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_folder_that_a_run_wrote_into_is_its_own(name, tmp_path) -> None:
    own = [f"runs/net/{each}" for each in (name, "figures/roc.png", "a.png", "more/deep/b.png")]
    others = ["runs/a.png", "figures/c.png", "yes/own.png", "net/d.png"]
    kept.touch(tmp_path, [*own, *others])
    paths = [tmp_path / each for each in (*own, *others)]
    assert written(tmp_path, paths) == set()
    (tmp_path / f"runs/net/{name}").write_text(json.dumps(RECORDS[name]))
    assert written(tmp_path, paths) == {tmp_path / each for each in own}


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("model.json", {"figures/c.png", "maps/e.png"}),
        ("metrics.json", {"figures/c.png", "maps/e.png"}),
        ("index.json", {"yes/own.png", "_thumbnails/0.png", "contact_sheet.png"}),
    ],
)
def test_of_the_directory_itself_it_is_what_the_run_calls_so(name, own, tmp_path) -> None:
    """As where an earlier version was let to write among the images."""
    others = ("yes/a.png", "figures.png", "yes/own.png", "yes/figures/f.png")
    names = {*others, "figures/c.png", "maps/e.png", "_thumbnails/0.png", "contact_sheet.png"}
    kept.touch(tmp_path, [*names])
    (tmp_path / name).write_text(json.dumps(RECORDS[name]))
    assert written(tmp_path, [tmp_path / each for each in names]) == {tmp_path / n for n in own}


def test_maps_of_scans_are_those_that_their_record_lists(tmp_path) -> None:
    """And the folder of those, where maps of an earlier run may lie."""
    own = ["a/m.NII.GZ", "a/m/x.nii.gz", "a/m/deep/y.nii.gz", "a/m/earlier.nii.gz"]
    others = ["a/m.nii", "a/n.nii", "b/m.nii.gz", "a/one/z.nii"]
    kept.touch(tmp_path, [*own, *others])
    for name, record in {
        "m": {"files": ["m.NII.GZ", "m/x.nii.gz"], "images": []},
        "n": {"EchoTime": 2, "files": ["n.nii"]},
        "one": {"files": ["one.nii"], "images": []},
    }.items():
        (tmp_path / f"a/{name}.json").write_text(json.dumps(record))
    found = written(tmp_path, [tmp_path / each for each in (*own, *others)])
    assert found == {tmp_path / each for each in own}


def test_results_are_no_class_no_image_and_no_mask_and_are_told(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(kept.YES_NO):
        files.save(tmp_path / name, files.grey(number, 8, 8))
    run = ["run/model.json", "run/figures/roc.png", "run/figures/yes0.jpg"]
    kept.touch(tmp_path, run)
    (tmp_path / "run/model.json").write_text(json.dumps(RECORDS["model.json"]))
    found = folder.listing(tmp_path)
    assert found.classes == ("no", "yes")
    assert dict(found.left_out) == dict.fromkeys(run, WRITTEN)
    told = tuple((name, WRITTEN) for name in run[1:])
    for what, left in ((".", told), ("**/*.jpg", told[1:]), (str(tmp_path), told)):
        source = pictures.find(what)
        assert len(source) == 10 and source.left == left
    assert len(pictures.find("run/figures/roc.png")) == 1  # named by itself
    with pytest.raises(ValueError, match=f"images: no image file in run; figures.*: {WRITTEN}"):
        pictures.find("run")
    kept.touch(tmp_path, ["masks/yes0.png"])
    (tmp_path / "run").rename(tmp_path / "masks/run")
    masked = folder.listing(tmp_path, Reading(masks=tmp_path / "masks"))
    assert [own for item in masked.items if (own := kept.masks(item))] == [["yes0.png"]]
