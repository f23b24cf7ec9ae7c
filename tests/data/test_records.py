"""Files and arrays are given to a network as it takes them, or refused; nothing is lost unsaid."""

from pathlib import Path

import numpy as np
import pytest

from jaxsal.data import arrays, formats, pictures, scans
from jaxsal.data.intensity import Intensity
from jaxsal.data.wanted import Wanted
from tests.data import files

draw = np.random.default_rng(0)

KNOWN = Wanted(8, 1, (0.0, 1.0))
"""What a checkpoint knows."""


def all_of(path: Path, wanted: Wanted = KNOWN) -> tuple[np.ndarray, list[str]]:
    source = pictures.find(str(path), wanted=wanted)
    return np.stack([source[n]["image"] for n in range(len(source))]), source.notes()


def saved(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def test_sizes_that_differ_are_converted_or_refused(tmp_path) -> None:
    for number, shape in enumerate([(8, 8), (9, 12), (16, 16)]):
        files.save(tmp_path / f"{number}.png", files.grey(number, *shape))
    found, notes = all_of(tmp_path)
    assert found.shape == (3, 8, 8, 1)
    assert "1 image: resized to 8x8, antialiased" in notes
    assert "1 image: made square with zeros and resized to 8x8, antialiased" in notes
    with pytest.raises(ValueError, match=r"images: of 3 sizes, 8x8 \(1\).*--image-size N"):
        pictures.find(str(tmp_path))


def test_every_file_that_is_not_used_has_a_reason(tmp_path) -> None:
    files.save(tmp_path / "a.png", files.grey(0))
    for name in ("notes.txt", "b.svs", "c.heic", "more/d.mat", "e", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("something")
    source = pictures.find(str(tmp_path))
    assert dict(source.left) == {
        "notes.txt": "not an image",
        "e": "not an image",
        "b.svs": "openslide-python reads it",
        "c.heic": "pillow-heif reads it",
        "more/d.mat": "scipy.io or h5py reads it",
    }
    with pytest.raises(ValueError, match=r"images: no image file in .*b.svs; b.svs: openslide"):
        pictures.find(str(tmp_path / "b.svs"))


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch) -> None:
    for name in ("a.dcm", "b.nii.gz", "c.mha"):
        (tmp_path / name).write_bytes(b"")
    files.save(tmp_path / "d.png", files.grey(0))
    for name in ("pydicom", "nibabel", "SimpleITK"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    left = dict(pictures.find(str(tmp_path)).left)
    for name, package in (("a.dcm", "pydicom"), ("b.nii.gz", "nibabel"), ("c.mha", "SimpleITK")):
        assert left[name].startswith(f"{package} reads this kind and is not installed: pip install")


def test_no_kind_is_both_read_and_not() -> None:
    assert not set(formats.ENDINGS) & set(formats.OTHERS)


def test_an_array_of_another_size_is_resized_and_said(tmp_path) -> None:
    values = draw.uniform(size=(2, 12, 16)).astype(np.float32)
    found, notes = all_of(saved(tmp_path / "x.npy", values))
    assert found.shape == (2, 8, 8, 1)
    assert "2 images: made square with zeros and resized to 8x8, antialiased" in notes
    own = Wanted(size=8)  # --apply with --image-size
    for layout, shape in ((values, (8, 8, 1)), (values[:, None], (1, 8, 8))):
        assert all_of(saved(tmp_path / "x.npy", layout), own)[0].shape[1:] == shape
    as_given, notes = all_of(saved(tmp_path / "x.npy", values[..., None]), Wanted())
    np.testing.assert_array_equal(as_given[..., 0], values)
    assert notes == []


def test_channels_are_brought_to_those_of_the_network(tmp_path) -> None:
    values = draw.uniform(size=(2, 8, 8, 3)).astype(np.float32)
    grey, notes = all_of(saved(tmp_path / "x.npy", values))
    np.testing.assert_allclose(grey[..., 0], values @ [0.299, 0.587, 0.114], atol=1e-6)
    assert "2 images: colour made grey" in notes
    first, notes = all_of(saved(tmp_path / "x.npy", np.moveaxis(values, -1, 1)))
    np.testing.assert_array_equal(first, grey)
    assert "2 images: channels moved to the end" in notes
    three, notes = all_of(saved(tmp_path / "x.npy", values[..., 0]), KNOWN._replace(channels=3))
    np.testing.assert_array_equal(three, np.repeat(values[..., :1], 3, -1))
    with pytest.raises(pictures.BrokenImage, match="expected 1 or 3 channels"):
        all_of(saved(tmp_path / "x.npy", draw.uniform(size=(2, 8, 8, 5)).astype(np.float32)))


def test_values_out_of_the_networks_range_are_refused_unless_said_how(tmp_path) -> None:
    share = draw.uniform(size=(2, 8, 8)).astype(np.float32)
    share[:, 0, :2] = 0, 1
    path = saved(tmp_path / "x.npy", share * 255)
    message = r"values from 0 to 255, the network takes 0 to 1.*--intensity stretch"
    with pytest.raises(pictures.BrokenImage, match=message):
        all_of(path)
    found, _ = all_of(path, KNOWN._replace(intensity=Intensity(window=(127.5, 255))))
    np.testing.assert_allclose(found[..., 0], share, atol=1e-6)
    np.testing.assert_array_equal(all_of(path, Wanted())[0][..., 0], share * 255)
    with pytest.raises(pictures.BrokenImage, match="the network takes 0 to 1"):
        all_of(path, KNOWN._replace(intensity=Intensity("raw")))


def test_one_picture_is_the_same_in_every_depth_and_file(tmp_path) -> None:
    pytest.importorskip("nibabel")
    eight = files.grey(0, 8, 8)
    eight[0, :2] = 0, 255
    files.save(tmp_path / "8.png", eight)
    files.save(tmp_path / "16.png", eight.astype(np.uint16) * 257)
    files.save(tmp_path / "8.tif", eight)
    files.save(tmp_path / "16.tif", eight.astype(np.uint16) * 257)
    files.save(tmp_path / "float.tif", eight.astype(np.float32) / 255)
    saved(tmp_path / "8.npy", eight)
    saved(tmp_path / "16.npy", eight.astype(np.uint16) * 257)
    found, _ = all_of(tmp_path)
    assert len(found) == 7
    np.testing.assert_allclose(found, np.broadcast_to(found[:1], found.shape), atol=1e-6)
    np.testing.assert_allclose(found[0, ..., 0], eight / 255, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint8])
def test_integers_of_any_depth_are_read(dtype, tmp_path) -> None:
    values = draw.integers(0, 120, (4, 8, 8)).astype(dtype)
    found, notes = all_of(saved(tmp_path / "x.npy", values))
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    assert found.max() > 0.4 and len(notes) == 1 and notes[0].startswith("4 images: intensities")


def test_an_array_is_a_volume_or_its_slices(tmp_path) -> None:
    values = draw.uniform(size=(3, 4, 5)).astype(np.float32)
    path = saved(tmp_path / "x.npy", values)
    np.testing.assert_array_equal(all_of(path, Wanted(volumes=True))[0][0, ..., 0], values)
    last, _ = all_of(path, Wanted(slicing=scans.parse("2:1:")))
    np.testing.assert_array_equal(last[..., 0], values.transpose(2, 0, 1)[1:])
    source = pictures.find(str(path), wanted=Wanted(slicing=scans.parse("2:1:")))
    assert [source[n]["name"] for n in range(4)] == ["1", "2", "3", "4"]
    cubes, _ = all_of(path, Wanted(size=6, volumes=True))
    assert cubes.shape == (1, 6, 6, 6, 1)
    for wanted in ("axial", "0:9:"):
        with pytest.raises(ValueError, match="slices: "):
            pictures.find(str(path), wanted=Wanted(slicing=scans.parse(wanted)))


def test_an_archive_that_is_a_bomb_is_not_unpacked(tmp_path, monkeypatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((64, 64, 64), np.uint8))
    monkeypatch.setattr(arrays, "UNPACKED", 2**16)
    with pytest.raises(ValueError, match="MiB when unpacked"):
        pictures.find(str(tmp_path / "x.npz"))
    np.save(tmp_path / "y.npy", np.zeros((2, 2, 2), np.uint8))
    content = bytearray((tmp_path / "y.npy").read_bytes())
    at = content.index(b"(2, 2, 2)")
    content[at : at + 12] = b"(9999999,9,9"
    (tmp_path / "y.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"images: .*y.npy cannot be read"):
        pictures.find(str(tmp_path / "y.npy"))


def test_an_array_of_a_folder_that_is_broken_is_one_image(tmp_path) -> None:
    files.save(tmp_path / "a.png", files.grey(0))
    content = bytearray(saved(tmp_path / "b.npy", np.zeros((4, 4), np.uint8)).read_bytes())
    content[40] = 0x13  # NumPy reads the header as Python: no such letter
    (tmp_path / "b.npy").write_bytes(content)
    source = pictures.find(str(tmp_path), wanted=KNOWN)
    assert source[0]["image"].shape == (8, 8, 1)
    with pytest.raises(pictures.BrokenImage, match="broken or cut short"):
        source[1]


def test_a_pattern_and_its_own_results(tmp_path) -> None:
    files.save(tmp_path / "a.png", files.grey(0))
    files.save(tmp_path / "out/b.png", files.grey(1))
    for what in (str(tmp_path), f"{tmp_path}/**/*.png"):
        found = pictures.find(what, without=(tmp_path / "out",))
        assert [found.name(n) for n in range(len(found))] == ["a.png"]
        assert found.left == (("out/b.png", "in the place of the results"),)
    with pytest.raises(ValueError, match=r"^out: .*out' holds every image of .*, 1 image: "):
        pictures.find(f"{tmp_path}/out/*", without=(tmp_path / "out",))
