"""The READMEs' tables of speed are those of the committed records, which are named by content."""

import json

from benchmarks import records, summary


def test_the_readmes_show_the_records() -> None:
    for readme, names in summary.PLACES.items():
        text = readme.read_text()
        assert summary.place(text, names) == text


def test_the_headline_names_the_code_that_was_measured() -> None:
    told = summary.tables()["speed"].splitlines()[0]
    for settings in ("headline", "gpu-headline"):
        record = records.newest("throughput", settings)
        assert f"{record['date']}, commit {record['commit']}." in told


def test_every_record_has_the_name_of_what_it_holds_and_none_is_superseded() -> None:
    paths = sorted(records.RESULTS.glob("*.json"))
    assert paths
    for path in paths:
        assert path.name == records.file_name(json.loads(path.read_text()))
    undated = [path.stem[: -len("-2026-11-28")] for path in paths]
    assert len(set(undated)) == len(undated)
