"""`jaxsal phantom`: files that the other commands read as they are meant."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxsal import cli
from jaxsal.data import phantom, pipeline, volumes
from jaxsal.data.phantom import volume


def written(capsys, out: Path, *options: object) -> dict:
    given = ["phantom", "--out", out, "--json", *options]
    assert cli.main([str(each) for each in given]) == 0
    return json.loads(capsys.readouterr().out)


def test_slices_are_read_back_with_their_masks(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("JAXSAL_CACHE", str(tmp_path / "cache"))
    done = written(capsys, tmp_path / "heads", "--count", 8, "--image-size", 32, "--seed", 3)
    assert sum(done["classes"].values()) == 8 and done["masks"] == 6
    expected = phantom.dataset(3, 8, size=32)
    found = pipeline.folder(tmp_path / "heads", image_size=32)
    assert found.classes == tuple(sorted(expected.classes)) and not found.left_out
    for name, image, mask in zip(*_columns(expected), strict=True):
        row = found.examples.names.tolist().index(f"{name}.png")
        np.testing.assert_allclose(found.examples.images[row], image, atol=0.51 / 255)
        np.testing.assert_array_equal(found.examples.masks[row], mask)
    assert cli.main(["phantom", "--out", str(tmp_path / "heads")]) == 1
    assert "is not empty; expected a folder of its own" in capsys.readouterr().err


def test_volumes_lie_in_space_and_are_read_back(tmp_path, capsys) -> None:
    nibabel = pytest.importorskip("nibabel")
    written(capsys, tmp_path / "heads", "--count", 4, "--image-size", 32, "--volumes")
    expected = volume.dataset(0, 4, size=32)
    found = volumes.folder(tmp_path / "heads", image_size=32)
    for name, image, mask in zip(*_columns(expected), strict=True):
        row = found.examples.names.tolist().index(f"{name}.nii.gz")
        np.testing.assert_array_equal(found.examples.masks[row], mask)
        read = found.examples.images[row]
        inside = (read > 0) & (read < 1)  # the rest is clipped at percentiles
        line = np.polyfit(image[inside], read[inside], 1)
        np.testing.assert_allclose(read[inside], np.polyval(line, image[inside]), atol=1e-4)
    first = nibabel.load(next((tmp_path / "heads").rglob("*.nii.gz")))
    assert nibabel.aff2axcodes(first.affine) == ("R", "A", "S")
    edges = first.affine @ np.array([[-0.5, -0.5, 0, 1], [31.5, 31.5, 31, 1]]).T
    np.testing.assert_allclose(edges[:3].T, [[-112, -112, -12], [112, 112, 66]])


def _columns(dataset):
    examples = dataset.examples
    return examples.names.tolist(), examples.images, examples.masks
