"""A contest: contenders in their own processes are shown to agree, then timed in turn."""

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.timing import spread
from benchmarks.worker import Died, Worker

FRAMEWORKS = {"jax": "benchmarks.jax_worker", "torch": "benchmarks.torch_worker"}


SHARED_MEMORY = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.45",
}
"""Two frameworks share an accelerator's memory: each takes less than half of it."""


RANKED = 16
"""Images whose pixels are ranked: on a CPU, while an accelerator waits."""


class Case(NamedTuple):
    """What is timed: a method on a batch of a problem's images.

    Attributes:
        problem: a name of `benchmarks.problems.PROBLEMS`.
        random: whether the contenders draw different numbers: their maps then only resemble.
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
    """A worker for each framework, started when first asked for, and again where it died."""

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

    The first contender is the reference. All run once a round, in turn; `ratio` is the median over
    rounds of its time over the reference's in the same round. Contenders that could only be
    prepared after `end` (of `time.monotonic`) are absent.
    """
    rows, reference = [], None
    for contender in contenders:
        row: dict[str, Any] = {
            "case": str(case),
            **case.row(),
            "framework": contender.framework,
            "contender": contender.name,
        }
        answer: dict[str, Any] = {"absent": "there was no time left"}
        found = None
        if time.monotonic() < end:
            answer, found = prepared(running, case, contender, folder, precision=precision)
        row |= answer
        if found is not None:
            reference = found if reference is None else reference
            row["agreement"] = agreement(found, reference)
            if not row["agreement"]:  # only maps that were compared are timed
                row.pop("first_call_s")
                row["failed"] = f"maps of another shape: {_shapes(found)}, not {_shapes(reference)}"
        rows.append(row)
    _time(running, rows, rounds)
    return rows


def prepared(
    running: Workers, case: Case, contender: Contender, folder: Path, *, precision: str
) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
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


def _time(running: Workers, rows: list[dict[str, Any]], rounds: int) -> None:
    timed = [row for row in rows if "first_call_s" in row]
    seconds: dict[int, list[float]] = {id(row): [] for row in timed}
    for turn in range(rounds + 1):
        for row in list(timed):
            answer = running.ask(row["framework"], "run", id=row["contender"])
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
    for row in rows:
        running.ask(row["framework"], "forget", id=row["contender"])


def agreement(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """How far maps are from the reference's, over the images.

    Returns:
        largest, median: differences as shares of the reference's largest value.
        cosine, spearman: the least of the correlation with the reference, over as many images as
            `RANKED`.
    """
    found, expected = ({n: _plain(x) for n, x in maps.items()} for maps in (found, expected))
    shared = sorted(set(found) & set(expected))
    if not shared or any(found[name].shape != expected[name].shape for name in shared):
        return {}
    ours = np.concatenate([found[name].reshape(len(found[name]), -1) for name in shared], 1)
    theirs = np.concatenate([expected[n].reshape(len(expected[n]), -1) for n in shared], 1)
    scale = max(float(np.abs(theirs).max()), 1e-30)
    gaps = np.abs(ours - theirs) / scale
    pairs = list(zip(ours[:RANKED], theirs[:RANKED], strict=True))
    return {
        "largest": float(gaps.max()),
        "median": float(np.median(gaps)),
        "cosine": min(_cosine(a, b) for a, b in pairs),
        "spearman": min(_cosine(_centred(_ranks(a)), _centred(_ranks(b))) for a, b in pairs),
    }


def _plain(maps: np.ndarray) -> np.ndarray:
    """Maps of one channel, [B, H, W, 1], as [B, H, W]."""
    return maps[..., 0] if maps.ndim == 4 and maps.shape[-1] == 1 else maps


def _shapes(maps: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {list(values.shape)}" for name, values in maps.items())


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else float(np.array_equal(a, b))


def _centred(a: np.ndarray) -> np.ndarray:
    return a - a.mean()


def _ranks(a: np.ndarray) -> np.ndarray:
    """Mean ranks: equal values share theirs."""
    _, inverse, counts = np.unique(a, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((2 * ends - counts - 1) / 2)[inverse.ravel()]
