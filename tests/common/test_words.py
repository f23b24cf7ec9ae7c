"""Numbers in words."""

from jaxsal.common.words import counted


def test_of_one_the_first_plural_has_no_s() -> None:
    assert counted(1, "RGBA images of 3 patients") == "1 RGBA image of 3 patients"
    assert [counted(n, "masks outlined") for n in (0, 2)] == [
        "0 masks outlined",
        "2 masks outlined",
    ]
