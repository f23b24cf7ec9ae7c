"""Volumes to train on: class folders of scans, and heads of the phantom."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.data import volumes
from jaxsal.data.augment import augment_volume
from jaxsal.data.phantom import volume
from tests.data import dicoms

nibabel = pytest.importorskip("nibabel")


def write(path: Path, seed: int, shape: tuple[int, int, int] = (6, 5, 4)) -> None:
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
    assert {*whose.values()} == {f"patient {n}" for n in range(1, 5)}
    by_patient = zip(found.patients.tolist(), found.folds.tolist(), strict=True)
    assert len({*by_patient}) == len({*found.patients.tolist()}) == 4
    assert [line.split(":")[0] for line in read.skipped] == ["b/broken.nii"]
    assert read.left_out == (("notes.txt", "not an image"),)
    with pytest.raises(ValueError, match=r"strict: 1 broken files: b/broken\.nii"):
        volumes.folder(tmp_path, image_size=8, strict=True)


def test_scans_without_classes_are_an_error(tmp_path) -> None:
    write(tmp_path / "a/1.nii", 0)
    with pytest.raises(ValueError, match=r"images: scans in the folders \['a'\]; expected two"):
        volumes.folder(tmp_path, image_size=8)
    write(tmp_path / "1.nii", 0)
    with pytest.raises(ValueError, match=r"\['1.nii'\] in none"):
        volumes.folder(tmp_path, image_size=8)


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
