"""Work in several processes at once: what it prints, how it fails, and that it ends."""

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import jax
import pytest

from experiments import side_by_side

NAMES = ("a", "b")


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, Path]:
    return {name: tmp_path / f"{name}.log" for name in NAMES}


def run(work: dict, logs: dict[str, Path]) -> dict:
    return dict(side_by_side.run(work, logs))


@pytest.mark.skipif(not side_by_side.AFFINITY, reason="a process cannot choose its cores here")
def test_each_has_its_share_of_the_cores(logs: dict[str, Path]) -> None:
    seen = run(dict.fromkeys(NAMES, partial(eval, "__import__('os').sched_getaffinity(0)")), logs)
    cores = os.sched_getaffinity(0)
    shares = [seen[name] for name in NAMES]
    if len(cores) > 1:
        assert shares[0] | shares[1] == cores and not shares[0] & shares[1]
    else:
        assert shares == [cores, cores]


def test_an_error_is_told_and_raised_when_the_other_has_ended(
    logs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = {}
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        for name, value in side_by_side.run(
            {"a": partial(eval, "1 / 0"), "b": partial(exec, "print('done')")}, logs
        ):
            ended[name] = value
    assert ended == {"b": None}
    assert logs["b"].read_text() == "done\n"
    assert "Traceback" in logs["a"].read_text()
    told = capsys.readouterr().out
    assert "a.log: stopped, ZeroDivisionError: division by zero" in told
    assert "b.log: finished" in told


def test_an_error_that_does_not_pickle_comes_in_words(logs: dict[str, Path]) -> None:
    kind = "type('Odd', (Exception,), {'__init__': lambda self, a, b: None})"
    with pytest.raises(RuntimeError, match=r"^Odd: "):
        run({"a": partial(exec, f"raise {kind}(1, 2)"), "b": partial(int, 3)}, logs)


def test_a_process_ended_from_outside_is_told_at_once_and_alone(tmp_path: Path) -> None:
    """The others go on: they wait for what is written when it is told."""
    logs = {name: tmp_path / f"{name}.log" for name in "abc"}
    go = tmp_path / "go"
    waits = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"

    class Tells:
        def write(self, text: str) -> int:
            if "c.log: stopped, ChildProcessError" in text:
                go.touch()
            return len(text)

        def flush(self) -> None: ...

    work = {"a": partial(exec, waits), "b": partial(int, 3), "c": partial(os._exit, 7)}
    ended = []
    with (
        redirect_stdout(Tells()),
        pytest.raises(ChildProcessError, match=r"c.log was ended from outside \(exit code 7\)"),
    ):
        ended.extend(name for name, _ in side_by_side.run(work, logs))
    assert sorted(ended) == ["a", "b"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked for there")
def test_processes_end_with_the_one_that_started_them(logs: dict[str, Path]) -> None:
    waits = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    program = (
        "from functools import partial\nfrom pathlib import Path\n"
        "from experiments import side_by_side\nif __name__ == '__main__':\n"
        f"    work = dict.fromkeys({NAMES!r}, partial(exec, {waits!r}))\n"
        f"    logs = {{name: Path({str(logs['a'].parent)!r}) / (name + '.log') for name in work}}\n"
        "    dict(side_by_side.run(work, logs))\n"
    )
    script = logs["a"].parent / "starts.py"
    script.write_text(program)
    parent = subprocess.Popen(
        [sys.executable, str(script)], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        _until(lambda: all(log.exists() and log.read_text() for log in logs.values()))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    children = [int(log.read_text()) for log in logs.values()]
    _until(lambda: not any(_runs(pid) for pid in children))


def _until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether the process is there, and not one that waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_items_are_taken_so_many_at_a_time() -> None:
    assert list(side_by_side.groups((1, 2, 3, 4, 5), 2)) == [(1, 2), (3, 4), (5,)]
    assert list(side_by_side.groups((1, 2), 5)) == [(1, 2)]


def test_as_many_at_once_as_asked_or_as_there_are_cores(monkeypatch) -> None:
    monkeypatch.setattr(side_by_side, "_quota", lambda: 1.5)
    assert [side_by_side.at_once(asked) for asked in (1, 3, None)] == [1, 3, 1]
    monkeypatch.setattr(side_by_side, "_quota", lambda: math.inf)
    if side_by_side.AFFINITY:
        assert side_by_side.at_once(None) == len(os.sched_getaffinity(0))
    with pytest.raises(ValueError, match="at_once: expected at least 1, got 0"):
        side_by_side.at_once(0)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [side_by_side.at_once(asked) for asked in (1, None)] == [1, 1]
    with pytest.raises(ValueError, match="2 cannot be worked on at once, as they would share one"):
        side_by_side.at_once(2)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(ValueError, match="as this is one of 4 processes; expected 1"):
        side_by_side.at_once(2)
