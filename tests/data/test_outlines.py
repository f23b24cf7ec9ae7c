"""Masks of scans lie on the scan's own voxels, however they are stored; others are told."""

from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from jaxsal.commands.outlined import Outlined
from jaxsal.data import images, labelled, masks, pictures, pipeline, volumes
from jaxsal.data.listing import read_pair
from jaxsal.data.outlines import Outlines
from jaxsal.data.reading import Reading
from jaxsal.data.scans import parse
from jaxsal.data.wanted import Wanted
from tests.data import dicoms, files

nibabel = pytest.importorskip("nibabel")

SHAPE = (6, 5, 4)
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 0, 3, 1], [0, 2, 0, -4], [0, 0, 0, 1]])


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 900, SHAPE).astype(np.int16)


def lesion() -> np.ndarray:
    """Labels 1, 2 and 4 as of BraTS, without any symmetry."""
    found = np.zeros(SHAPE, np.uint8)
    found[1:3, 2:5, 1], found[4, 1, 2], found[5, 0, 0] = 1, 2, 4
    return found


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, codes: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, affine)
    if codes:
        orientations = nibabel.orientations
        now = orientations.io_orientation(affine)
        turned = orientations.ornt_transform(now, orientations.axcodes2ornt(codes))
        image = image.as_reoriented(turned)
    nibabel.save(image, path)
    return path


def outlines(root: Path, wanted: Wanted = pictures.ANYTHING) -> Outlines:
    source = pictures.find(str(root), wanted=wanted)
    return Outlines(source, source.masks)


@pytest.mark.parametrize("codes", ["", "RAS", "LPI", "SAR"])
@pytest.mark.parametrize("plane", ["axial", "coronal:1:", "2", None])
def test_a_mask_follows_its_scan_into_every_plane(plane, codes, tmp_path) -> None:
    """The lesion's voxels are the brightest: what is outlined is where the image is 1."""
    scan = np.where(lesion() > 0, 900, 0).astype(np.int16)
    write(tmp_path / "x.nii.gz", scan)
    write(tmp_path / "x_seg.nii.gz", lesion(), codes=codes)
    wanted = Wanted(slicing=parse(plane)) if plane else Wanted(volumes=True)
    found = outlines(tmp_path, wanted)
    assert not found.unused.left and [p.name for p in found.files(0)] == ["x_seg.nii.gz"]
    for number in range(len(found.source)):
        image = found.source[number]["image"][..., 0]
        np.testing.assert_array_equal(found.array(number), image > 0.5)
    assert any(found.array(number).any() for number in range(len(found.source)))


def test_masks_that_do_not_lie_on_their_scans_are_told(tmp_path) -> None:
    moved = AFFINE + np.outer([0, 0, 1, 0], [0, 0, 0, 5])
    for name, array, affine in (
        ("a", lesion(), AFFINE + 1e-6),
        ("b", lesion()[1:], AFFINE),
        ("c", lesion(), moved),
        ("d", lesion().astype(np.float32) * np.nan, AFFINE),
    ):
        write(tmp_path / f"{name}.nii", values())
        write(tmp_path / f"{name}_mask.nii.gz", array, affine)
    write(tmp_path / "e.nii", values())
    (tmp_path / "e_mask.nii").write_bytes(b"no")
    write(tmp_path / "f.nii", values())
    files.save(tmp_path / "f_mask.png", files.outline())
    found = outlines(tmp_path)
    beside = "a mask that does not lie on its scan: "
    told = {path.name: reason.removeprefix(beside) for path, reason in found.unused.left.items()}
    assert told.pop("e_mask.nii").startswith("a mask that cannot be read: ")
    assert told == {
        "b_mask.nii.gz": "5x5x4 voxels, its scan has 6x5x4",
        "c_mask.nii.gz": "by its affine up to 5 mm beside it",
        "f_mask.png": "a picture, its scan has 5 slices",
    }
    covered = {
        found.source.scans[found.source.row(n).scan].name
        for n in range(len(found.source))
        if found.files(n) and found.array(n).any()
    }
    assert covered == {"a.nii"}


def test_slices_that_are_files_have_masks_of_their_own(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 900, (3, 6, 4), np.int16)
    dicoms.series(tmp_path / "images/p", pixels, [6.0, 0.0, 3.0])
    names = [path.name for path in sorted((tmp_path / "images/p").iterdir())]
    outline = np.zeros((6, 4), bool)
    outline[1:3, 2:] = True
    files.save(tmp_path / "masks/p" / f"{names[0]}.png", outline)
    dicoms.write(tmp_path / "masks/p" / names[1], outline.astype(np.uint8)[::-1].copy())
    found = outlines(tmp_path)
    assert not found.unused.left
    drawn = {found.source.name(n).rpartition("/")[2]: found.array(n) for n in range(3)}
    np.testing.assert_array_equal(drawn[names[0]], outline)
    np.testing.assert_array_equal(drawn[names[1]], outline[::-1])
    assert not drawn[names[2]].any()
    whole = outlines(tmp_path, Wanted(volumes=True))
    assert whole.array(0).sum() == 2 * outline.sum()


def test_stacks_and_arrays_have_masks_too(tmp_path) -> None:
    pages = [Image.fromarray(files.grey(n, 6, 4)) for n in range(3)]
    inside = [Image.fromarray(np.full((6, 4), 255 * (n == 1), np.uint8)) for n in range(3)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    inside[0].save(tmp_path / "s_mask.tif", save_all=True, append_images=inside[1:])
    np.save(tmp_path / "t.npy", files.grey(0, 6, 4))
    np.save(tmp_path / "t_mask.npy", files.outline(6, 4))
    found = outlines(tmp_path)
    assert not found.unused.left
    assert [found.array(n).any() for n in range(3)] == [False, True, False]
    drawn = images.outline(found.encoded(3, (4, 6)))
    np.testing.assert_array_equal(drawn, files.outline(6, 4))


BRATS = [f"{c}/case_{n}/case_{n}_{m}.nii.gz" for c in "ab" for n in range(2) for m in ("t1", "t2")]


def _brats(root: Path) -> Path:
    for seed, name in enumerate(BRATS):
        case = name.rpartition("_")[0]
        write(root / name, values(seed))
        write(root / f"{case}_seg.nii.gz", lesion(), codes="RAS")
    return root


def _parallel(home: str, folder: str):
    def of(root: Path) -> Path:
        for seed, (label, n) in enumerate((c, n) for c in "ab" for n in range(2)):
            write(root / home / label / f"s{n}.nii.gz", values(seed))
            write(root / folder / label / f"s{n}.nii.gz", lesion())
        return root

    return of


@pytest.mark.parametrize(
    "layout",
    [
        _brats,
        _parallel("images", "masks"),
        _parallel("Images", "annotations"),
        _parallel("imagesTr", "labelsTr"),
    ],
)
def test_usual_layouts_are_read_with_their_masks(layout, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("JAXSAL_CACHE", str(tmp_path / "cache"))
    root = layout(tmp_path / "set")
    read = pipeline.folder(root, image_size=8, reading=Reading(slices="axial"))
    count = 8 if layout is _brats else 4
    assert read.classes == ("a", "b") and not read.left_out and not read.skipped
    assert len(read.examples.labels) == count * SHAPE[1]
    by_scan = read.examples.masks.reshape(count, SHAPE[1], -1).any(-1)
    np.testing.assert_array_equal(by_scan, [lesion().any((0, 2))] * count)


def test_the_masks_of_images_elsewhere_are_named_as_they_are() -> None:
    def of(images: str, found: str) -> dict[str, list[str]]:
        named = masks.of_names([*map(PurePath, images.split())], [*map(PurePath, found.split())])
        return {str(image): [str(mask) for mask in own] for image, own in named.items()}

    assert of("a/x.nii.gz b/x.nii.gz", "a/x_seg.nii.gz b/x.nii.gz") == {
        "a/x.nii.gz": ["a/x_seg.nii.gz"],
        "b/x.nii.gz": ["b/x.nii.gz"],
    }
    assert of("c1_t1.nii c1_t2.nii c10_t1.nii", "c1_seg.nii") == {
        "c1_t1.nii": ["c1_seg.nii"],
        "c1_t2.nii": ["c1_seg.nii"],
    }
    assert of("p_1.png p_2.png", "p_mask.png") == {}


def test_masks_of_several_volumes_are_those_of_their_times_or_one(tmp_path) -> None:
    once, both = lesion(), np.stack([lesion(), lesion()[::-1]], -1)
    write(tmp_path / "a.nii", np.stack([values(0), values(1)], -1))
    write(tmp_path / "a_seg.nii", both)
    write(tmp_path / "b.nii", np.stack([values(2), values(3)], -1))
    write(tmp_path / "b_seg.nii", once)
    write(tmp_path / "c.nii", values(4))
    write(tmp_path / "c_seg_1.nii", both)  # a lesion a volume
    write(tmp_path / "c_seg_2.nii", np.roll(once, 1, 1))
    found = outlines(tmp_path, Wanted(volumes=True))
    whole = [found.array(n).sum() for n in range(len(found.source))]
    merged = (both.any(-1) | np.roll(once > 0, 1, 1)).sum()
    count = (once > 0).sum()
    assert whole == [count, count, count, count, merged] and not found.unused.left
    assert (found.array(0) != found.array(1)).any()
    np.testing.assert_array_equal(found.array(2), found.array(3))


def test_a_masks_picture_is_of_its_images_shape_or_is_left_out(tmp_path) -> None:
    """Scaled ones lie on their images, another shape is told; the image counts as without one."""
    shapes = {"same": (16, 12), "half": (8, 6), "twice": (32, 24), "long": (16, 8), "odd": (5, 4)}
    for number, (name, shape) in enumerate(shapes.items()):
        files.save(tmp_path / f"{'ab'[number % 2]}/{name}.png", files.grey(number, 16, 12))
        files.save(tmp_path / f"{'ab'[number % 2]}/{name}_mask.png", np.ones(shape, bool))
    dicoms.write(tmp_path / "a/d.dcm", np.arange(192, dtype=np.int16).reshape(16, 12))
    files.save(tmp_path / "a/d_mask.png", np.ones((16, 16), bool))
    found = outlines(tmp_path)
    other = "a mask that does not lie on its image: {} pixels, its image has 12x16"
    reasons = {"long_mask.png": other.format("8x16"), "d_mask.png": other.format("16x16")}
    assert {path.name: reason for path, reason in found.unused.left.items()} == reasons
    read = pipeline.folder(tmp_path, image_size=16, cache=tmp_path.parent / "cache")
    masked = {
        str(n) for n, m in zip(read.examples.names, read.examples.masks, strict=True) if m.any()
    }
    assert masked == {"a/same.png", "b/half.png", "a/twice.png", "a/odd.png"}
    assert {name.rpartition("/")[2]: why for name, why in read.left_out} == reasons
    assert "2 images without a mask" in read.notes


def test_masks_without_a_pixel_are_known_once_they_are_read(tmp_path) -> None:
    write(tmp_path / "x.nii", values())
    write(tmp_path / "x_seg.nii", np.zeros(SHAPE, np.uint8))
    write(tmp_path / "y.nii", values())
    write(tmp_path / "y_seg.nii", lesion())
    for name, inside in (("p", False), ("q", True)):
        files.save(tmp_path / f"{name}.png", files.grey(0, 8, 8))
        files.save(tmp_path / f"{name}_mask.png", np.full((8, 8), inside))
    found = outlines(tmp_path, Wanted(8))
    assert not found.empty
    for number in range(len(found.source)):
        found.encoded(number, found.source.original(number).shape[1::-1])
    assert {path.name for path in found.empty} == {"x_seg.nii", "p_mask.png"}


def test_of_a_table_of_pairs_and_of_arrays_too(tmp_path) -> None:
    files.save(tmp_path / "x.png", files.grey(0, 16, 12))
    files.save(tmp_path / "m/0.png", np.ones((8, 6), bool))
    files.save(tmp_path / "m/1.png", np.ones((12, 16), bool))
    read = read_pair(tmp_path / "x.png", [tmp_path / "m/0.png"], "a")
    assert images.outline(read.mask).all()
    read = read_pair(tmp_path / "x.png", [tmp_path / "m/1.png"], "a")
    assert not images.outline(read.mask).any()
    assert "masks of another shape than the image left out" in read.remarks
    np.save(tmp_path / "x.npy", np.zeros((3, 16, 12), np.uint8))
    found = Outlined(pictures.find(str(tmp_path / "x.npy")), tmp_path / "m")
    assert (found.used, found.without) == ({tmp_path / "m/0.png"}, 2)
    assert [name for name, _ in found.left] == ["1.png"]


def test_a_mask_that_fits_one_of_its_images_is_used_and_the_other_told(tmp_path) -> None:
    for case, label in ((1, "a"), (2, "b")):
        write(tmp_path / f"{label}/c{case}_t1.nii", values(case))
        write(tmp_path / f"{label}/c{case}_t2.nii", values(case)[case - 1 :])
        write(tmp_path / f"{label}/c{case}_seg.nii", lesion())
    found = outlines(tmp_path, Wanted(8, volumes=True))
    assert [len(found.files(n)) for n in range(4)] == [1, 1, 1, 0] and not found.unused.left
    why = "a mask that does not lie on its scan: 6x5x4 voxels, its scan has 5x5x4"
    told = f"a mask that others share left out of 1 image, as of b/c2_t2.nii: {why}"
    assert found.unused.notes() == [told]
    read = volumes.folder(tmp_path, image_size=6)
    assert not read.left_out and read.examples.masks.any((1, 2, 3)).tolist() == [True] * 3 + [False]
    assert {told, "1 image without a mask"} <= {*read.notes}


def test_the_images_own_folder_is_none_of_masks(tmp_path) -> None:
    for label in "ab":
        files.save(tmp_path / label / "1.png", files.grey(0))
    within = tmp_path / "a" / ".."
    for read in (
        lambda: labelled.understood(tmp_path, Reading(masks=within)),
        lambda: Outlined(pictures.find(str(tmp_path)), within),
    ):
        with pytest.raises(ValueError, match="masks: expected another folder than the images'"):
            read()
