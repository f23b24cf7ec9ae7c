"""Parts in turn: what one of them does takes nothing from the others, and all that is told."""

import json
import os
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import tyro

from benchmarks import __main__, on_gpu, throughput
from benchmarks.sequence import FINISHED, Outcome, Part, in_turn
from experiments.settings import Settings

STARTS_ANOTHER = """
import subprocess
child = subprocess.Popen(["sleep", "60"])
open({path!r}, "w").write(str(child.pid))
child.wait()
"""


def _python(statement: str) -> tuple[str, ...]:
    return ("timeit", "-n", "1", "-r", "1", statement)


def test_a_part_that_fails_or_is_stopped_ends_alone_with_all_that_it_started(tmp_path):
    pid = tmp_path / "pid"
    outcomes = in_turn(
        [
            Part("wrong", _python("raise ValueError")),
            Part("long", _python(STARTS_ANOTHER.format(path=str(pid))), minutes=0.03),
            Part("right", _python(f"open({str(tmp_path / 'right')!r}, 'w')")),
        ]
    )
    ended = {each.part: each.ended for each in outcomes}
    assert ended["wrong"] == "failed with exit code 1"
    assert ended["long"] == "stopped after 0.03 minutes"
    assert ended["right"] == FINISHED and (tmp_path / "right").exists()
    assert _gone(int(pid.read_text()))


def _gone(pid: int) -> bool:
    """Whether a process has ended, or ends within two seconds."""
    for _ in range(40):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        state = Path(f"/proc/{pid}/stat")
        if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True  # ended; its parent has not asked how
        time.sleep(0.05)
    return False


def test_what_all_have_together_is_the_limit_of_each(tmp_path):
    slow = Part("slow", _python("import time; time.sleep(60)"), minutes=5)
    first, second = in_turn([slow, slow], minutes=0.01)
    assert first.ended == "stopped after 0.01 minutes"
    assert second.ended == "left out: there was no time left" and second.seconds < 1


def test_throughput_that_is_stopped_keeps_the_cases_before(monkeypatch, tmp_path):
    first, second, *_ = throughput.SETTINGS["toy"].cases
    running = SimpleNamespace(ask=lambda *args, **keywords: {})
    folders = dict.fromkeys((first.problem, second.problem), tmp_path)
    monkeypatch.setattr(throughput, "workers", lambda peers: nullcontext(running))
    monkeypatch.setattr(throughput, "problem_folders", lambda *args: nullcontext(folders))

    def contest(running, case, *args, **keywords):
        if case == second:
            raise KeyboardInterrupt
        return [{"case": str(case), "contender": "jaxsal", "absent": "not measured"}]

    monkeypatch.setattr(throughput, "contest", contest)
    monkeypatch.setattr(__main__.provenance, "describe_apart", __main__.provenance.describe)
    with pytest.raises(KeyboardInterrupt):
        __main__.main(["throughput", "--settings", "toy", "--out", str(tmp_path)])
    record = json.loads(next(tmp_path.glob("throughput-toy-*.json")).read_text())
    assert [row["case"] for row in record["rows"]] == [str(first)] and not record["finished"]


@pytest.fixture
def ran(monkeypatch):
    """The parts that a command would run; the last of them is stopped, with a result so far."""
    seen = []

    def in_turn(parts, minutes):
        seen.extend(parts)
        words = parts[-1].words
        if parts[-1].name == on_gpu.FOLDS:
            study = Path(words[words.index("--out") + 1])
            study.mkdir()
            (study / "folds.json").write_text("{}")
        return [Outcome(each.name, FINISHED, 1.0) for each in parts[:-1]] + [
            Outcome(parts[-1].name, "stopped after 5 minutes", 300.0)
        ]

    monkeypatch.setattr(on_gpu, "in_turn", in_turn)
    return seen


@pytest.mark.parametrize("settings", list(on_gpu.SETTINGS))
def test_every_part_is_a_command_and_how_each_ended_is_kept(settings, ran, monkeypatch, tmp_path):
    device = {"device": {"platform": "gpu"}}
    monkeypatch.setattr(on_gpu.provenance, "describe_apart", lambda: device)
    here = shutil.which("true")
    asked = ["--settings", settings, "--out", str(tmp_path), "--peer-python", here]
    with pytest.raises(SystemExit):
        on_gpu.main([*asked, "--data-dir", "images"])
    assert [part.name for part in ran] == [*on_gpu.SETTINGS[settings], "folds"]
    records = set()
    for _, words, minutes in ran[:-1]:
        room, name, flag, chosen, *rest = words
        assert (room, flag) == ("benchmarks", "--settings") and 0 < minutes <= on_gpu.MINUTES
        assert chosen in __main__.MEASURED[name].SETTINGS and (name, chosen) not in records
        records.add((name, chosen))
        assert rest[-4:] == ["--out", str(tmp_path), "--peer-python", here]
    study = tyro.cli(Settings, args=ran[-1].words[1:])
    assert (study.data, study.data_dir) == ("figshare", Path("images"))
    assert study.image_size == {"gpu": 128, "toy": 32}[settings]
    assert (tmp_path / "folds.json").exists()
    told = json.loads((tmp_path / "parts.json").read_text())
    assert told[-1] == {"part": "folds", "ended": "stopped after 5 minutes", "seconds": 300.0}


def test_some_parts_can_be_had_and_what_is_none_is_refused(ran, monkeypatch, tmp_path, capsys):
    device = {"device": {"platform": "cpu"}}
    monkeypatch.setattr(on_gpu.provenance, "describe_apart", lambda: device)
    out = ["--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        on_gpu.main([*out, "--settings", "toy", "--parts", "metrics", "latency"])
    assert [part.name for part in ran] == ["latency", "metrics"]  # in their own order
    for words in (["--settings", "toy", "--parts", "speed"], []):
        with pytest.raises(SystemExit):
            on_gpu.main([*out, *words])
        assert capsys.readouterr().err.splitlines()[-1].count("expected") == 1
    assert len(ran) == 2
