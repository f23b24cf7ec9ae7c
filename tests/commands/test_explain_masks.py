"""`jaxsal explain` outlines the masks that `jaxsal train` reads, and explains none of them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from jaxsal import cli
from jaxsal.commands.outlined import Outlined
from jaxsal.data import pictures
from jaxsal.data.wanted import Wanted
from jaxsal.viz.style import OUTLINE
from tests.commands.squares import here as here
from tests.data import files

nibabel = pytest.importorskip("nibabel")

AFFINE = np.array([[-2.0, 0, 0, 9], [0, 2, 0, 1], [0, 0, 3, -4], [0, 0, 0, 1]])


GIVEN = ("--apply", "tests.commands.squares:squares", "--params", "p.npz")
GIVEN += ("--method", "input_x_gradient")


def run(capsys, *options: object) -> tuple[dict, dict[str, bool]]:
    """What is told, and of each image whether its mask is outlined."""
    assert cli.main(["explain", *GIVEN, "--out", "out", *map(str, options), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    index = json.loads(Path("out/index.json").read_text())
    assert not told["not_drawn"]
    return told, {entry["source"]: entry["outlined"] for entry in index}


def yellow(picture: str) -> int:
    """How many pixels are of the outline's colour."""
    colours = np.asarray(Image.open(picture).convert("RGB"))
    return int((colours == ImageColor.getrgb(OUTLINE)).all(-1).sum())


def scan(name: str, shape: tuple[int, int, int] = (8, 7, 6)) -> np.ndarray:
    """A scan with a bright box, and the box."""
    values = np.random.default_rng(0).integers(0, 300, shape).astype(np.int16)
    values[1:4, 4:6, 2:4] = 900
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), name)
    return (values == 900).astype(np.uint8)


def test_masks_beside_pictures_and_elsewhere_are_outlined_and_the_others_counted(capsys) -> None:
    for n in range(3):
        files.save(Path(f"scans/a/{n}.png"), files.grey(n))
    files.save(Path("scans/a/0_mask.png"), files.outline())
    files.save(Path("scans/a/0_mask_1.png"), files.outline()[::-1])
    told, outlined = run(capsys, "--images", "scans")
    assert outlined == {"a/0.png": True, "a/1.png": False, "a/2.png": False}
    assert [yellow(f"out/_thumbnails/{n}.png") > 20 for n in range(3)] == [True, False, False]
    assert told["without_mask"] == 2 and told["explained"] == 3 and told["not_used"] == []
    for what, bare in (("scans/a/0.png", 0), ("scans/a/[01].png", 1), ("scans/a/2.png", None)):
        found = Outlined(pictures.find(what), None)
        assert found.without == bare and len(found.used) == (0 if bare is None else 2)
    files.save(Path("scans/drawn/a/1_seg.png"), files.outline())  # inside the images' folder
    files.save(Path("scans/drawn/a/2.bmp"), files.outline())
    arguments = ["explain", *GIVEN, "--images", "scans", "--masks", "scans/drawn", "--out"]
    assert cli.main([*arguments, "out"]) == 0
    assert "  2 masks outlined; 1 image without a mask\n" in capsys.readouterr().out
    index = json.loads(Path("out/index.json").read_text())
    assert [entry["outlined"] for entry in index] == [False, True, True]
    assert cli.main([*arguments, "m.zarr"]) == 1
    assert "masks: of no effect in this call; it is for pictures" in capsys.readouterr().err


def flipped(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def at_random(image: np.ndarray) -> np.ndarray:
    return image + np.random.default_rng().normal(size=image.shape)


def test_pixels_that_are_moved_are_drawn_as_they_are_explained_and_told(capsys) -> None:
    files.save(Path("scans/a/0.png"), files.grey(0))
    files.save(Path("scans/a/0_mask.png"), files.outline())
    own = "tests.commands.test_explain_masks"
    told, outlined = run(capsys, "--images", "scans", "--preprocess", f"{own}:flipped")
    assert told["warnings"] == [
        f"--preprocess {own}:flipped moves pixels, as marks on an image show: pictures show images "
        "as it leaves them, without masks."
    ]
    assert told["warnings"][0] in Path("out/index.html").read_text()
    assert outlined == {"a/0.png": False} and told["masks"] == 0
    moved = np.asarray(Image.open("out/_thumbnails/0.png"))
    files.save(Path("mirrored/a/0.png"), files.grey(0)[:, ::-1])
    told, _ = run(capsys, "--images", "mirrored")
    np.testing.assert_array_equal(moved, np.asarray(Image.open("out/_thumbnails/0.png")))
    told, outlined = run(capsys, "--images", "scans", "--preprocess", f"{own}:at_random")
    assert len(told["warnings"]) == 1 and outlined == {"a/0.png": True}
    assert told["warnings"][0].startswith(f"No mark on an image shows whether --preprocess {own}:")


def test_slices_of_a_scan_have_the_slices_of_its_mask(capsys) -> None:
    box = scan("case/c_t1.nii.gz")
    scan("case/d.nii.gz")
    turned = nibabel.Nifti1Image(box, AFFINE).as_reoriented(np.array([[2, 1], [0, -1], [1, 1]]))
    nibabel.save(turned, "case/c_seg.nii.gz")
    nibabel.save(nibabel.Nifti1Image(box[1:], AFFINE), "case/d_mask.nii.gz")
    told, outlined = run(capsys, "--images", "case", "--slices", "coronal")
    assert len(outlined) == told["explained"] == 14 and told["without_mask"] == 7
    page = Path("out/index.html").read_text()
    assert re.findall(r'data-name="([^"]*)"', page) == [*outlined]  # not by score
    assert outlined["c_t1.nii.gz/coronal-003"] and not outlined["d.nii.gz/coronal-003"]
    reason = "a mask that does not lie on its scan: 7x7x6 voxels, its scan has 8x7x6"
    assert {"source": "d_mask.nii.gz", "fault": reason} in told["not_used"]


def test_a_mask_of_two_scans_that_fits_one_is_used_and_told_of_the_other() -> None:
    box = scan("case/x_t1.nii.gz")
    scan("case/x_t2.nii.gz", (9, 7, 6))
    nibabel.save(nibabel.Nifti1Image(box, AFFINE), "case/x_seg.nii.gz")
    found = Outlined(pictures.find("case", wanted=Wanted(12, volumes=True)), None)
    assert found.without == 1 and [p.name for p in found.used] == ["x_seg.nii.gz"]
    assert not found.left and found.volume(0) is not None and found.volume(1) is None
    assert [note.partition(", as of ")[2] for note in found.notes] == [
        "x_t2.nii.gz: a mask that does not lie on its scan: 8x7x6 voxels, its scan has 9x7x6"
    ]


@pytest.mark.parametrize("size", [(), ("--image-size", 12)])
def test_a_volume_is_drawn_by_slices_through_its_mask(size, capsys, monkeypatch) -> None:
    from jaxsal.commands import drawing

    box = scan("c.nii.gz")
    scan("d.nii.gz")
    nibabel.save(nibabel.Nifti1Image(box, AFFINE), "c_seg.nii.gz")
    drawn = []
    own = drawing.figures.relevance_grid

    def grid(*args, **options):
        drawn.append((*args, options["rows"]))
        return own(*args, **options)

    monkeypatch.setattr(drawing.figures, "relevance_grid", grid)
    told, outlined = run(capsys, "--images", ".", "--volumes", "--targets", 0, *size)
    assert yellow("out/_thumbnails/0.png") > 20 and not yellow("out/_thumbnails/1.png")
    assert outlined == {"c.nii.gz": True, "d.nii.gz": False} and told["without_mask"] == 1
    (images, masks, maps, rows), (_, none, _, spread) = drawn
    assert rows == ["slice 2", "slice 3"] and none is None and len(spread) == 5
    assert images.shape == (2, 7, 8, 1)
    # x leads to the right: seen on the left, as stored (the affine leads left); y upwards.
    seen = box[:, ::-1, 2:4].transpose(2, 1, 0) > 0
    np.testing.assert_array_equal(masks, seen)
    np.testing.assert_array_equal(images[..., 0] > 0.9, seen)
    (map,) = maps.values()
    assert map.shape == (2, 7, 8) and map[seen].mean() > 3 * map[~seen].mean()
