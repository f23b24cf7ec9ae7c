"""The READMEs say what the committed results say, and the results' folders what is in them."""

import json

import pytest

from experiments import records, summary
from jaxsal.training import checkpoint


def test_the_readmes_hold_the_results_as_they_are() -> None:
    for readme, names in summary.PLACES.items():
        text = readme.read_text()
        assert summary.place(text, names) == text


def test_every_result_begins_with_its_accuracy_and_lies_in_a_folder_named_by_its_run() -> None:
    paths = sorted(records.RESULTS.glob("*/metrics.json"))
    assert paths
    for path in paths:
        assert path.read_text().lstrip("{ \n").startswith('"accuracy":')
        metrics = json.loads(path.read_text())
        assert path.parent.name == records.folder_name(metrics)
        for other in path.parent.glob("*.json"):
            study = json.loads(other.read_text()).get("study", metrics)
            assert study["accuracy"] == metrics["accuracy"]  # of the same network


def test_the_networks_that_are_kept_are_those_of_the_run_that_the_tables_are_of() -> None:
    kept = [each for each in summary.chosen_folds() if records.networks_of(each).exists()]
    assert kept
    for record in kept:
        folder = records.networks_of(record)
        for run in record["folds"]:
            about = json.loads((folder / f"fold-{run['fold']}" / "metrics.json").read_text())
            network = checkpoint.load(folder / f"fold-{run['fold']}")
            assert all(about[name] == run[name] for name in ("accuracy", "confusion", "timings"))
            assert network.classes == tuple(about["classes"])
            assert checkpoint.fingerprint(folder / f"fold-{run['fold']}") == run["parameters"]


def test_a_record_is_not_replaced_by_one_without_its_experiments(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    record = {
        "settings": {"data": "folder", "image_size": 16},
        "device": {"platform": "gpu", "kind": "NVIDIA H200"},
        "versions": {"jax": "0.12.0.1"},
        "date": "2026-11-28",
        "networks": 0,
        "folds": [],
    }
    (tmp_path / "folds.json").write_text(json.dumps({**record, "experiments": {"sanity": {}}}))
    added = records.add(tmp_path)
    (tmp_path / "folds.json").write_text(json.dumps({**record, "experiments": {}}))
    with pytest.raises(ValueError, match=r"is there already, with sanity which .* lacks"):
        records.add(tmp_path)
    assert json.loads(added.read_text())["experiments"] == {"sanity": {}}
    older = {**record, "date": "2026-11-27", "experiments": {"sanity": {"methods": {}}}}
    (tmp_path / "folds.json").write_text(json.dumps(older))
    added.unlink()
    records.add(tmp_path)
    (tmp_path / "folds.json").write_text(json.dumps({**record, "experiments": {}}))
    records.add(tmp_path)
    assert [each["date"] for each in summary.chosen_folds()] == ["2026-11-28"]
    assert [each["date"] for each in summary.chosen_folds("sanity")] == ["2026-11-27"]


def test_the_tables_are_of_the_networks_that_are_kept_and_not_of_a_newer_repetition(
    monkeypatch,
) -> None:
    settings = {"data": "folder", "image_size": 16}
    days = ["2026-11-27", "2026-11-28", "2026-11-29"]
    found = [{"settings": settings, "date": day, "experiments": {}} for day in days]
    monkeypatch.setattr(records, "of_kind", lambda kind: found)
    for kept, shown in (("2026-11-28", "2026-11-28"), (None, "2026-11-29")):
        monkeypatch.setattr(records, "are_kept", lambda record, day=kept: record["date"] == day)
        assert [each["date"] for each in summary.chosen_folds()] == [shown]


def test_a_record_of_folds_has_the_name_of_where_its_networks_were_trained(
    tmp_path, monkeypatch
) -> None:
    """Experiments that another machine adds make no other record, nor take another run's place."""
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    there = {
        "device": {"platform": "gpu", "kind": "NVIDIA H200"},
        "versions": {"jax": "0.12.0.1"},
        "date": "2026-11-28",
    }
    here = {**there, "device": {"platform": "gpu", "kind": "A100"}, "date": "2026-11-30"}

    def add(fingerprint: str, about: dict) -> str:
        folds = [{"fold": 1, "parameters": fingerprint, **there}]
        record = {**about, "settings": {"data": "folder", "image_size": 16}, "folds": folds}
        (tmp_path / "folds.json").write_text(json.dumps(record))
        return records.add(tmp_path).name

    first = add("a", there)
    assert first == add("a", here) == "folds-folder-16-nvidia-h200-jax0.12-2026-11-28.json"
    with pytest.raises(ValueError, match="is there already, of other networks than"):
        add("b", here)
    (kept,) = records.of_kind("folds")
    assert kept["folds"][0]["parameters"] == "a"


def test_folds_at_once_are_of_a_machine_with_all_of_its_cores(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    about = {"versions": {"jax": "0.12.0.1"}, "date": "2026-11-28"}
    device = {"platform": "cpu", "processor": "AMD EPYC"}
    folds = [{"fold": n, **about, "device": {**device, "cores": n}} for n in (1, 2)]
    record = {
        **about,
        "settings": {"data": "folder", "image_size": 16},
        "device": {**device, "cores": 2},
        "at_once": 2,
        "folds": folds,
    }
    (tmp_path / "folds.json").write_text(json.dumps(record))
    assert "amd-epyc-2-cores" in records.add(tmp_path).name
    assert [run["device"]["cores"] for run in records.trainings(record)] == [2, 2]
    record["at_once"] = 1
    assert [run["device"]["cores"] for run in records.trainings(record)] == [1, 2]


def test_a_run_is_added_without_the_paths_of_its_machine(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    run, shapes = tmp_path / "run", tmp_path / "shapes"
    metrics = {
        "accuracy": 0.5,
        "settings": {"data": "folder", "image_size": 16, "test_fold": 2, "out": str(run)},
        "device": {"platform": "gpu", "kind": "NVIDIA H200"},
        "versions": {"jax": "0.12.0.1"},
        "data": {"source": ["set, from /some/where/set"]},
        "date": "2026-11-28",
    }
    for folder, name in ((run, "metrics"), (shapes, "tumor_shape")):
        folder.mkdir()
        (folder / f"{name}.json").write_text(json.dumps(metrics))
    (shapes / "tumor_shape-effects.png").write_bytes(b"")
    folder = records.add(run, shapes)
    assert folder.name == "folder-16-fold2-nvidia-h200-jax0.12-2026-11-28"
    names = ["metrics.json", "tumor_shape-effects.png", "tumor_shape.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    added = json.loads((folder / "tumor_shape.json").read_text())
    assert added["data"]["source"] == ["set, from set"] and added["settings"]["out"] == "run"
