"""Training reads what explaining reads: every page and slice, with whose it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsal.data import images, pictures
from jaxsal.data.greys import greys
from jaxsal.data.wanted import Wanted
from tests.data import dicoms, files

nibabel = pytest.importorskip("nibabel")

VOLUME = np.random.default_rng(0).integers(0, 900, (3, 6, 6), np.int16)


def test_every_slice_is_what_explaining_sees(tmp_path) -> None:
    files.save(tmp_path / "a.png", files.grey(0, 6, 6))
    first, *rest = [Image.fromarray(files.grey(n, 6, 6)) for n in range(3)]
    first.save(tmp_path / "b.tif", save_all=True, append_images=rest)
    dicoms.series(tmp_path / "c", VOLUME, [0.0, 3.0, 6.0])
    nibabel.save(nibabel.Nifti1Image(VOLUME, np.eye(4)), tmp_path / "d.nii.gz")
    (tmp_path / "notes.txt").write_text("")
    source = pictures.find(str(tmp_path), wanted=Wanted(6))
    paths = [(path, str(path.relative_to(tmp_path))) for path in sorted(tmp_path.rglob("*.*"))]
    paths += [(path, f"c/{path.name}") for path in sorted((tmp_path / "c").iterdir())]
    slices, left, *_ = greys(paths, Wanted())
    assert left == [("notes.txt", "not an image")]
    assert len(slices) == 1 + 3 + 3 + 6
    found = {each.name: images.decode(each.read().png, 6) for each in slices}
    for number in range(len(source)):
        record = source[number]
        np.testing.assert_allclose(found[record["name"]], record["image"], atol=0.5 / 255 + 1e-6)
    patients = {each.file: each.patient for each in slices}
    assert patients["a.png"] == patients["d.nii.gz"] == "" and len(patients["c/IM003"]) == 12


def test_a_broken_one_says_so_when_it_is_read(tmp_path) -> None:
    (tmp_path / "a.nii").write_bytes(b"")
    (slice,), *_ = greys([(tmp_path / "a.nii", "a.nii")], Wanted())
    with pytest.raises(ValueError, match="broken"):
        slice.read()


def test_pages_that_would_be_lost_are_an_error(tmp_path: Path) -> None:
    first, second = [Image.fromarray(files.grey(n)) for n in range(2)]
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    with pytest.raises(ValueError, match="2 pages, expected a picture of one"):
        images.grey(tmp_path / "a.gif")
