"""Work done at the same time on a CPU: each piece in a process with its share of the cores.

A small network does not use two cores twice as well as one. A training step of the study's, with
jax 0.10 on two cores: 178 ms on both, 286 ms on one of them while the other takes another step, so
that two trainings take 0.8 of the time that they take in turn. (With jax 0.12: 152 and 321 ms.)
"""

import contextlib
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def at_once(asked: int | None) -> int:
    """How many pieces are worked on at a time: as asked; `None` is one a core of a CPU.

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
    return 1 if alone else asked or len(_cores())


def groups(items: Sequence[T], most: int) -> Iterator[tuple[T, ...]]:
    """The items in turn, so many at a time; the last may be fewer."""
    rest = iter(items)
    while group := tuple(itertools.islice(rest, most)):
        yield group


def run(work: Mapping[str, Callable[[], object]], logs: Mapping[str, Path]) -> None:
    """Calls each function (they must pickle), all at once; what they print goes into their logs.

    An error of one does not stop the others. It is told when it comes, and raised when all have
    ended. They end with this process, however it ends.

    Args:
        work: by name.
        logs: by the same names; appended to.

    Raises:
        Exception: the first that a function raised.
        ChildProcessError: a process was ended from outside; the others then end too.
    """
    cores = _shares(_cores(), len(work))
    with ProcessPoolExecutor(len(work), multiprocessing.get_context("spawn")) as pool:
        running = {
            pool.submit(_alone, function, logs[name], share): name
            for (name, function), share in zip(work.items(), cores, strict=True)
        }
        failed = [error for error in _ended(running) if error]
    if not failed:
        return
    if isinstance(failed[0], BrokenExecutor):
        raise ChildProcessError(
            f"at_once: one of {len(work)} processes was ended from outside, as happens where "
            "memory runs out. The same command goes on from what is finished; with a smaller "
            "at_once it takes less memory"
        ) from failed[0]
    raise failed[0]


def _ended(running: Mapping["Future[None]", str]) -> Iterable[BaseException | None]:
    """As each piece ends: its error, which is also told, or None."""
    for future in as_completed(running):
        error = future.exception()
        how = f"stopped, {type(error).__name__}: {error}" if error else "finished"
        print(f"   {running[future]}: {how}", flush=True)
        yield error


def _alone(function: Callable[[], object], log: Path, cores: set[int]) -> None:
    """Calls the function in a process of its own, before JAX has counted the cores there."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if cores:
        os.sched_setaffinity(0, cores)
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a") as out,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        function()


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    connection.wait([parent.sentinel])
    os._exit(1)


def _cores() -> list[int]:
    """Those that this process may use; where the system does not say so, all."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _shares(cores: Sequence[int], number: int) -> list[set[int]]:
    """The cores dealt out; none where there are too few, or where they cannot be chosen."""
    if len(cores) < number or not hasattr(os, "sched_setaffinity"):
        return [set()] * number
    return [set(cores[i::number]) for i in range(number)]
