"""Training folders of scans: every slice is an image, and its patient is the file's own word."""

import numpy as np
import pytest
from PIL import Image

from jaxsal.data import pipeline, volumes
from jaxsal.data.folder import UNKNOWN
from jaxsal.data.reading import Reading
from tests.data import dicoms, files

nibabel = pytest.importorskip("nibabel")

VOLUME = np.random.default_rng(0).integers(0, 900, (3, 8, 8), np.int16)


def test_slices_of_scans_are_images_of_their_patients(tmp_path) -> None:
    for n, (label, whose) in enumerate([("a", "P1"), ("a", "P2"), ("b", "P1"), ("b", "P3")]):
        dicoms.series(tmp_path / label / f"s{n}", VOLUME + n, [0.0, 3.0, 6.0], PatientID=whose)
    nibabel.save(nibabel.Nifti1Image(VOLUME, np.eye(4)), tmp_path / "a/x.nii.gz")
    pages = [Image.fromarray(files.grey(n, 8, 8)) for n in range(2)]
    pages[0].save(tmp_path / "b/y.tif", save_all=True, append_images=pages[1:])
    files.save(tmp_path / "b/z.png", files.grey(9, 8, 8))
    (tmp_path / "b/plan.mat").write_text("")
    read = pipeline.folder(tmp_path, image_size=8)
    found = read.examples
    assert len(found.labels) == 4 * 3 + 8 + 2 + 1 and read.skipped == ()
    whose = dict(zip(found.names.tolist(), found.patients.tolist(), strict=True))
    series = [{whose[f"{label}/s{n}/IM003"]} for n, label in enumerate("aabb")]
    assert series[0] == series[2] != series[1] != series[3] and "P1" not in str(series)
    scan = {whose[f"a/x.nii.gz/axial-{k:03}"] for k in range(8)}
    pages = {whose["b/y.tif/000"], whose["b/y.tif/001"]}
    assert len(scan) == len(pages) == 1 and len(scan | pages | set.union(*series)) == 5
    assert {*whose.values()} == {"", *(f"patient {n}" for n in range(1, 6))}
    folds = {patient: set() for patient in whose.values() if patient}
    for patient, fold in zip(found.patients.tolist(), found.folds.tolist(), strict=True):
        folds.get(patient, set()).add(fold)
    assert all(len(every) == 1 for every in folds.values())
    assert ("b/plan.mat", "scipy.io or h5py reads it") in read.left_out


@pytest.mark.parametrize(("whole", "most"), [(False, "3 images"), (True, "1 image")])
def test_where_patients_are_known_from_is_said(whole, most, tmp_path) -> None:
    """Unknown are they only where neither the file nor its name says whose it is."""
    for n, label in enumerate("aabb"):
        place = tmp_path / f"{label}/s{n}"
        dicoms.series(place, VOLUME + n, [0.0, 3.0, 6.0], PatientID=f"P{n}")
    (tmp_path / "a/broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 99)

    def told(reading: Reading = Reading()) -> list[str]:  # noqa: B008
        if whole:
            notes = volumes.folder(tmp_path, image_size=8, reading=reading).notes
        else:
            notes = pipeline.folder(tmp_path, image_size=8, reading=reading).notes
        return [note for note in notes if "patient" in note]

    assert told() == [f"4 patients by DICOM's PatientID, one with {most} the most"]
    regex = Reading(group=r"s(\d)")
    assert told(regex) == [f"4 patients by --group, one with {most} the most"]
    for label in "ab":
        nibabel.save(nibabel.Nifti1Image(VOLUME, np.eye(4)), tmp_path / f"{label}/x.nii.gz")
    by_names = "4 patients by DICOM's PatientID"
    if whole:
        by_names += ", of 4 of 6 images, one with 1 image the most"
        assert told()[-2:] == [by_names, UNKNOWN]
    else:
        ways = "by the scans' names and by DICOM's PatientID"
        assert told() == [f"6 patients {ways}, one with 8 images the most"]


def test_copies_of_slices_and_series_that_are_no_stack_are_told(tmp_path) -> None:
    for n, label in enumerate("aabb"):
        dicoms.series(tmp_path / f"{label}/s{n}", VOLUME + n, [0.0, 3.0, 6.0], PatientID=f"P{n}")
    copied = tmp_path / "a/s0/IM000"
    copied.with_name("copy").write_bytes(copied.read_bytes())
    tags = {**dicoms.place(3.0), "InstanceNumber": 9, "PatientID": "P3"}
    dicoms.write(tmp_path / "b/s3/more", VOLUME[0], **tags)
    read = pipeline.folder(tmp_path, image_size=8)
    assert len(read.examples.labels) == 4 * 3 + 1
    assert read.left_out == (("a/s0/copy", "a copy of another slice of its series"),)
    assert any(note.startswith("4 files taken each as a scan") for note in read.notes)
    whole = volumes.folder(tmp_path, image_size=8)
    assert len(whole.examples.labels) == 3
    left = dict(whole.left_out)
    assert {*left} == {
        "a/s0/copy",
        *(f"b/s3/{name}" for name in ("IM000", "IM003", "IM007", "more")),
    }
    assert left["b/s3/more"].startswith("no stack of slices: 1 to 2 of them lie at a place")
