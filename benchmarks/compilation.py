"""Seconds of the first call, with an empty and a full compilation cache, and of a later one."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contest import Case, Contender, Workers, prepared, problem_folders, workers
from benchmarks.throughput import options


class Settings(NamedTuple):
    """What is measured; `tiny` is a problem so small that a call takes as long as its dispatch."""

    problem: str
    batch: int
    tiny: str = "cnn-toy"
    methods: tuple[str, ...] = ("gradient", "integrated_gradients", "smoothgrad", "occlusion")
    rounds: int = 50


SETTINGS = {
    "cpu": Settings("cnn-128", 8),
    "gpu": Settings("resnet50-224", 8),
    "toy": Settings("cnn-toy", 2, methods=("gradient",), rounds=2),
}

CONTENDERS = (Contender("jax", "jaxsal"), Contender("jax", "plain jax"))


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each method: first calls of both forms, cold and cached, and dispatches."""
    cases = [
        Case(settings.problem, name, settings.batch, options(settings.problem, name))
        for name in settings.methods
    ]
    tiny = Case(settings.tiny, "gradient", 1)
    rows = []
    with (
        tempfile.TemporaryDirectory() as cache,
        workers(peer_python, environment=_cached(cache)) as running,
        problem_folders(running, [*cases, tiny]) as folders,
    ):
        for case in cases:
            folder = folders[case.problem]
            for contender in CONTENDERS:
                seconds = {}
                for state in ("cold", "cached"):
                    running.end("jax")  # nothing stays in a process
                    running.ask("jax", "about")
                    answer, _ = prepared(running, case, contender, folder, precision="highest")
                    seconds[f"{state}_s"] = answer.get("first_call_s")
                rows.append({**case.row(), "contender": contender.name, **seconds})
                print(_line(rows[-1]), flush=True)
        dispatches = {
            name: _dispatch(running, tiny, name, folders[tiny.problem], settings.rounds)
            for name in ("jaxsal", "jaxsal unchecked", "plain jax")
        }
    for name, value in dispatches.items():
        print(f"a later call of {name} on a tiny problem: {value * 1e6:.0f} us", flush=True)
    return {"rows": rows, "later_call_s": dispatches}


def _cached(cache: str) -> dict[str, str]:
    return {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _dispatch(running: Workers, case: Case, name: str, folder: Path, rounds: int) -> float:
    """Seconds of the fastest of several calls."""
    prepared(running, case, Contender("jax", name), folder, precision="highest")
    return min(running.ask("jax", "run", id=name)["seconds"] for _ in range(rounds))


def _line(row: dict[str, Any]) -> str:
    cold, cached = row["cold_s"], row["cached_s"]
    figures = f"{cold:6.2f} s first, {cached:6.2f} s cached" if cold and cached else "failed"
    return f"{row['method']:<24}{row['contender']:<12}{figures}"
