"""Seconds of the first call, with an empty and a full compilation cache, and of a warm one.

A first call compiles and runs: without what a warm call takes it is little but compilation.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contest import Case, Contender, Workers, prepared, problem_folders, workers
from benchmarks.throughput import options


class Settings(NamedTuple):
    """What is measured."""

    problem: str
    batch: int
    methods: tuple[str, ...] = ("gradient", "integrated_gradients", "smoothgrad", "occlusion")
    rounds: int = 1  # not used: a first call is called once


SETTINGS = {
    "cpu": Settings("cnn-128", 8),
    "gpu": Settings("resnet50-224", 8),
    "toy": Settings("cnn-toy", 2, methods=("gradient",)),
}

CONTENDERS = (Contender("jax", "jaxsal"), Contender("jax", "plain jax"))


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each method and form: first calls, cold and cached."""
    cases = [
        Case(settings.problem, name, settings.batch, options(settings.problem, name))
        for name in settings.methods
    ]
    rows = []
    with (
        tempfile.TemporaryDirectory() as cache,
        workers(peer_python, environment=_cached(cache)) as running,
        problem_folders(running, cases) as folders,
    ):
        for case in cases:
            folder = folders[case.problem]
            for contender in CONTENDERS:
                rows.append(case.row() | calls(running, case, contender, folder))
                print(_line(rows[-1]), flush=True)
    return {"rows": rows}


STATES = ("cold", "cached")
"""Of the compilation cache."""


def calls(running: Workers, case: Case, contender: Contender, folder: Path) -> dict[str, Any]:
    """Seconds of first calls in processes of their own, and the least of their second calls."""
    row: dict[str, Any] = {"contender": contender.name, "warm_s": None}
    warm = []
    for state in STATES:
        running.end("jax")  # nothing stays in a process
        running.ask("jax", "about")
        first, _ = prepared(running, case, contender, folder, precision="highest")
        row[f"{state}_s"] = first.get("first_call_s")
        again = running.ask("jax", "run", id=contender.name) if row[f"{state}_s"] else first
        row |= {name: again[name] for name in ("failed", "absent") if name in again}
        warm += [again["seconds"]] if "seconds" in again else []
    return row | {"warm_s": min(warm)} if warm else row


def _cached(cache: str) -> dict[str, str]:
    return {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _line(row: dict[str, Any]) -> str:
    figures = row.get("failed") or row.get("absent")
    if row["warm_s"] and not figures:
        told = {"first": row["cold_s"], "cached": row["cached_s"], "warm": row["warm_s"]}
        figures = ", ".join(f"{seconds:6.2f} s {name}" for name, seconds in told.items())
    return f"{row['method']:<24}{row['contender']:<12}{figures}"
