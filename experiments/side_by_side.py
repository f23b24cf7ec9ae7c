"""Work done at the same time on a CPU: each piece in a process with its share of the cores.

A small network does not use two cores twice as well as one: see experiments/README.md for how much
that is worth.
"""

import contextlib
import itertools
import math
import multiprocessing
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar, cast

import jax

K = TypeVar("K")
T = TypeVar("T")

AFFINITY = hasattr(os, "sched_setaffinity")
"""Whether this system lets a process choose its cores."""


def at_once(asked: int | None) -> int:
    """How many pieces are worked on at a time: as asked; `None` is one a core of a CPU.

    Where a process cannot choose its cores, `None` is one piece.

    Raises:
        ValueError: fewer than one, or several where processes would share an accelerator, or where
            this is one of several processes already.
    """
    if asked is not None and asked < 1:
        raise ValueError(f"at_once: expected at least 1, got {asked}")
    platform, processes = jax.default_backend(), jax.process_count()
    alone = "" if platform == "cpu" else f"they would share one {platform}"
    if processes > 1:
        alone = f"this is one of {processes} processes"
    if alone and (asked or 1) > 1:
        raise ValueError(f"at_once: {asked} cannot be worked on at once, as {alone}; expected 1")
    if asked or alone or not AFFINITY:
        return asked or 1
    return max(1, math.floor(min(len(_cores()), _quota())))


def groups(items: Sequence[T], most: int) -> Iterator[tuple[T, ...]]:
    """The items in turn, so many at a time; the last may be fewer."""
    rest = iter(items)
    while group := tuple(itertools.islice(rest, most)):
        yield group


def run(work: Mapping[K, Callable[[], T]], logs: Mapping[K, Path]) -> Iterator[tuple[K, T]]:
    """What each function returns, as they end; all are called at once.

    An error of one does not stop the others: it is told when it comes, and raised when all have
    ended. They end with this process, however it ends.

    Args:
        work: functions by name; they and what they return must pickle.
        logs: what they print, by the same names; appended to.

    Raises:
        Exception: the first that a function raised; its traceback is in the log.
        ChildProcessError: a process was ended from outside.
    """
    running: dict[connection.Connection, tuple[K, Any]] = {}
    errors: list[BaseException] = []
    try:
        for (name, function), cores in zip(work.items(), _shares(len(work)), strict=True):
            running |= _started(name, function, logs[name], cores)
        while running:
            for pipe in cast(list[connection.Connection], connection.wait([*running])):
                name, process = running.pop(pipe)
                value, error = _received(pipe, process, logs[name])
                how = f"stopped, {type(error).__name__}: {error}" if error else "finished"
                print(f"   {logs[name]}: {how}", flush=True)
                if error:
                    errors.append(error)
                else:
                    yield name, value
    finally:
        for _, process in running.values():
            process.kill()  # such as where this process was interrupted
    if errors:
        raise errors[0]


def _started(
    name: K, function: Callable[[], object], log: Path, cores: set[int]
) -> dict[connection.Connection, tuple[K, Any]]:
    """A process that works on a piece, by the pipe through which it tells how that ended."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_alone, args=(function, log, cores, there))
    process.start()
    there.close()  # the process has the only one then: the pipe ends where it does
    return {here: (name, process)}


def _received(pipe: connection.Connection, process: Any, log: Path) -> tuple[Any, Any]:
    """What a function returned, and what it raised."""
    try:
        return tuple(pipe.recv())
    except EOFError:
        process.join()
        text = (
            f"at_once: the process of {log} was ended from outside (exit code {process.exitcode}),"
            " as happens where memory runs out. The same command goes on from what is finished; "
            "with a smaller at_once it takes less memory"
        )
        return None, ChildProcessError(text)


def _alone(
    function: Callable[[], object], log: Path, cores: set[int], pipe: connection.Connection
) -> None:
    """Calls the function in a process of its own, before JAX has counted the cores there."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if cores:
        os.sched_setaffinity(0, cores)
    with (
        log.open("a", buffering=1) as out,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        try:
            pipe.send((function(), None))
        except BaseException as error:
            traceback.print_exc()
            pipe.send((None, _picklable(error)))


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    connection.wait([parent.sentinel])
    os._exit(1)


def _picklable(error: BaseException) -> BaseException:
    """The error, or its words where it does not come through a pipe."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _quota() -> float:
    """How many cores' time this process's control group may take."""
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(most) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


def _cores() -> list[int]:
    """Those that this process may use; none where it cannot choose."""
    return sorted(os.sched_getaffinity(0)) if AFFINITY else []


def _shares(number: int) -> list[set[int]]:
    """The cores dealt out; none where there are too few, or where they cannot be chosen."""
    cores = _cores()
    if len(cores) < number:
        return [set()] * number
    return [set(cores[i::number]) for i in range(number)]
