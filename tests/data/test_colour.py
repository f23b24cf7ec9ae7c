"""Images are read in colour where they are in colour, unless it is said otherwise."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxsal.data import colour, pictures, pipeline
from jaxsal.data.wanted import Wanted
from tests.data import files

RED = np.zeros((12, 12, 3), np.uint8) + np.array([200, 30, 10], np.uint8)


def _write(root, coloured=4, grey=4):
    for n in range(coloured):
        files.save(root / "abc"[n % 2] / f"c{n}.png", np.roll(RED, n, axis=-1) // (1 + n // 3))
    for n in range(grey):
        pixels = files.grey(n)
        files.save(root / "abc"[n % 2] / f"g{n}.jpg", np.stack([pixels] * 3, -1))
    return root


def test_what_is_in_colour_is_told_by_pixels_not_by_the_file(tmp_path):
    _write(tmp_path)
    assert colour.channels(sorted(tmp_path.rglob("g*"))) == 1  # RGB files without a colour
    assert colour.channels(sorted(tmp_path.rglob("c*"))) == 3
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert colour.channels([tmp_path / "broken.png"]) == 1


@pytest.mark.parametrize(("channels", "expected"), [(None, 3), (1, 1), (3, 3)])
def test_a_set_is_read_as_it_is_or_as_it_is_said(tmp_path, channels, expected):
    found = pipeline.folder(_write(tmp_path), image_size=12, channels=channels)
    assert found.examples.images.shape == (8, 12, 12, expected)
    assert ("images read in colour" in found.notes) == (expected == 3)
    if expected == 3:
        row = found.examples.names.tolist().index("a/c0.png")
        np.testing.assert_allclose(255 * found.examples.images[row], RED, atol=1)
        grey = found.examples.images[found.examples.names.tolist().index("a/g0.jpg")]
        np.testing.assert_allclose(np.ptp(grey, axis=-1), 0, atol=4 / 255)


def test_a_grey_set_stays_grey(tmp_path):
    found = pipeline.folder(_write(tmp_path, coloured=1), image_size=12, channels=None)
    assert found.examples.images.shape[-1] == 1


def test_transparency_lies_on_black(tmp_path):
    alpha = np.full((12, 12), 128, np.uint8)
    path = files.save(tmp_path / "a.png", Image.fromarray(np.dstack([RED, alpha])))
    read = np.asarray(Image.open(io.BytesIO(colour.png(path).png)))
    np.testing.assert_allclose(read, RED * (128 / 255), atol=1.01)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "grey"])
def test_what_is_trained_on_is_what_is_explained(mode, tmp_path):
    """Pictures that no value of reaches a tenth of the full scale are stretched in both."""
    for n in range(4):
        pixels = np.random.default_rng(n).integers(0, 20, (12, 12, 3)).astype(np.uint8)
        image = Image.fromarray(pixels[..., 0] if mode == "grey" else pixels)
        image = image.quantize() if mode == "P" else image.convert("L" if mode == "grey" else mode)
        files.save(tmp_path / "ab"[n % 2] / f"{n}.{'tif' if mode == 'CMYK' else 'png'}", image)
    trained = pipeline.folder(tmp_path, image_size=12, channels=3)
    explained = pictures.find(str(tmp_path), wanted=Wanted(12, 3))
    for row, image in zip(trained.examples.images, explained, strict=True):
        assert (row.min(), row.max()) == (0, 1)
        np.testing.assert_allclose(row, image["image"], atol=0.51 / 255)


def test_scans_and_pages_are_looked_at_too(tmp_path):
    pages = [Image.fromarray(np.roll(RED, n, axis=-1)) for n in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert colour.channels([tmp_path / "a.tif"]) == 3
    nibabel = pytest.importorskip("nibabel")
    rgb = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    voxels = np.array([(200, 30, 10)] * 24, rgb).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    assert colour.channels([tmp_path / "a.nii.gz"]) == 3
    grey = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    nibabel.save(grey, tmp_path / "b.nii")
    assert colour.channels([tmp_path / "b.nii"]) == 1
    assert colour.channels([tmp_path / "b.nii"] * 2 + [tmp_path / "a.tif"]) == 1
    assert colour.channels([tmp_path / "b.nii"] + [tmp_path / "a.tif"] * 2) == 3


def test_a_folder_of_coloured_dicom_files_is_read_in_colour(tmp_path):
    dicoms = pytest.importorskip("tests.data.dicoms")
    for n in range(4):
        dicoms.write(tmp_path / "ab"[n % 2] / f"{n}.dcm", np.roll(RED, n // 2, axis=-1))
    found = pipeline.folder(tmp_path, image_size=12, channels=None)
    assert found.examples.images.shape == (4, 12, 12, 3)
    np.testing.assert_allclose(255 * found.examples.images[0], RED, atol=1)
