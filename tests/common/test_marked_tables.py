"""A table is put between its marks, and nothing else of the text is touched."""

import pytest

from jaxsal.common.marked_tables import place

TEXT = """Before.
<!-- a: run a -->
old
<!-- end of a -->
After.
"""


def test_a_table_takes_the_place_of_the_last_one() -> None:
    placed = place(TEXT, {"a": "|new|"}, "run a")
    assert placed == TEXT.replace("old", "|new|")
    assert place(placed, {"a": "|new|"}, "run a") == placed


WRONG = {
    "no place": ("Before.", "0 places for the table 'a'"),
    "another command": (TEXT.replace("run a", "run b"), "0 places for the table 'a'"),
    "two places": (TEXT + TEXT, "2 places for the table 'a'"),
    "no end": (TEXT.replace("end of a", "end of b"), "the table 'a' has no end, expected <!-- end"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=list(WRONG))
def test_a_text_without_both_marks_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"README: {message}"):
        place(text, {"a": "new"}, "run a")
