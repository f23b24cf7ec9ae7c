"""Images a second of a training step of a network like the study's, beside PyTorch."""

from typing import Any, NamedTuple

from benchmarks.contest import Case, Contender, contest, problem_folders, workers
from benchmarks.throughput import row_text

CONTENDERS = (
    Contender("jax", "jit"),
    Contender("jax", "pmap"),
    Contender("jax", "jit without rewrites"),
    Contender("jax", "jit bfloat16"),
    Contender("torch", "torch"),
    Contender("torch", "torch channels_last"),
    Contender("torch", "torch compiled"),
    Contender("torch", "torch bfloat16"),
)


class Settings(NamedTuple):
    """What is measured: (problem, batch) each."""

    cases: tuple[tuple[str, int], ...]
    rounds: int = 7
    precision: str = "highest"


SETTINGS = {
    "cpu": Settings((("study-128", 32), ("study-64", 64))),
    "gpu": Settings((("study-128", 512), ("study-224", 256)), rounds=20, precision="tf32"),
    "gpu-short": Settings((("study-128", 512),), rounds=20, precision="tf32"),
    "toy": Settings((("study-toy", 4),), rounds=1),
}


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each case and contender; what must agree are the loss and a kernel after a step."""
    cases = [Case(problem, "training step", batch) for problem, batch in settings.cases]
    modules = {"jax": "benchmarks.jax_training", "torch": "benchmarks.torch_training"}
    rows = []
    with (
        workers(peer_python, modules=modules) as running,
        problem_folders(running, cases) as folders,
    ):
        for case in cases:
            print(f"\n{case}", flush=True)
            for row in contest(
                running,
                case,
                CONTENDERS,
                folders[case.problem],
                rounds=settings.rounds,
                precision=settings.precision,
            ):
                rows.append(row)
                print(row_text(row), flush=True)
        about = {name: running.ask(name, "about") for name in running}
    return {"precision": settings.precision, "frameworks": about, "rows": rows}
