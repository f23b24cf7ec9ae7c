"""Seconds of the first call, with an empty and a full compilation cache."""

import tempfile
from typing import Any, NamedTuple

from benchmarks.contest import Case, Contender, prepared, problem_folders, workers
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
                seconds = {}
                for state in ("cold", "cached"):
                    running.end("jax")  # nothing stays in a process
                    running.ask("jax", "about")
                    answer, _ = prepared(running, case, contender, folder, precision="highest")
                    seconds[f"{state}_s"] = answer.get("first_call_s")
                rows.append({**case.row(), "contender": contender.name, **seconds})
                print(_line(rows[-1]), flush=True)
    return {"rows": rows}


def _cached(cache: str) -> dict[str, str]:
    return {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _line(row: dict[str, Any]) -> str:
    cold, cached = row["cold_s"], row["cached_s"]
    figures = f"{cold:6.2f} s first, {cached:6.2f} s cached" if cold and cached else "failed"
    return f"{row['method']:<24}{row['contender']:<12}{figures}"
