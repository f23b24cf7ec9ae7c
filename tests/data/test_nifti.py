"""NIfTI: slices as radiologists see them, and maps back on the file's own voxels."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from jaxsal.data import nifti, pictures, scans
from jaxsal.data.intensity import Intensity
from jaxsal.data.wanted import Wanted

nibabel = pytest.importorskip("nibabel")

RAW = Wanted(intensity=Intensity("raw"))

SHIPPED = Path(nibabel.__file__).parent / "tests/data"

NAMES = ("anatomical.nii", "example4d.nii.gz", "example_nifti2.nii.gz", "functional.nii")
NAMES = (*NAMES, "standard.nii.gz", "test.mgz", "tiny.mnc")

VOLUME = np.random.default_rng(0).integers(0, 900, (3, 4, 5), np.int16)


def images(path: Path, **wanted: object) -> np.ndarray:
    source = pictures.find(str(path), wanted=RAW._replace(**wanted))
    return np.stack([source[n]["image"] for n in range(len(source))])


@pytest.mark.parametrize("name", NAMES)
def test_nibabel_s_own_files_go_and_come(name, tmp_path) -> None:
    """Every voxel is in one slice, and the maps' file has the shape and affine of the source."""
    source = pictures.find(str(SHIPPED / name), wanted=RAW)
    scan, given = source.scans[0], nibabel.load(SHIPPED / name)
    values = scan.read(1).array
    voxels = np.asarray(given.dataobj, np.float32).reshape(*scan.shape, -1)
    np.testing.assert_array_equal(np.moveaxis(values, 0, 3), voxels)
    slices = np.stack([source[n]["image"][..., 0] for n in range(len(source))])
    np.testing.assert_array_equal(np.sort(slices, axis=None), np.sort(voxels, axis=None))
    (tmp_path / "m.nii").write_bytes(nifti.encoded(scan, values.astype(np.float32)))
    found = nibabel.load(tmp_path / "m.nii")
    assert found.shape == given.shape and found.get_data_dtype() == np.float32
    np.testing.assert_allclose(found.affine, given.affine, atol=1e-5)
    np.testing.assert_array_equal(found.dataobj, np.asarray(given.dataobj, np.float32))
    for form in ("get_qform", "get_sform") if isinstance(given, nibabel.Nifti1Pair) else ():
        (one, code), (other, same) = (getattr(i.header, form)(coded=True) for i in (found, given))
        assert code == same
        np.testing.assert_array_equal(one, other)


def test_planes_are_the_patient_s_however_the_file_lies(tmp_path) -> None:
    """The same head stored in several orientations gives the same pictures and volumes."""
    first = nibabel.Nifti1Image(VOLUME, np.diag([1.0, 2, 3, 1]))  # right, anterior, superior
    expected = {
        "axial": VOLUME[::-1, ::-1].transpose(2, 1, 0),
        "coronal": VOLUME[::-1, :, ::-1].transpose(1, 2, 0),
        "sagittal": VOLUME[:, ::-1, ::-1].transpose(0, 2, 1),
    }
    for codes in ("RAS", "LPS", "SRA", "PIL"):
        ornt = nibabel.orientations.axcodes2ornt(codes)
        path = tmp_path / f"{codes}.nii"
        nibabel.save(
            first.as_reoriented(
                nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), ornt)
            ),
            path,
        )
        for plane, slices in expected.items():
            np.testing.assert_array_equal(images(path, slicing=scans.parse(plane))[..., 0], slices)
        np.testing.assert_array_equal(images(path)[..., 0], expected["axial"])
        np.testing.assert_array_equal(images(path, volumes=True)[0, ..., 0], VOLUME)


def test_slices_are_chosen_and_named(tmp_path) -> None:
    nibabel.save(nibabel.Nifti1Image(VOLUME, np.eye(4)), tmp_path / "a.nii.gz")
    wanted = RAW._replace(slicing=scans.parse("coronal:1::2"))
    source = pictures.find(str(tmp_path / "a.nii.gz"), wanted=wanted)
    assert [source.name(n) for n in range(2)] == ["a.nii.gz/coronal-001", "a.nii.gz/coronal-003"]
    assert len(source) == 2
    stored = images(tmp_path / "a.nii.gz", slicing=scans.parse("2:-1:"))
    np.testing.assert_array_equal(stored[0, ..., 0], VOLUME[:, :, -1])
    with pytest.raises(ValueError, match="none of its slices is asked for"):
        pictures.find(str(tmp_path), wanted=RAW._replace(slicing=scans.parse("axial:7:")))


@pytest.mark.parametrize("text", ["axia", "axial:a", "axial:1:2:3:4", "3", "0:::-1", "axial:1:2:0"])
def test_what_are_no_slices(text) -> None:
    with pytest.raises(ValueError, match="slices: expected"):
        scans.parse(text)


def test_no_identity_of_a_header_comes_back(tmp_path) -> None:
    image = nibabel.Nifti1Image(VOLUME, np.eye(4))
    for field in ("descrip", "db_name", "aux_file", "intent_name"):
        image.header[field] = b"Doe^Jane"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"Doe^Jane"))
    nibabel.save(image, tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes().count(b"Doe^Jane") == 5
    scan = pictures.find(str(tmp_path / "a.nii")).scans[0]
    assert b"Doe" not in nifti.encoded(scan, np.zeros((1, *VOLUME.shape), np.float32))


def test_colours_holes_and_complex_numbers(tmp_path) -> None:
    colour = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["G"] = 100
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "c.nii")
    found = images(tmp_path / "c.nii", intensity=Intensity(), channels=3)
    np.testing.assert_allclose(found[0], np.full((2, 2, 3), [0, 100 / 255, 0]), atol=1e-6)
    holes = VOLUME.astype(np.float32)
    holes[0] = np.nan
    nibabel.save(nibabel.Nifti1Image(holes, np.eye(4)), tmp_path / "h.nii")
    source = pictures.find(str(tmp_path / "h.nii"))
    assert np.isfinite(source[0]["image"]).all() and source[0]["image"].max() > 0.5
    assert "1 image: pixels that are no finite numbers taken as the least" in source.notes()
    nibabel.save(nibabel.Nifti1Image(holes.astype(np.complex64), np.eye(4)), tmp_path / "i.nii")
    with pytest.raises(pictures.BrokenImage, match="complex numbers"):
        pictures.find(str(tmp_path / "i.nii"))[0]


def broken(content: bytes, kind: str) -> bytes:
    """A file of which a part is wrong."""
    changed = bytearray(content)
    if kind == "cut in the header":
        return content[:200]
    if kind == "cut in the voxels":
        return content[:-9]
    if kind == "huge":
        changed[42:48] = np.array([32767] * 3, "<i2").tobytes()
    if kind == "far away":
        changed[108:112] = np.float32(1e12).tobytes()
    if kind == "nowhere":
        changed[280:284] = np.float32(np.nan).tobytes()
    return bytes(changed)


BROKEN = {
    "cut in the header": "broken or cut short",
    "cut in the voxels": "broken or cut short",
    "huge": "voxels, expected 1 to 2.29",
    "far away": "its first voxel at byte 1e.12",
    "nowhere": "its affine is not finite",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_broken_files_are_named_with_a_reason(kind, ending, tmp_path) -> None:
    nibabel.save(nibabel.Nifti1Image(VOLUME, np.diag([2.0, 2, 2, 1])), tmp_path / "good.nii")
    content = broken((tmp_path / "good.nii").read_bytes(), kind)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(content) if ending == "nii.gz" else content)
    source = pictures.find(str(tmp_path), wanted=RAW)
    assert [scan.name for scan in source.scans] == [path.name, "good.nii"]
    with pytest.raises(pictures.BrokenImage, match=BROKEN[kind]) as stopped:
        source[0]
    assert stopped.value.source_name.startswith(path.name)
    assert source[len(source) - 1]["image"].shape == (4, 3, 1)
