"""Patients are told apart in outputs, and not told."""

from pathlib import Path

from jaxsal.data import folder, labelled, patients


def test_numbers_say_the_order_of_the_files_alone() -> None:
    groups = ["z", "", "a", "z", "m"]
    assert patients.numbered(groups) == ["patient 1", "", "patient 2", "patient 1", "patient 3"]
    renamed = [group and f"other {group}" for group in groups]
    assert patients.numbered(renamed) == patients.numbered(groups)


def test_a_summary_has_no_name() -> None:
    told = patients.summary(["p1", "p1", "", "p2"], ["by the table"] * 4)
    assert told == ("2 patients by the table, of 3 of 4 images, one with 2 images the most",)


def test_a_tables_word_counts_more_than_a_files_and_that_more_than_a_name() -> None:
    # Anonymised files may all have one PatientID; whoever writes a table knows whose they are.
    image = labelled.Found(Path("a.dcm"), "a.dcm", "", "p1", "", 0, (), patients.BY_TABLE)
    told = folder.owned(image, "hash", "scan")
    assert (told.patient, told.how) == ("p1", patients.BY_TABLE)
    for how in ("", "by name or folder"):
        told = folder.owned(image._replace(how=how), "hash", "scan")
        assert (told.patient, told.how) == ("hash", patients.BY_DICOM)
    unknown = image._replace(patient="", how=patients.BY_TABLE)
    assert folder.owned(unknown, "hash", "scan").patient == "hash"
    assert folder.owned(unknown, "", "scan").how == patients.BY_SCAN
