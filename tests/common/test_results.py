"""Folders that runs have written into are told from others, finished or not."""

import json

import pytest

from jaxsal.common import results

FIELDS = {"classes": ["a"], "fields": {}, "image_size": 8}
MEASURED = {"accuracy": 1, "confusion": [[1]], "classes": ["a"]}
ENTRY = {"source": "a", "number": 0, "status": "explained"}


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("model.json", FIELDS, results.TRAINING),
        ("model.json", {"classes": []}, ""),
        ("metrics.json", MEASURED, results.EVALUATION),
        ("metrics.json", {"accuracy": 1}, ""),
        ("index.json", [ENTRY, ENTRY], results.PICTURES),
        ("index.json", [ENTRY, {}], ""),
        ("index.json", [], ""),
        ("model.json", "model", ""),
        ("_thumbnails/12.png", 0, results.PICTURES),
        ("_thumbnails/me.png", 0, ""),
        ("checkpoints/3/facts/x", 0, results.TRAINING),
        ("checkpoints/3/weights.pt", 0, ""),
    ],
)
def test_a_folder_s_kind_is_told_by_what_lies_in_it(name, found, expected, tmp_path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    assert results.kind(tmp_path) == expected


def test_what_is_no_folder_or_no_json_is_of_no_run(tmp_path) -> None:
    (tmp_path / "model.json").write_text("{")
    (tmp_path / "metrics.json").mkdir()
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "model.json", tmp_path / ("a" * 300)):
        assert results.kind(place) == ""
