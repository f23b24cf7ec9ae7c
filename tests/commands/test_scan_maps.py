"""`jaxsal explain` of scans: maps lie on the scan, and say nothing of whose it is."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxsal import cli
from tests.commands.squares import here as here
from tests.data import dicoms
from tests.data.dicoms import pydicom

nibabel = pytest.importorskip("nibabel")

SHIPPED = Path(nibabel.__file__).parent / "tests/data"

METHOD = "input_x_gradient"


def run(capsys, images: object, out: str, *options: object, method: str = METHOD) -> dict:
    model = ("--apply", "tests.commands.squares:squares", "--params", "p.npz")
    given = ("--images", images, "--out", out, "--method", method, *options, "--json")
    assert cli.main(["explain", *model, *map(str, given)]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    return json.loads(out)


def failed(capsys, images: object, out: str, *options: object) -> str:
    model = ("--apply", "tests.commands.squares:squares", "--params", "p.npz")
    given = ("--images", images, "--out", out, "--method", METHOD, *options)
    assert cli.main(["explain", *model, *map(str, given)]) == 1
    return capsys.readouterr().err.strip()


def written() -> set[str]:
    return {p.as_posix() for p in Path().rglob("*") if p.is_file()} - {"p.npz"}


def brightest(image: object) -> tuple[np.ndarray, tuple[int, ...]]:
    """Where the largest value lies, in the world and in the array."""
    values = np.asarray(image.dataobj, np.float32)
    at = np.unravel_index(np.nanargmax(values), values.shape)
    return image.affine @ [*at[:3], 1], at


@pytest.mark.parametrize("options", [(), ("--slices", "coronal"), ("--volumes",)])
@pytest.mark.parametrize("codes", ["RAS", "LIP"])
def test_the_largest_value_lies_where_the_scan_is_brightest(options, codes, capsys) -> None:
    """Of a scan that lies obliquely, stored in two orders, in every plane and as a volume."""
    values = np.random.default_rng(0).integers(0, 100, (8, 7, 6)).astype(np.int16)
    values[5, 2, 4] = 900
    affine = np.array([[1.9, 0.3, 0, -40], [-0.4, 2, 0.1, 7], [0, 0, 3, 12], [0, 0, 0, 1]])
    given = nibabel.Nifti1Image(values, affine)
    ornt = nibabel.orientations.axcodes2ornt(codes)
    given = given.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), ornt)
    )
    nibabel.save(given, "scan.nii.gz")
    reading = ("--window", 450, 900)
    done = run(capsys, "scan.nii.gz", "maps.nii.gz", *options, *reading, "--targets", 0)
    found = nibabel.load("maps.nii.gz")
    assert done["complete"] and found.shape == given.shape
    np.testing.assert_allclose(found.affine, given.affine, atol=1e-6)
    expected = 2 * np.square(np.asarray(given.dataobj) / 900)
    np.testing.assert_allclose(np.asarray(found.dataobj), expected, atol=1e-5)
    assert brightest(found)[1] == brightest(given)[1]
    np.testing.assert_allclose(brightest(found)[0], [-30 + 0.1, 9.4, 24, 1], atol=1e-5)
    assert written() == {"scan.nii.gz", "maps.nii.gz", "maps.json"}


@pytest.mark.parametrize("name", ["anatomical.nii", "functional.nii", "example_nifti2.nii.gz"])
def test_nibabel_s_own_files_are_explained(name, capsys) -> None:
    done = run(capsys, SHIPPED / name, "maps.nii.gz", "--targets", 0)
    found, given = nibabel.load("maps.nii.gz"), nibabel.load(SHIPPED / name)
    assert not done["skipped"] and found.shape == given.shape
    np.testing.assert_allclose(found.affine, given.affine, atol=1e-5)
    seen = np.asarray(found.dataobj)
    assert np.isfinite(seen).all()
    values = np.asarray(given.dataobj, np.float32)
    assert values.ravel()[seen.argmax()] >= np.percentile(values, 99.4)


def test_of_another_size_the_maps_come_back_to_the_voxels(capsys) -> None:
    values = np.zeros((20, 12, 3), np.int16)
    values[12:15, 3:6, 1] = 500
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2, 5, 1])), "scan.nii")
    done = run(
        capsys, "scan.nii", "maps.nii", "--image-size", 40, "--targets", 0, "--window", 250, 500
    )
    found = np.asarray(nibabel.load("maps.nii").dataobj)
    assert found.shape == values.shape
    assert "3 images: made square with zeros and resized to 40x40, antialiased" in done["notes"]
    at = np.unravel_index(found.argmax(), found.shape)
    assert values[at] == 500 and found[values == 0].max() < found.max()


def channels_first(image: np.ndarray) -> np.ndarray:
    return np.moveaxis(image, -1, 0)


def cropped(image: np.ndarray) -> np.ndarray:
    return image[1:-1, 1:-1]


@pytest.mark.parametrize("options", [("--slices", "sagittal"), ("--volumes",), ()])
@pytest.mark.parametrize("first", [True, False])
def test_made_another_size_and_turned_a_map_has_its_largest_value_where_it_was(
    options, first, capsys
) -> None:
    """Padded to a square or a cube, resized, perhaps channels first: one place in the world."""
    values = np.zeros((16, 12, 20), np.int16)
    values[4:7, 3:6, 13:16] = 300
    values[5, 4, 14] = 900
    affine = np.array([[0, 2.0, 0, -40], [-1.5, 0, 0.2, 7], [0, 0, 3, 12], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(values, affine), "scan.nii.gz")
    given = ("--image-size", 24, "--window", 450, 900, "--targets", 0)
    turned = ("--preprocess", "tests.commands.test_scan_maps:channels_first") if first else ()
    run(capsys, "scan.nii.gz", "maps.nii.gz", *options, *given, *turned)
    found = nibabel.load("maps.nii.gz")
    assert found.shape == values.shape
    place, at = brightest(found)
    assert at == (5, 4, 14)
    np.testing.assert_allclose(place[:3], affine[:3] @ [5, 4, 14, 1], atol=1e-4)


def test_maps_of_another_field_of_view_are_not_laid_on_a_scan(capsys) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 8, 4), np.int16), np.eye(4)), "a.nii")
    given = ("--preprocess", "tests.commands.test_scan_maps:cropped")
    told = failed(capsys, "a.nii", "m.nii", *given)
    assert "out: --preprocess makes images 6x6x1 of those read, 8x8x1" in told
    assert written() == {"a.nii"}


def flipped(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def test_maps_of_pixels_that_are_moved_are_not_laid_on_a_scan(capsys) -> None:
    values = np.random.default_rng(0).integers(0, 900, (16, 16, 4)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), "a.nii")
    flip = ("--preprocess", "tests.commands.test_scan_maps:flipped")
    told = failed(capsys, "a.nii", "m.nii", *flip)
    assert f"out: {' '.join(flip)} moves pixels, as marks on an image show" in told
    assert written() == {"a.nii"}
    assert not run(capsys, "a.nii", "m.zarr", *flip)["warnings"]


def test_what_is_not_explained_is_no_number(capsys) -> None:
    run(capsys, SHIPPED / "anatomical.nii", "maps.nii", "--slices", "axial:3:5")
    found = np.asarray(nibabel.load("maps.nii").dataobj)
    assert np.isfinite(found[..., 3:5]).all() and np.isnan(found[..., 5:]).all()
    about = json.loads(Path("maps.json").read_text())
    assert [entry["source"] for entry in about["images"]] == [
        "anatomical.nii/axial-003",
        "anatomical.nii/axial-004",
    ]
    assert about["files"] == ["maps.nii"] and len(about["images"][0]["logits"]) == 2


def test_several_scans_methods_and_classes_are_a_folder(capsys) -> None:
    for name in ("a.nii", "more/a.nii.gz"):
        Path(name).parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 2), np.int16), np.eye(4)), name)
    Path("note.txt").write_text("")
    done = run(capsys, ".", "maps.nii.gz", "--window", 0, 2)
    assert done["out"] == "maps" and done["explained"] == 4
    assert {each["source"] for each in done["not_used"]} == {"note.txt", "p.npz"}
    assert {"maps/a.nii.gz", "maps/more/a.nii.gz", "maps.json"} <= written()
    again = run(capsys, ".", "maps.nii.gz", "--window", 0, 2)  # its own maps are no scans
    assert again["explained"] == 4
    run(capsys, "a.nii", "b.nii", "--targets", "all", "--window", 0, 2)
    assert {"b/input_x_gradient-0.nii", "b/input_x_gradient-1.nii"} <= written()


def test_a_dicom_series_becomes_a_nifti_that_lies_on_it(capsys) -> None:
    volume = np.random.default_rng(0).integers(0, 90, (4, 6, 5), np.int16)
    volume[2, 1, 3] = 900
    dicoms.series(
        Path("scans"), volume, [9.0, 0.0, 3.0, 6.0]
    )  # the third file is second from below
    done = run(capsys, "scans", "maps.nii.gz", "--targets", 0)
    assert done["explained"] == 4
    found = nibabel.load("maps.nii.gz")
    assert found.shape == (5, 6, 4)
    place, at = brightest(found)
    # Column 3 of 1 mm, row 1 of 2 mm, from 10 mm right and 20 mm anterior.
    assert at == (3, 1, 1)
    np.testing.assert_allclose(place, [10 - 3, 20 - 2, 3, 1], atol=1e-5)


@pytest.mark.parametrize("out", ["maps.nii", "maps.zarr", "pictures"])
def test_nothing_of_a_patient_s_identity_reaches_an_output(out, capsys) -> None:
    volume = np.random.default_rng(0).integers(0, 90, (2, 4, 4), np.int16)
    dicoms.series(Path("scans"), volume, [0.0, 3.0])
    content = Path("scans/IM000").read_bytes()
    broken = content.replace(b"PatientID", b"")[: len(content) // 2]
    if out != "maps.nii":
        Path("scans/broken.dcm").write_bytes(broken)
    done = run(capsys, "scans", out, "--targets", 0)
    assert done["explained"] == 2
    told = [json.dumps(done).encode()]
    told += [p.read_bytes() for p in Path().rglob("*") if p.is_file() and p.parts[0] != "scans"]
    for text in (dicoms.NUMBER, "Doe", "Jane", "1.2.9"):
        assert not any(text.encode() in each for each in told)
    if out == "maps.nii":
        entries = json.loads(Path("maps.json").read_text())["images"]
        assert {entry["patient"] for entry in entries} == {"patient 1"}


def test_pydicom_s_own_files_are_explained(capsys) -> None:
    shipped = Path(pydicom.data.get_testdata_file("CT_small.dcm")).parent
    run(capsys, shipped / "CT_small.dcm", "ct.nii.gz", "--targets", 0)
    found = nibabel.load("ct.nii.gz")
    given = pydicom.dcmread(shipped / "CT_small.dcm")
    assert found.shape == (128, 128, 1)
    first = found.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(first[:3] * [-1, -1, 1], given.ImagePositionPatient, atol=1e-4)
    done = run(capsys, shipped / "dicomdirtests", "all.zarr", "--image-size", 16)
    assert done["explained"] == 31 and done["skipped"] == []
    assert {each["fault"][:27] for each in done["not_used"]} == {
        "a DICOM file without pixels",
        "not an image",
    }


def test_scans_sidecars_and_maps_of_others_are_not_replaced(capsys) -> None:
    """As of a BIDS set, where each scan has a JSON of its name."""
    Path("other").mkdir()
    for name in ("sub.nii.gz", "other/x.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 2), np.int16), np.eye(4)), name)
    Path("sub.json").write_text(json.dumps({"EchoTime": 0.002, "files": ["sub.nii.gz"]}))
    before = {name: Path(name).read_bytes() for name in written()}
    for out, message in (
        ("sub.nii.gz", "out: sub.json is there, no record of a run's maps; expected another name"),
        ("sub.nii", "out: sub.json is there, no record of a run's maps; expected another name"),
        ("other.nii", "out: other/x.nii.gz is there and has no other.json: not a run's maps"),
    ):
        assert message in failed(capsys, "sub.nii.gz", out)
    assert {name: Path(name).read_bytes() for name in written()} == before
    Path("sub.json").unlink()
    run(capsys, "sub.nii.gz", "sub.nii", "--window", 0, 2)  # its record stands beside the scan too
    assert "sub.nii.gz is there and sub.json does not list it: not a run's maps" in failed(
        capsys, "other/x.nii.gz", "sub.nii.gz"
    )
    told = failed(capsys, "sub.nii", "sub.nii")
    assert "out: sub.nii is one of the files that are read; expected another name" in told
    assert Path("sub.nii.gz").read_bytes() == before["sub.nii.gz"]


def test_a_run_s_maps_are_replaced_of_other_methods_and_interrupted_too(capsys) -> None:
    Path("in").mkdir()
    for name in ("a.nii", "b.nii"):
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 2), np.int16), np.eye(4)), f"in/{name}")
    given = ("--window", 0, 2, "--targets")
    for targets in ("0", "all"):
        run(capsys, "in", "in/maps.nii", *given, targets)
    Path("in/maps.json").unlink()
    assert run(capsys, "in", "in/maps.nii", *given, "0")["explained"] == 4
    assert len([*Path("in/maps").rglob("*.nii")]) == 6
    done = run(capsys, "in", "m.nii", *given, "0")  # maps are no scans to another run
    assert done["explained"] == 4
    assert {each["fault"] for each in done["not_used"]} == {
        *("written by a run of jaxsal", "not an image")
    }


def test_outputs_that_cannot_be_are_refused_before_anything_is_read(capsys) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 2), np.int16), np.eye(4)), "a.nii")
    before = Path("a.nii").read_bytes()
    np.save("x.npy", np.zeros((2, 4, 4), np.float32))
    dicoms.write(Path("nowhere.dcm"), np.ones((4, 4), np.uint16))
    dicoms.series(Path("gap"), np.ones((3, 4, 4), np.int16), [0.0, 3.0, 30.0])
    for images, out, message in (
        ("a.nii", "a.nii", "out: a.nii is there and has no a.json"),
        (".", "a.nii", "out: a.nii is there and has no a.json"),
        ("x.npy", "m.nii", "out: arrays and TFDS sets do not lie in space"),
        ("nowhere.dcm", "m.nii", "out: nowhere.dcm does not say where its pixels lie"),
        ("gap", "m.nii.gz", "its slices are not evenly spaced"),
        ("a.nii", ".nii", "out: expected NAME.nii.gz"),
    ):
        assert message in failed(capsys, images, out)
    assert Path("a.nii").read_bytes() == before
    assert not [name for name in written() if name.startswith("m.")]
    assert "slices: the model is given whole scans" in failed(
        capsys, "a.nii", "m.zarr", "--volumes", "--slices", "axial"
    )
