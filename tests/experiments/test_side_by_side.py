"""Work in several processes at once: what it prints, how it fails, and that it ends."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import pytest

from experiments import side_by_side

NAMES = ("a", "b")


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, Path]:
    return {name: tmp_path / "new" / f"{name}.log" for name in NAMES}


def test_each_has_its_share_of_the_cores_and_prints_into_its_log(logs: dict[str, Path]) -> None:
    told = partial(exec, "import os; print(sorted(os.sched_getaffinity(0)))")
    side_by_side.run(dict.fromkeys(NAMES, told), logs)
    seen = [eval(logs[name].read_text()) for name in NAMES]
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        assert sorted(seen[0] + seen[1]) == cores
    else:
        assert seen == [cores, cores]


def test_an_error_is_told_and_raised_when_the_other_has_ended(
    logs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        side_by_side.run(
            {"a": partial(eval, "1 / 0"), "b": partial(exec, "print('done', flush=True)")}, logs
        )
    assert logs["b"].read_text() == "done\n"
    told = capsys.readouterr().out
    assert "a: stopped, ZeroDivisionError: division by zero" in told
    assert "b: finished" in told


def test_a_process_ended_from_outside_is_an_error_of_its_own(logs: dict[str, Path]) -> None:
    with pytest.raises(ChildProcessError, match="one of 2 processes was ended from outside"):
        side_by_side.run({"a": partial(os._exit, 1), "b": partial(print, "done")}, logs)


def test_processes_end_with_the_one_that_started_them(logs: dict[str, Path]) -> None:
    waits = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    program = (
        "from functools import partial\nfrom pathlib import Path\n"
        "from experiments import side_by_side\nif __name__ == '__main__':\n"
        f"    work = dict.fromkeys({NAMES!r}, partial(exec, {waits!r}))\n"
        f"    logs = {{name: Path({str(logs['a'].parent)!r}) / (name + '.log') for name in work}}\n"
        "    side_by_side.run(work, logs)\n"
    )
    script = logs["a"].parent.parent / "starts.py"
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
    cores = len(os.sched_getaffinity(0))
    assert [side_by_side.at_once(asked) for asked in (1, 3, None)] == [1, 3, cores]
    with pytest.raises(ValueError, match="at_once: expected at least 1, got 0"):
        side_by_side.at_once(0)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [side_by_side.at_once(asked) for asked in (1, None)] == [1, 1]
    with pytest.raises(ValueError, match="2 cannot be worked on at once, as they would share one"):
        side_by_side.at_once(2)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(ValueError, match="as this is one of 4 processes; expected 1"):
        side_by_side.at_once(2)
