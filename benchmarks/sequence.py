"""Parts of a run one after another: each in a process of its own, which may fail or take too long.

A process that ends leaves no memory behind. What earlier parts have written stays.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

FINISHED = "finished"


class Part(NamedTuple):
    """A part: `python -m WORDS...`, stopped after so many minutes."""

    name: str
    words: tuple[str, ...]
    minutes: float = math.inf


class Outcome(NamedTuple):
    """How a part ended: `FINISHED`, or why not."""

    part: str
    ended: str
    seconds: float


def in_turn(parts: Iterable[Part], minutes: float = math.inf) -> list[Outcome]:
    """Runs parts in their order, of which none goes on after so many minutes in all."""
    end = time.monotonic() + 60 * minutes
    outcomes = []
    for part in parts:
        print(f"\n== {part.name}", flush=True)
        begin = time.monotonic()
        ended = _run(part, min(60 * part.minutes, end - begin))
        outcomes.append(Outcome(part.name, ended, round(time.monotonic() - begin, 1)))
        if ended != FINISHED:
            print(f"{part.name}: {ended}", flush=True)
    return outcomes


def _run(part: Part, seconds: float) -> str:
    """How it ended."""
    if seconds <= 0:
        return "left out: there was no time left"
    command = [sys.executable, "-m", *part.words]
    # In a group of its own: its workers, which hold the device, end with it.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        code = process.wait(None if math.isinf(seconds) else seconds)
    except subprocess.TimeoutExpired:
        return f"stopped after {seconds / 60:.3g} minutes"
    finally:
        _end(process)
    return FINISHED if code == 0 else f"failed with exit code {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of a process and of those that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
