"""README says what the committed results say."""

from experiments import summary


def test_readme_holds_the_results_as_they_are() -> None:
    text = summary.README.read_text()
    assert summary.BEGIN in text
    assert summary.table() in text


def test_every_result_begins_with_its_accuracy() -> None:
    runs = sorted(summary.RESULTS.glob("*.json"))
    assert runs
    for path in runs:
        assert path.read_text().lstrip("{ \n").startswith('"accuracy":')
