"""Several processes give what one gives; where one dies the others stop, and a restart goes on."""

import functools
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxsal.training import parameter_files
from tests import processes


@functools.cache
def alone(out: Path) -> dict[str, np.ndarray]:
    """The same work in this process alone."""
    return parameter_files.flatten(processes.results(out / "alone", modes=("jit",)))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


SIGNS = {
    0: ("closed by peer", "JAX distributed service"),
    1: (
        "Connection closed by peer",
        "stopped sending heartbeats",
        # What the dead one had sent arrives at the collective after the one that failed.
        "Received data size doesn't match",
    ),
}
"""What a process says that stops because another, by its number, is gone, whichever it notices."""


def agree(out: Path, count: int, expected: dict[str, np.ndarray]) -> None:
    for process in range(count):
        with np.load(out / f"results-{process}.npz") as found:
            for name in found.files:
                if not name.endswith(" resumed"):
                    one = expected[name.replace("pmap/", "jit/")]
                    np.testing.assert_allclose(found[name], one, rtol=0, atol=2e-5, err_msg=name)


def test_four_processes_give_what_one_gives(place) -> None:
    codes = processes.end(processes.start(place / "four", 4, "--modes", "jit"), 120)
    assert codes == [0] * 4, (place / "four/0.log").read_text()[-3000:]
    agree(place / "four", 4, alone(place))


def test_two_stop_where_one_is_killed_and_go_on_to_the_same_end(place) -> None:
    """The first holds the service by which all find each other; with it all connections go."""
    out = place / "two"
    for moment, victim in (("store", 0), ("train", 1)):
        begun = processes.start(out, 2, "--die", moment, "--victim", str(victim), devices=2)
        begun[victim].wait(120)
        dead = time.monotonic()
        codes = processes.end(begun, 60)
        told = (out / f"{1 - victim}.log").read_text()
        assert codes[victim] == -signal.SIGKILL, told[-3000:]
        assert codes[1 - victim] not in (0, None), told[-3000:]
        assert time.monotonic() - dead < 60
        assert any(sign in told for sign in SIGNS[victim]), told[-3000:]
    codes = processes.end(processes.start(out, 2, devices=2), 120)
    assert codes == [0, 0], (out / "0.log").read_text()[-3000:]
    agree(out, 2, alone(place))
    with np.load(out / "results-0.npz") as found:
        # Checkpoints are written while training goes on: the last one may not have been whole yet.
        assert int(found["jit resumed"]) in (1, 2)
    assert jax.process_count() == 1
