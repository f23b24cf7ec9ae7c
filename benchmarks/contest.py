"""A contest: contenders in their own processes are shown to agree, then timed in turn."""

import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.agreement import agreement, apart
from benchmarks.timing import spread
from benchmarks.worker import Died, Worker

FRAMEWORKS = {"jax": "benchmarks.jax_worker", "torch": "benchmarks.torch_worker"}

Maps = Mapping[str, np.ndarray]

NO_TIME = "there was no time left"
"""Why a contender is absent that could have been there."""


SHARED_MEMORY = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.45",
}
"""Two frameworks share an accelerator's memory: each takes less than half of it."""


class Case(NamedTuple):
    """What is timed: a method on a batch of a problem's images.

    Attributes:
        problem: a name of `benchmarks.problems.PROBLEMS`.
        random: whether the contenders draw different numbers: their maps then only resemble, and
            need not agree to be timed.
    """

    problem: str
    method: str
    batch: int
    options: dict[str, Any] = {}  # noqa: RUF012
    random: bool = False

    def __str__(self) -> str:
        return f"{self.method}, {self.problem}, batch {self.batch}"

    def row(self) -> dict[str, Any]:
        """What a record says of the case."""
        return self._asdict()


class Contender(NamedTuple):
    """A way to compute the maps, by the name that the framework's worker knows."""

    framework: str
    name: str


class Workers(Mapping[str, Worker]):
    """A worker for each framework, started when first asked for, and again where it died.

    Attributes:
        deaths: of each framework's processes; with one goes all that was prepared in it.
    """

    def __init__(
        self,
        peer_python: str | None,
        modules: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        self._python = {"jax": sys.executable, "torch": peer_python or sys.executable}
        self._modules, self._environment = modules, dict(environment)
        self._running: dict[str, Worker] = {}
        self._missing: dict[str, str] = {}
        self.deaths: Counter[str] = Counter()

    def __getitem__(self, framework: str) -> Worker:
        if framework not in self._running:
            self._running[framework] = Worker(
                self._modules[framework],
                python=self._python[framework],
                environment=self._environment,
            )
        return self._running[framework]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def ask(self, framework: str, request: str, **details: Any) -> dict[str, Any]:
        """The worker's answer; "failed" where its process died, "absent" where it cannot start."""
        if framework in self._missing:
            return {"absent": self._missing[framework]}
        try:
            return self[framework].ask(request, **details)
        except Died as error:
            self.end(framework)
            if "No module named" not in str(error):
                return {"failed": str(error)}
            self._missing[framework] = str(error).rpartition(": ")[2]
            return {"absent": self._missing[framework]}

    def end(self, framework: str) -> None:
        """Ends a framework's process; the next request starts a fresh one."""
        worker = self._running.pop(framework, None)
        if worker is not None:
            worker.close()
            self.deaths[framework] += 1


@contextmanager
def workers(
    peer_python: str | None = None,
    *,
    modules: Mapping[str, str] = FRAMEWORKS,
    environment: Mapping[str, str] = {},
    one_gpu: bool = True,
) -> Iterator[Workers]:
    """Workers that end with the block: a module each framework, torch by its own interpreter.

    Args:
        one_gpu: whether they see a single GPU, as the peers use a single one.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    one = {"CUDA_VISIBLE_DEVICES": first} if one_gpu else {}
    running = Workers(peer_python, modules, {**SHARED_MEMORY, **one, **environment})
    try:
        yield running
    finally:
        for framework in running:
            running.end(framework)


@contextmanager
def problem_folders(running: Workers, cases: Iterable[Case]) -> Iterator[dict[str, Path]]:
    """The cases' problems, written to folders: each by name."""
    largest: dict[str, int] = {}
    for case in cases:
        largest[case.problem] = max(case.batch, largest.get(case.problem, 0))
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in largest}
        for name, folder in folders.items():
            made = running.ask(
                "jax", "create", problem=name, batch=largest[name], folder=str(folder)
            )
            if "failed" in made:
                raise RuntimeError(f"{name}: {made['failed']}")
        yield folders


def contest(
    running: Workers,
    case: Case,
    contenders: Iterable[Contender],
    folder: Path,
    *,
    rounds: int,
    precision: str,
    end: float = math.inf,
) -> list[dict[str, Any]]:
    """A row a contender: how far its maps are from the first's, and its times.

    The first contender is the reference. Whose maps are not the reference's (`agreement.apart`) has
    failed, and is not timed. All others run once a round, in turn; `ratio` is the median over
    rounds of its time over the reference's in the same round. Contenders that could only be
    prepared after `end` (of `time.monotonic`) are absent.
    """
    rows, reference = [], None
    entries = Entries(running, case, folder, precision)
    for contender in contenders:
        row: dict[str, Any] = {
            "case": str(case),
            **case.row(),
            "framework": contender.framework,
            "contender": contender.name,
        }
        answer: dict[str, Any] = {"absent": NO_TIME}
        found = None
        if time.monotonic() < end:
            answer, found = entries.prepare(contender)
        row |= answer
        if found is not None:
            expected = found if reference is None else reference
            row["agreement"] = agreement(found, expected)
            if why := _apart(row, found, expected, precision):
                row.pop("first_call_s")
                row["failed"] = why
            else:
                reference = expected
        rows.append(row)
    _time(entries, rows, rounds)
    return rows


def _apart(row: dict[str, Any], found: Maps, expected: Maps, precision: str) -> str | None:
    if not row["agreement"]:
        return f"maps of another shape: {_shapes(found)}, not {_shapes(expected)}"
    return apart(row, precision)


def _shapes(maps: Maps) -> str:
    return ", ".join(f"{name} {list(values.shape)}" for name, values in maps.items())


class Entries:
    """The contenders of a case: prepared, and again where their process died since."""

    def __init__(self, running: Workers, case: Case, folder: Path, precision: str) -> None:
        self._running, self._case = running, case
        self._folder, self._precision = folder, precision
        self._deaths: dict[Contender, int] = {}

    def prepare(self, contender: Contender) -> tuple[dict[str, Any], Maps | None]:
        """The worker's answer, and the maps by name unless it failed."""
        found = prepared(
            self._running, self._case, contender, self._folder, precision=self._precision
        )
        self._deaths[contender] = self._running.deaths[contender.framework]
        return found

    def run(self, contender: Contender) -> dict[str, Any]:
        """The seconds of a call; why not, where it failed or cannot be prepared again."""
        if self._deaths[contender] != self._running.deaths[contender.framework]:
            answer, maps = self.prepare(contender)
            if maps is None:
                return answer
        return self._running.ask(contender.framework, "run", id=contender.name)

    def forget(self) -> None:
        """Lets the processes forget them all."""
        for contender in self._deaths:
            self._running.ask(contender.framework, "forget", id=contender.name)


def prepared(
    running: Workers, case: Case, contender: Contender, folder: Path, *, precision: str
) -> tuple[dict[str, Any], Maps | None]:
    """Prepares a contender: the worker's answer, and the maps by name unless it failed."""
    maps = folder / "maps.npz"
    answer = running.ask(
        contender.framework,
        "prepare",
        id=contender.name,
        out=str(maps),
        contender=contender.name,
        problem=str(folder),
        batch=case.batch,
        method=case.method,
        options=case.options,
        precision=precision,
    )
    return answer, dict(np.load(maps)) if "first_call_s" in answer else None


def _time(entries: Entries, rows: list[dict[str, Any]], rounds: int) -> None:
    timed = [row for row in rows if "first_call_s" in row]
    seconds: dict[int, list[float]] = {id(row): [] for row in timed}
    for turn in range(rounds + 1):
        for row in list(timed):
            answer = entries.run(Contender(row["framework"], row["contender"]))
            if "seconds" not in answer:
                row |= answer
                timed.remove(row)
            elif turn:  # the first turn warms up
                seconds[id(row)].append(answer["seconds"])
    # Ratios are to the first contender's; without it there are none.
    first = seconds[id(rows[0])] if rows and rows[0] in timed else []
    for row in timed:
        own = seconds[id(row)]
        row["time"] = spread(own)
        row["images_per_s"] = round(row["batch"] / statistics.median(own), 3)
        ratios = [math.nan]
        if first:
            ratios = [mine / theirs for mine, theirs in zip(own, first, strict=True)]
        row["ratio"] = round(statistics.median(ratios), 3)
        row["ratios"] = [round(min(ratios), 3), round(max(ratios), 3)]
    entries.forget()
