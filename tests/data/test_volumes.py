"""Volumes to train on: class folders of scans, and heads of the phantom."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.data import folder, volumes
from jaxsal.data.augment import augment_volume
from jaxsal.data.phantom import volume
from jaxsal.data.reading import Reading
from jaxsal.data.splits import known_patients
from tests.data import collections, dicoms, files

nibabel = pytest.importorskip("nibabel")


def write(path: Path, seed: int, shape: tuple[int, ...] = (6, 5, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 900, shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def test_scans_in_class_folders_are_labelled_volumes(tmp_path) -> None:
    for seed, name in enumerate(["a/p1/t1.nii.gz", "a/p1/t2.nii.gz", "a/p2/t1.nii", "b/7.nii"]):
        write(tmp_path / name, seed)
    pixels = np.random.default_rng(9).integers(0, 900, (4, 6, 5), np.int16)
    dicoms.series(tmp_path / "b/ct", pixels, [0.0, 3.0, 6.0, 9.0])
    (tmp_path / "b/broken.nii").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    read = volumes.folder(tmp_path, image_size=8)
    found = read.examples
    assert found.images.shape == (5, 8, 8, 8, 1) and read.classes == ("a", "b")
    assert found.images.min() >= 0 and found.images.max() <= 1
    whose = dict(zip(found.names.tolist(), found.patients.tolist(), strict=True))
    assert whose["a/p1/t1.nii.gz"] == whose["a/p1/t2.nii.gz"]
    assert {*whose.values()} == {"", *(f"patient {n}" for n in range(1, 4))}
    assert whose["b/7.nii"] == "" and known_patients(found) is None
    by_patient = zip(found.patients.tolist(), found.folds.tolist(), strict=True)
    assert len({*by_patient}) == len({*found.patients.tolist()}) == 4
    assert [line.split(":")[0] for line in read.skipped] == ["b/broken.nii"]
    assert read.left_out == (("notes.txt", "no image (.txt)"),) and folder.UNKNOWN in read.notes
    with pytest.raises(ValueError, match=r"strict: 1 broken files: b/broken\.nii"):
        volumes.folder(tmp_path, image_size=8, strict=True)


def test_scans_of_unknown_patients_are_nobody_s_and_dealt_one_by_one(tmp_path) -> None:
    """Those of one file name in a class as well; the volumes of one scan are one's."""
    for label in "ab":
        for n in range(5):
            write(tmp_path / label / f"case{'vwxyz'[n]}" / "t1" / "scan.nii", 10 * ord(label) + n)
    write(tmp_path / "a/casev/times.nii", 1, (6, 5, 4, 2))
    read = volumes.folder(tmp_path, image_size=4, reading=Reading(group="none"))
    found = read.examples
    times = np.char.find(found.names, "times.nii") >= 0
    assert times.sum() == 2 and {*found.patients[times]} == {"patient 1"}
    assert {*found.patients[~times]} == {""} and folder.UNKNOWN in read.notes
    assert np.bincount(found.folds[~times & (found.labels == 1)])[1:].tolist() == [1] * 5
    assert len({*found.folds[times]}) == 1


def test_scans_without_classes_are_an_error(tmp_path) -> None:
    write(tmp_path / "a/1.nii", 0)
    write(tmp_path / "1.nii", 0)
    with pytest.raises(ValueError, match=r"in the class folders \['a'\], .* 1 in no class folder"):
        volumes.folder(tmp_path, image_size=8)
    (tmp_path / "b").mkdir()
    files.save(tmp_path / "b/1.png", files.grey(0))
    (tmp_path / "b/2.nii").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"scans of 1 classes can be read; \['b/2.nii: Val"):
        volumes.folder(tmp_path, image_size=8)
    with pytest.raises(ValueError, match="slices: whole scans are read"):
        volumes.folder(tmp_path, image_size=8, reading=Reading(slices="axial"))


def test_a_series_may_lie_in_its_class_s_folder_itself(tmp_path) -> None:
    pixels = np.random.default_rng(9).integers(0, 900, (4, 6, 5), np.int16)
    for n, label in enumerate("ab"):
        dicoms.series(tmp_path / label, pixels + n, [0.0, 3.0, 6.0, 9.0], PatientID=label)
    dicoms.write(tmp_path / "a/scout", pixels[0])
    read = volumes.folder(tmp_path, image_size=8)
    assert read.classes == ("a", "b") and read.examples.images.shape == (2, 8, 8, 8, 1)
    assert read.left_out == (("a/scout", "a picture, no volume"),)
    assert len({*read.examples.patients.tolist()}) == 2


def _layout(root: Path, names: str) -> Path:
    """Scans, and masks of their upper left back octant, 3x2x2 of 6x5x4 voxels."""
    for seed, name in enumerate(names.split()):
        if any(word in name for word in ("seg", "mask", "labels")):
            inside = np.zeros((6, 5, 4), np.uint8)
            inside[:3, :2, 2:] = 4
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(inside, np.eye(4)), root / name)
        else:
            write(root / name, seed)
    return root


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("a/c1/c1_t1.nii.gz a/c1/c1_seg.nii.gz b/c2/c2_t1.nii.gz b/c2/c2-seg.nii.gz", None),
        ("Training/a/1.nii Training/b/2.nii Testing/a/3.nii Testing/a/3_mask.nii", "train test"),
        ("images/a/1.nii images/b/2.nii masks/a/1.nii masks/b/2_mask.nii.gz", None),
        ("imagesTr/a/1_0000.nii imagesTr/b/2_0000.nii labelsTr/a/1.nii labelsTr/b/2.nii", None),
    ],
)
def test_usual_layouts_are_read_with_their_masks(names, parts, tmp_path) -> None:
    read = volumes.folder(_layout(tmp_path, names), image_size=6)
    assert read.classes == ("a", "b") and not read.left_out and not read.skipped
    masks = read.examples.masks
    with_mask = [name for name in names.split() if "seg" in name or "mask" in name]
    assert masks.any((1, 2, 3)).sum() == (2 if "labels" in names else len(with_mask))
    for mask in masks[masks.any((1, 2, 3))]:
        # 6x5x4 in the middle of a cube: nothing, then half of an odd axis's border, before it.
        np.testing.assert_array_equal(np.argwhere(mask)[[0, -1]], [[0, 0, 3], [2, 1, 4]])
        assert mask.sum() == 3 * 2 * 2
    assert (None if read.parts is None else {*read.parts.tolist()}) == (
        None if parts is None else {*parts.split()}
    )


def test_a_table_tells_classes_patients_and_colour_is_kept(tmp_path) -> None:
    for seed in range(4):
        write(tmp_path / f"set/{seed}.nii.gz", seed)
    rows = [(f"{seed}", "ab"[seed % 2], f"p{seed // 2}") for seed in range(4)]
    table = collections.table(tmp_path / "t.csv", "file,label,patient", rows)
    reading = Reading(labels=table, exclude=("3*",))
    read = volumes.folder(tmp_path / "set", image_size=6, reading=reading, channels=3)
    assert read.examples.images.shape == (3, 6, 6, 6, 3)
    assert read.examples.patients.tolist() == ["patient 1", "patient 1", "patient 2"]
    assert ("3.nii.gz", "excluded") in read.left_out


def test_a_varied_volume_is_the_volume_moved() -> None:
    values = np.zeros((16, 16, 16, 1), np.float32)
    values[3:6, 8:10, 8:11] = 0.5
    seen = set()
    for seed in range(8):
        found = np.asarray(augment_volume(jax.random.key(seed), jnp.asarray(values), shift=0.125))
        assert found.shape == values.shape and (found > 0).sum() == (values > 0).sum()
        seen.add(tuple(np.argwhere(found[..., 0] > 0)[0].tolist()))
    assert len(seen) > 4 and any(first > 7 for first, _, _ in seen)
    same = augment_volume(jax.random.key(0), jnp.asarray(values), shift=0.0, intensity=0.0)
    np.testing.assert_array_equal(np.sort(np.asarray(same)[3:13], 0), np.sort(values[3:13], 0))


def test_phantoms_are_heads_with_a_ball_for_a_tumour() -> None:
    found = volume.dataset(0, 4, size=32)
    examples = found.examples
    assert examples.images.shape == (4, 32, 32, 32, 1) and examples.masks.shape[1:] == (32,) * 3
    assert 0 <= examples.images.min() and examples.images.max() <= 1
    for label, mask in zip(examples.labels, examples.masks, strict=True):
        assert mask.any() == (label > 0)
        if label:
            areas = mask.sum((0, 1))
            inside = np.flatnonzero(areas)
            assert (np.diff(inside) == 1).all() and 1 < len(inside) < 32
            assert areas[inside[0]] <= areas.max() and areas[inside[-1]] <= areas.max()
