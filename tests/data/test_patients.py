"""Patients are told apart in outputs, and not told."""

from jaxsal.data import patients


def test_numbers_say_the_order_of_the_files_alone() -> None:
    groups = ["z", "", "a", "z", "m"]
    assert patients.numbered(groups) == ["patient 1", "", "patient 2", "patient 1", "patient 3"]
    renamed = [group and f"other {group}" for group in groups]
    assert patients.numbered(renamed) == patients.numbered(groups)


def test_a_summary_has_no_name() -> None:
    told = patients.summary(["p1", "p1", "", "p2"], ["by the table"] * 4)
    assert told == ("2 patients by the table, of 3 of 4 images, one with 2 images the most",)
