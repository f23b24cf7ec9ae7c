"""Predicted times: what is missing is named, what is there is not compiled again."""

import json

import jax
import numpy as np
import pytest

from benchmarks import __main__, predictions, records, targets, topologies
from benchmarks.contest import Case
from benchmarks.topologies import ACCELERATORS, H200, accelerator
from benchmarks.worker import Absent


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The test's process has its devices already."""
    monkeypatch.setattr(topologies, "without_devices", lambda: None)
    monkeypatch.setattr(targets, "without_devices", lambda: None)


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
    monkeypatch.setattr(topologies.Accelerator, "mesh", lambda self: mesh)


def test_a_row_for_each_program_and_none_is_compiled_twice(here, monkeypatch, tmp_path):
    few = targets.SETTINGS["toy"]._replace(
        targets=("h200",), cases=(targets.Asked("cnn-toy", "gradient"),)
    )
    monkeypatch.setitem(targets.SETTINGS, "toy", few)
    asked = ["targets", "--settings", "toy", "--out", str(tmp_path)]
    __main__.main(asked)
    (path,) = tmp_path.glob("*.json")
    first = json.loads(path.read_text())["rows"]
    assert [row["contender"] for row in first] == ["jaxsal", records.PLAIN]
    assert all(row["predicted_ms"] > 0 and row["collectives"] == {} for row in first)
    earlier = path.rename(path.with_name(path.name.replace(path.stem[-10:], "2026-01-01")))

    def refuse(*args, **options):
        raise AssertionError("compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    __main__.main(asked)
    assert json.loads(path.read_text())["rows"] == first and not earlier.exists()


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
