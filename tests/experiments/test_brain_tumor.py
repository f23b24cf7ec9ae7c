"""The study from end to end at toy size, and what it says to bad input."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from experiments import (
    brain_tumor,
    explaining,
    figures,
    folds,
    networks,
    records,
    study,
)
from experiments import settings as settings_module
from experiments.finished import difference
from experiments.settings import Settings, load, plain, resolve
from jaxsal.common.files import finite
from jaxsal.data.reading import Reading
from jaxsal.training import checkpoint

TOY = Settings(
    count=40, image_size=32, epochs=2, widths=(4, 8), explain=6, batch_size=12, force=True
)


@pytest.fixture(scope="module")
def finished_folds(tmp_path_factory) -> tuple[Path, dict]:
    """Two studies, one a fold, and their record."""
    out = tmp_path_factory.mktemp("study")
    return out, folds.main(replace(TOY, out=out), folds=(4, 5))


@pytest.fixture(scope="module")
def finished(finished_folds: tuple[Path, dict]) -> Path:
    """One of them, of the folds that a study has by default."""
    return finished_folds[0] / "fold-5"


def test_writes_everything_that_it_promises(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert next(iter(metrics)) == "accuracy"
    assert 0 <= metrics["accuracy"] <= 1
    assert np.sum(metrics["confusion"]) == 8
    assert metrics["settings"]["validation_fold"] == 4
    assert len(list((finished / "figures").glob("*.png"))) >= 3
    assert any((finished / "checkpoints").iterdir())
    for name in explaining.METHODS:
        maps = np.load(finished / "maps" / f"{name.replace(' ', '_')}.npy")
        assert maps.shape == (6, 32, 32, 1)
        assert np.isfinite(maps).all()
    page = (finished / "report.html").read_text()
    assert "://" not in page  # no base64 has a colon
    assert page.count("data:image/png;base64") >= 3


def test_a_finished_run_runs_again_to_the_same_metrics(finished: Path) -> None:
    before = json.loads((finished / "metrics.json").read_text())
    after = brain_tumor.main(replace(TOY, out=finished))
    assert after["accuracy"] == before["accuracy"]
    assert after["history"] == before["history"]
    assert finite(after["sanity"]) == before["sanity"]
    # It trained nothing: what is said of training is the first run's.
    assert after["timings"]["train"] == before["timings"]["train"]
    assert after["throughput"]["training"] == before["throughput"]["training"]
    assert after["resumed"] == 0 and after["trained"]["commit"] == before["commit"]


def test_a_study_is_not_reopened_on_images_that_it_may_have_trained_on(finished: Path) -> None:
    path = finished / "metrics.json"
    found = json.loads(path.read_text())
    study.reopen(study.Reopened(finished))
    found["settings"]["test_fold"] = 1
    found["settings"]["validation_fold"] = 2
    other = finished.parent / "other"
    shutil.copytree(finished, other)
    (other / "metrics.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"the test images of .* are not those of its run"):
        study.reopen(study.Reopened(other))


def test_checkpoints_of_another_network_are_refused(finished: Path) -> None:
    with pytest.raises(ValueError, match=r"checkpoints: .* holds a run with widths=\[4, 8\]"):
        brain_tumor.main(replace(TOY, out=finished, widths=(8, 8)))


def test_a_read_only_place_is_refused_before_anything_runs(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"out: .* cannot be written to"):
        brain_tumor.main(replace(TOY, out=tmp_path / "file" / "out"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": 99}, "devices: asked for 99, this process has 8"),
        ({"epochs": 0}, "epochs: expected at least 1, got 0"),
        ({"image_size": 8}, "image_size: expected at least 16, got 8"),
        ({"widths": ()}, "widths: 0 stages"),
        ({"widths": (4,) * 6}, "widths: 6 stages cannot be had from images of 32 pixels"),
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"learning_rate": float("nan")}, "learning_rate: expected more than 0, got nan"),
    ],
)
def test_settings_that_make_no_sense(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(replace(TOY, **change))


@pytest.mark.parametrize("data", ["phantom", "shapes", "figshare"])
@pytest.mark.parametrize("name", ["labels", "columns", "masks", "group", "exclude"])
def test_an_option_of_folders_is_refused_with_other_data(data: str, name: str) -> None:
    given = {"labels": Path("l.csv"), "masks": Path("m"), "group": "none"}.get(name, ("a=b",))
    settings = replace(TOY, data=data, reading=Reading(**{name: given}))
    with pytest.raises(ValueError, match=f"{name}: of no effect with --data {data}; it is for"):
        resolve(settings)
    assert resolve(replace(settings, data="folder"))[0].reading == settings.reading


def test_a_run_that_ignored_options_of_folders_is_reopened_without_them() -> None:
    kept = {"data": "phantom", "reading": {"exclude": ["extra/*"], "labels": "l.csv"}}
    given = study.Reopened(Path("run"))
    assert study._settings(given, kept, 32).reading == Reading()
    other = replace(given, data="phantom")
    assert study._settings(other, kept | {"data": "folder"}, 32).reading == Reading()
    kept = study._settings(given, kept | {"data": "folder"}, 32)
    assert kept.reading == Reading(exclude=("extra/*",), labels=Path("l.csv"))


@pytest.mark.parametrize("data", ["figshare", "folder"])
def test_a_missing_data_dir(data: str, tmp_path) -> None:
    settings = replace(TOY, data=data, data_dir=tmp_path / "nowhere", out=tmp_path / "out")
    with pytest.raises(ValueError, match="data_dir"):
        brain_tumor.main(settings)
    assert not (tmp_path / "out").exists()


def test_phantoms_take_no_data_dir(tmp_path) -> None:
    with pytest.raises(ValueError, match="data_dir: phantoms are generated"):
        brain_tumor.main(replace(TOY, data_dir=tmp_path, out=tmp_path / "out"))


def test_completeness_of_exact_maps() -> None:
    logits, black = np.array([[2.0, 0.0], [0.0, 5.0]]), np.array([1.0, 1.0])
    maps = np.zeros((2, 2, 2, 1))
    maps[0, 0, 0, 0], maps[1, 1, 1, 0] = 1.0, 3.0  # the second should be 4
    points = np.array([9, 65], np.int32)
    found = explaining.completeness(maps, points, np.array([0, 1]), logits, black)
    assert (found["mean_points"], found["most_points"]) == (37.0, 65)
    assert found["within_1_percent"] == 0.5
    assert found["rest_images"] == 1
    assert found["largest_error"] == 0.25


def test_a_figure_that_fails_is_told_and_ends_no_study(capsys) -> None:
    assert figures._drawn("Relevance", lambda: None) == b""
    assert figures._drawn("Relevance", lambda: 1 / 0) == b""
    assert "figure 'Relevance' cannot be drawn (ZeroDivisionError" in capsys.readouterr().err


def test_a_tree_of_pictures_is_a_dataset(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("JAXSAL_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for kind, mean in (("$no$", 60), ("yes", 190)):
        folder = tmp_path / "data/archive" / kind
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = np.clip(random.normal(mean, 20, (20, 24)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{kind}{i}.bmp")
            Image.fromarray(pixels > 190).save(folder / f"{kind}{i}_seg.png")
    settings = replace(TOY, data="folder", data_dir=tmp_path / "data", out=tmp_path / "out")
    metrics = brain_tumor.main(settings)
    assert metrics["classes"] == ["$no$", "yes"]
    assert f"  cached in {tmp_path}/cache/" in capsys.readouterr().out
    counts = metrics["data"]["counts"]
    assert sum(sum(part.values()) for part in counts.values()) == 40
    assert metrics["data"]["masks"]["test"] == metrics["data"]["counts"]["test"]["yes"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "tumour" not in page
    assert study.reopen(study.Reopened(tmp_path / "out")).classes == ("$no$", "yes")


def test_folds_are_tested_in_turn_and_averaged(finished_folds: tuple[Path, dict]) -> None:
    out, record = finished_folds
    assert [run["settings"]["test_fold"] for run in record["folds"]] == [4, 5]
    assert [run["settings"]["validation_fold"] for run in record["folds"]] == [5, 4]
    accuracies = [run["accuracy"] for run in record["folds"]]
    assert record["accuracy"] == pytest.approx(np.mean(accuracies))
    assert json.loads((out / "folds.json").read_text())["accuracy"] == record["accuracy"]
    assert (out / "fold-4/report.html").exists()


@pytest.fixture
def shout(monkeypatch) -> list[Path]:
    """An experiment on each fold's network, and the folders that it was done in."""
    done: list[Path] = []

    def main(settings: study.Reopened) -> None:
        done.append(settings.checkpoint)
        if settings.checkpoint.name == "fold-4":
            raise ValueError("explain: none of the test images has a mask")
        record = {"loud": [0.5, 0.25, 0.75], "cases": 3, "study": {"data": "phantom"}}
        record |= {"settings": plain(settings), "bootstrap": "patient"}
        record |= {"network": checkpoint.fingerprint(settings.checkpoint)}
        out = settings.checkpoint / "shout"
        out.mkdir(exist_ok=True)
        (out / "shout.json").write_text(json.dumps(record))

    module = SimpleNamespace(Settings=study.Reopened, main=main)
    monkeypatch.setitem(folds.FOLLOW_UPS, "shout", module)
    return done


def test_experiments_follow_once_and_one_without_an_answer_is_told(
    finished_folds: tuple[Path, dict], shout: list[Path], monkeypatch
) -> None:
    out, _ = finished_folds
    for turn in (1, 2):
        found = folds.main(replace(TOY, out=out), folds=(4, 5), follow=("shout",))
        assert found["left_out"] == {"shout, fold 4": "explain: none of the test images has a mask"}
        pooled = found["experiments"]["shout"]
        assert pooled["loud"] == [0.5, None, None] and pooled["clusters"] == 1
        assert [folder.name for folder in shout] == ["fold-4", "fold-5", "fold-4"][: turn + 1]
    assert "none of the test images has a mask" in (out / "folds.html").read_text()
    shout.clear()  # a record of other definitions is not a record of this experiment
    monkeypatch.setattr(folds.FOLLOW_UPS["shout"], "DEFINITIONS", {"loud": 2}, raising=False)
    folds.main(replace(TOY, out=out), folds=(4, 5), follow=("shout",))
    assert [folder.name for folder in shout] == ["fold-4", "fold-5"]


def test_images_without_five_folds_are_not_taken_in_turn(monkeypatch, tmp_path) -> None:
    dataset, _ = load(resolve(replace(TOY, image_size=32))[0])
    parts = np.full(len(dataset.examples.labels), "train")
    three = dataset.examples._replace(folds=1 + np.arange(len(parts), dtype=np.int32) % 3)
    for changed, words in (
        (replace(dataset, parts=parts), "the images are split by themselves"),
        (replace(dataset, examples=three), r"expected images in folds 1 to 5, got \[1, 2, 3\]"),
    ):
        monkeypatch.setattr(settings_module, "_loaded", lambda _, changed=changed: changed)
        with pytest.raises(ValueError, match=words):
            folds.main(replace(TOY, out=tmp_path))


def test_kept_networks_are_finished_folds_wherever_they_lie(
    finished_folds: tuple[Path, dict], shout: list[Path], monkeypatch, tmp_path: Path
) -> None:
    """Copied from where they are kept, they are what the same command adds experiments to."""
    out, record = finished_folds
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    (out / "fold-5/completeness").mkdir()
    (out / "fold-5/completeness/completeness.json").write_text('{"out": "/somewhere/else"}')
    records.add(out, with_networks=True)
    kept, other = records.networks_of(record), tmp_path / "other"
    assert str(out) not in (kept / "fold-5/metrics.json").read_text()
    text = (kept / "fold-5/completeness/completeness.json").read_text()
    assert json.loads(text) == {"out": "else"}
    shutil.rmtree(out / "fold-5/completeness")
    shutil.copytree(kept, other)
    found = folds.main(replace(TOY, out=other), folds=(4, 5), follow=("shout",))
    assert found["accuracy"] == record["accuracy"] and len(shout) == 2
    assert found["experiments"]["shout"]["loud"][0] == 0.5
    assert not list(other.glob("*/checkpoints"))  # nothing is trained
    network = study.reopen(study.Reopened(other / "fold-5"))
    assert (network.predicted == network.test.labels).mean() == record["folds"][1]["accuracy"]
    run = json.loads((other / "fold-5/metrics.json").read_text())
    settings, _ = resolve(replace(TOY, out=tmp_path, test_fold=5, validation_fold=4))
    assert difference(run, settings) == ""
    for data in ({"tested": "of other images"}, {}):
        assert difference({**run, "data": data}, settings) == "was tested on other images"
    assert difference(run, replace(settings, epochs=3)) == "has epochs=2, not 3"
    others = {**run, "settings": run["settings"] | {"reading": {"exclude": ["extra/*"]}}}
    assert difference(others, settings) == "has reading={'exclude': ['extra/*']}, not None"
    narrow = replace(settings, bfloat16=True)
    assert difference(run, narrow) == "has bfloat16=False, not True"
    again = {**run, "settings": run["settings"] | {"bfloat16": True}}
    assert "is of the network" in difference(again, narrow)
    network = brain_tumor.network(narrow, len(run["classes"]))
    again["network"] = json.loads(json.dumps(checkpoint.model_fields(network)))
    assert difference(again, narrow) == ""
    del again["settings"]["strict"]  # an option that is newer than the run
    assert difference(again, narrow) == ""
    with pytest.raises(ValueError, match=r"without the checkpoints .* has epochs=2, not 3"):
        folds.main(replace(TOY, out=other, epochs=3), folds=(4, 5))
    with pytest.raises(ValueError, match=r"add: .*model.json is not there"):
        (out / "fold-4/model.json").rename(out / "fold-4/away.json")
        records.add(out, with_networks=True)
    (out / "fold-4/away.json").rename(out / "fold-4/model.json")
    assert (kept / "fold-4/model.json").exists()  # nothing was taken away


def make_and_say_where(
    settings: Settings, fold: int, follow: tuple[str, ...], compared: int
) -> folds.Made:
    """As `folds._make`, but of experiments."""
    print(f"process {os.getpid()}")
    return folds._of_fold(settings, fold), {name: {folds.FAILED: "nothing"} for name in follow}


def test_folds_at_once_are_made_in_processes_of_their_own(
    finished_folds: tuple[Path, dict], monkeypatch
) -> None:
    out, record = finished_folds
    monkeypatch.setattr(folds, "_make", make_and_say_where)
    found = folds.main(replace(TOY, out=out), (4, 5), ("shout",), at_once=2)
    words = {(out / f"fold-{fold}.log").read_text().split()[1] for fold in (4, 5)}
    assert len(words - {str(os.getpid())}) == 2
    assert found["left_out"] == {"shout, fold 4": "nothing", "shout, fold 5": "nothing"}
    of_folds = (
        [(run["fold"], run["accuracy"]) for run in each["folds"]] for each in (found, record)
    )
    assert next(of_folds) == next(of_folds)
    assert found["at_once"] == 2


def test_finished_folds_are_not_run_again(finished_folds: tuple[Path, dict]) -> None:
    out, record = finished_folds
    before = {path: path.stat().st_mtime_ns for path in out.glob("fold-*/metrics.json")}
    again = folds.main(replace(TOY, out=out), folds=(4, 5))
    accuracies = ([run["accuracy"] for run in each["folds"]] for each in (again, record))
    assert next(accuracies) == next(accuracies)
    assert [again[name] for name in folds.POOLED] == [record[name] for name in folds.POOLED]
    density = record["relevance"]["methods"]["gradient"]["rest of head"]["density"]
    alone = [json.loads(path.read_text())["relevance"] for path in sorted(before)]
    means = [each["methods"]["gradient"]["rest of head"]["density"][0] for each in alone]
    assert density == finite(list(networks.mean_interval(means)))
    assert {path: path.stat().st_mtime_ns for path in before} == before
