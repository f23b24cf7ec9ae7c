"""Predicted times: what is missing is named, what is there is not compiled again."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import (
    __main__,
    jax_worker,
    predictions,
    problems,
    records,
    targets,
    throughput,
    topologies,
)
from benchmarks.contest import Case
from benchmarks.topologies import ACCELERATORS, H200, accelerator
from benchmarks.worker import Absent


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    _without_devices(monkeypatch)


def _without_devices(monkeypatch):
    """The test's process has its devices already."""
    monkeypatch.setattr(topologies, "without_devices", lambda: None)
    monkeypatch.setattr(targets, "without_devices", lambda: None)
    monkeypatch.setattr(__main__.provenance, "describe_apart", __main__.provenance.describe)


def test_without_a_plugin_a_target_is_absent_with_the_command_that_installs_it(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: None)
    __main__.main(["targets", "--settings", "toy", "--out", str(tmp_path)])
    (path,) = tmp_path.glob("targets-toy-*.json")
    rows = json.loads(path.read_text())["rows"]
    assert {row["target"] for row in rows} == set(ACCELERATORS)
    assert all("pip install" in row["absent"] for row in rows)
    assert capsys.readouterr().out.count("absent") == len(rows)


@pytest.fixture
def here(monkeypatch):
    """This machine's devices in the place of a target's."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("batch",))
    monkeypatch.setattr(topologies.Accelerator, "mesh", lambda self, chips=None: mesh)


@pytest.fixture
def asked(here, monkeypatch, tmp_path):
    """A command for one small case, which writes its record into a folder."""
    few = targets.SETTINGS["toy"]._replace(
        targets=("h200",), cases=(targets.Asked("cnn-toy", "gradient"),)
    )
    monkeypatch.setitem(targets.SETTINGS, "toy", few)
    return ["targets", "--settings", "toy", "--out", str(tmp_path)]


def test_an_unfinished_record_is_carried_on_with_and_a_finished_one_stays(
    asked, monkeypatch, tmp_path, capsys
):
    __main__.main(asked)
    (path,) = tmp_path.glob("*.json")
    whole = json.loads(path.read_text())
    first = whole["rows"]
    assert [row["contender"] for row in first] == ["jaxsal", records.PLAIN]
    assert all(row["predicted_ms"] > 0 and row["collectives"] == {} for row in first)
    assert {row["commit"] for row in first} == {whole["commit"]}
    text = path.read_text()
    with pytest.raises(SystemExit):
        __main__.main(asked)
    assert path.read_text() == text and path.name in capsys.readouterr().err

    monkeypatch.setattr(jax.stages.Lowered, "compile", _refuse)
    elsewhere = {"device": whole["device"] | {"processor": "another"}}
    before = _dated(whole, tmp_path, finished=False, commit="before", **elsewhere)
    for row in (old := json.loads(before.read_text()))["rows"]:
        row |= {"commit": "", "date": old["date"], "predicted_ms": 0.0}
    before.write_text(json.dumps(old))
    kept = _dated(whole, tmp_path, date="2026-01-02")
    other = _dated(whole, tmp_path, finished=False, settings="h200")
    path.unlink()
    __main__.main(asked)
    again = [row | {"commit": "", "date": "2026-01-01"} for row in first]
    assert json.loads(path.read_text())["rows"] == again
    assert sorted(tmp_path.glob("*.json")) == sorted([path, kept, other])


def test_what_another_code_counted_is_counted_again_and_what_is_older_is_told(asked, tmp_path):
    __main__.main(asked)
    (path,) = tmp_path.glob("*.json")
    whole = json.loads(path.read_text())
    first, second = whole["rows"]
    changed = [first | {"bytes": -1, "counted_by": "another"}, second | {"bytes": -1}]
    del changed[1]["counted_by"]
    path.write_text(json.dumps(whole | {"rows": changed, "finished": False}))
    __main__.main(asked)
    again = json.loads(path.read_text())
    found = [(row["bytes"], row.get("counted_by")) for row in again["rows"]]
    assert found == [(first["bytes"], targets.counted_by()), (-1, None)]
    assert "- of 1 of these, no row says by which code it was counted" in predictions.table(again)
    assert "by which code" not in predictions.table(whole)


def test_rows_of_some_problems_come_between_those_that_are_known(here, monkeypatch, tmp_path):
    asked = [targets.Asked(problem, "gradient") for problem in ("cnn-128", "vit-224", "cnn-224")]
    few = targets.SETTINGS["toy"]._replace(targets=("h200",), cases=tuple(asked))
    monkeypatch.setitem(targets.SETTINGS, "toy", few)
    monkeypatch.setattr(
        targets,
        "_compiled",
        lambda row, *_: {"failed": "no memory"} if row["problem"] == "cnn-224" else dict(MADE),
    )
    command = ["targets", "--settings", "toy", "--out", str(tmp_path), "--problems"]
    __main__.main([*command, "cnn-128", "cnn-224"])
    (path,) = tmp_path.glob("*.json")
    first = json.loads(path.read_text())
    assert not first["finished"] and "all problems but cnn-128, cnn-224" in first["left_out"][0]
    left = [each.split(", ")[3] for each in first["left_out"][1:]]
    assert left == ["vit-224"] * 2
    with pytest.raises(SystemExit):
        __main__.main([*command, "cnn-toy"])
    monkeypatch.setattr(targets, "_compiled", lambda row, *_: MADE | {"predicted_ms": 3.0})
    __main__.main([*command, "vit-224"])
    second = json.loads(path.read_text())
    assert second["left_out"] == ["not looked at: all problems but vit-224"]
    rows = second["rows"]
    assert [row["problem"] for row in rows[::2]] == ["cnn-128", "vit-224", "cnn-224"]
    assert [row.get("predicted_ms") for row in rows[::2]] == [2.0, 3.0, None]
    assert [row for row in rows if row["problem"] != "vit-224"] == first["rows"]


MADE = {
    **dict.fromkeys(("cycles", "bytes", "flops", "compile_s", targets.REST), 0),
    **{"program": "p", "collectives": {}, "predicted_ms": 2.0},
}


@pytest.fixture(scope="module")
def by_chips(tmp_path_factory):
    """The record of three small programs on one and on all of this machine's devices."""
    folder = tmp_path_factory.mktemp("chips")

    def mesh(self, chips=None):
        return jax.sharding.Mesh(np.array(jax.devices()[:chips]), ("batch",))

    with pytest.MonkeyPatch.context() as patch:
        _without_devices(patch)
        patch.setattr(topologies.Accelerator, "mesh", mesh)
        asked = ["--settings", "toy", "--targets", "tpu-v5e", "--chips", "1", "8"]
        __main__.main(["targets", *asked, "--out", str(folder)])
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text())


def test_chips_tell_each_other_nothing_but_what_training_sums(by_chips):
    found = {(row["method"], row["chips"]): row for row in by_chips["rows"]}
    methods = ("gradient", "deletion", "training step")
    assert list(found) == [(method, chips) for chips in (1, 8) for method in methods]
    for method in methods:
        one, all = found[method, 1], found[method, 8]
        assert one["program"] != all["program"]
        assert one["collectives"] == {} and one["communication_ms"] == 0
        assert all["bytes"] == pytest.approx(one["bytes"], rel=0.01)  # of a chip, not of all
        assert all["memory"] == pytest.approx(one["memory"], rel=0.05)
        assert all["flops"] == one["flops"] > 0
    assert found["gradient", 8]["collectives"] == found["deletion", 8]["collectives"] == {}


def test_training_sums_its_gradients_and_the_statistics_of_its_batch(by_chips):
    (row,) = (r for r in by_chips["rows"] if (r["method"], r["chips"]) == ("training step", 8))
    assert list(row["collective_bytes"]) == ["all-reduce"]
    given = row["collective_bytes"]["all-reduce"]
    model = jax_worker.network(problems.PROBLEMS["study-toy"])
    params = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 16, 16, 1)))["params"]
    gradients = 4 * sum(leaf.size for leaf in jax.tree.leaves(params))
    # For each channel: mean and variance, their cotangents, and those of scale and bias again.
    assert gradients < given <= gradients + 4 * (6 * (4 + 8) + 8)
    sent = given * 2 * 7 / 8
    assert row["communication_ms"] == pytest.approx(1e3 * sent / 200e9, rel=1e-3)
    table = predictions.table(by_chips)
    assert f"| {row['collectives']['all-reduce']} all-reduce | {given:,} |" in table
    assert table.count("| 0 | 0 | 0 | 0 |") == 5  # all others


def test_the_committed_programs_of_a_pod_stay_on_their_chips():
    found = [record for record in records.read(name="targets") if "chips" in record]
    assert found
    for row, memory in ((row, r["chip_memory"]) for r in found for row in r["rows"]):
        assert row["memory"] < memory[row["target"]]
        if row["method"] != "training step":
            same = [r for record in found for r in record["rows"] if r["case"] == row["case"]]
            assert not row["collectives"] and {r["bytes"] for r in same} == {row["bytes"]}


def test_rows_of_other_chips_are_other_rows():
    old = {"target": "tpu-v5e", "case": "gradient", "contender": "jaxsal"}
    assert targets.names(old) == targets.names(old | {"chips": 4})
    assert targets.names(old) != targets.names(old | {"chips": 64})
    assert targets.chips_of({"target": "h200"}) == 1


@pytest.mark.parametrize("change", [{"compilers": {"libtpu": "0"}}, {"models": {"h200": "other"}}])
def test_predictions_of_another_origin_are_not_carried_on(asked, change):
    made = targets._predicted_by(targets.SETTINGS["toy"])
    record = {"left_out": ["h200, gradient"], **made}
    assert targets.goes_on(record, targets.SETTINGS["toy"])
    assert not targets.goes_on(record | {"left_out": []}, targets.SETTINGS["toy"])
    assert not targets.goes_on(record | change, targets.SETTINGS["toy"])


def test_no_measurement_takes_a_record_away(monkeypatch, tmp_path, capsys):
    brief = SimpleNamespace(SETTINGS=throughput.SETTINGS, run=lambda *args: {"rows": []})
    monkeypatch.setitem(__main__.MEASURED, "throughput", brief)
    asked = ["throughput", "--settings", "cpu", "--minutes", "1", "--out", str(tmp_path)]
    __main__.main(asked)
    (path,) = tmp_path.glob("*.json")
    earlier = _dated(json.loads(path.read_text()), tmp_path, finished=False)
    path.unlink()
    __main__.main(asked)
    assert sorted(tmp_path.glob("*.json")) == sorted([earlier, path])
    monkeypatch.setattr(brief, "run", _refuse)
    with pytest.raises(SystemExit):
        __main__.main(asked)
    assert "is there already" in capsys.readouterr().err


def _refuse(*args, **options):
    raise AssertionError("called")


def _dated(record, folder, date="2026-01-01", **changes):
    """Writes a record as of another day."""
    return records.write(record | {"date": date} | changes, folder)


def test_a_killed_run_keeps_its_rows(here, monkeypatch, tmp_path):
    few = targets.SETTINGS["toy"]._replace(
        targets=("h200",),
        cases=(targets.Asked("cnn-toy", "gradient"), targets.Asked("cnn-toy", "occlusion")),
    )
    monkeypatch.setitem(targets.SETTINGS, "toy", few)
    kept = targets._compiled

    def killed(row, *args):
        if row["contender"] == records.PLAIN:
            raise KeyboardInterrupt
        return kept(row, *args)

    monkeypatch.setattr(targets, "_compiled", killed)
    with pytest.raises(KeyboardInterrupt):
        __main__.main(["targets", "--settings", "toy", "--out", str(tmp_path)])
    (path,) = tmp_path.glob("*.json")
    assert len(json.loads(path.read_text())["rows"]) == 1


def test_a_gpu_of_a_file_is_predicted_by_its_own_numbers(tmp_path):
    file = tmp_path / "half.textproto"
    file.write_text(H200.replace("4800000000000", "2400000000000").replace("132", "66"))
    half, whole = accelerator(str(file)).rates, accelerator("h200").rates
    assert half.bytes == whole.bytes / 2 and half.bfloat16 == whole.bfloat16 / 2
    with pytest.raises(ValueError, match="tpu-v5e"):
        accelerator("no-such-target")
    with pytest.raises(Absent, match="pip install"):
        ACCELERATORS["h200"]._replace(platform="tpu").mesh()


def test_the_model_is_held_against_what_was_measured():
    case = Case("cnn-128", "gradient", 512)
    row = {"target": "h200", "contender": "jaxsal", "predicted_ms": 2.0, **case.row()}
    measured = {
        "device": {"kind": "NVIDIA H200"},
        "rows": [{"contender": "jaxsal", "time": {"median_ms": 4.0}, **case.row()}],
    }
    assert list(predictions.held_against([row], [measured])) == [(row, 4.0)]
    assert not list(predictions.held_against([row | {"batch": 1}], [measured]))
    assert not list(predictions.held_against([row | {"target": "h20"}], [measured]))
