"""README's tables of speed are those of the committed records."""

from benchmarks import summary


def test_readme_shows_the_records():
    text = summary.README.read_text()
    assert summary.place(text) == text
