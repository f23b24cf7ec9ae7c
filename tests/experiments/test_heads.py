"""Heads of the phantom as files are what the library generates, and are read with their masks."""

import numpy as np
import pytest

from jaxsal.data import volumes
from jaxsal.data.phantom import volume

nibabel = pytest.importorskip("nibabel")


def test_heads_are_written_with_their_masks(tmp_path) -> None:
    from experiments.heads import Settings, placed, write

    root = write(Settings(out=tmp_path / "heads", count=4, size=32))
    given = volume.dataset(0, 4, size=32)
    read = volumes.folder(root, image_size=32)
    assert read.classes == tuple(sorted(given.classes)) and not read.left_out and not read.skipped
    labels = [given.classes[label] for label in given.examples.labels]
    assert [name.split("/")[0] for name in read.examples.names] == sorted(labels)
    order = np.argsort(labels)
    np.testing.assert_array_equal(read.examples.masks, given.examples.masks[order])
    middle = placed(32) @ [15.5, 15.5, 0, 1]
    np.testing.assert_allclose(middle, [0, 0, volume.HEIGHTS[0], 1], atol=1e-9)
    scan = nibabel.load(next(root.rglob("*_seg.nii.gz")))
    np.testing.assert_allclose(scan.affine, placed(32), atol=1e-5)
    assert nibabel.aff2axcodes(scan.affine) == ("R", "A", "S")
