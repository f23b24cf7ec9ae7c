"""Peak memory of integrated gradients against the number of steps, beside captum and PyTorch.

On a CPU the peak is the process's, over what it held before the call: each figure comes from a
fresh process.
"""

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contest import Case, Contender, Workers, prepared, problem_folders, workers

CONTENDERS = (
    Contender("jax", "jaxsal"),
    Contender("jax", "plain jax"),
    Contender("torch", "captum"),
    Contender("torch", "captum, chunk 32"),
    Contender("torch", "torch"),
)


class Settings(NamedTuple):
    """What is measured; `rounds` is not used: memory does not vary."""

    problem: str
    batch: int
    steps: tuple[int, ...] = (10, 100, 1000)
    precision: str = "highest"
    rounds: int = 1


SETTINGS = {
    "cpu": Settings("cnn-128", 1),
    "gpu": Settings("cnn-224", 8, precision="tf32"),
    "toy": Settings("cnn-toy", 1, steps=(2, 4)),
}


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each number of steps and contender."""
    method = "integrated_gradients"
    cases = [
        Case(settings.problem, method, settings.batch, {"steps": steps}) for steps in settings.steps
    ]
    rows = []
    with workers(peer_python) as running, problem_folders(running, cases) as folders:
        folder = folders[settings.problem]
        for case in cases:
            asked = {"problem": str(folder), "batch": case.batch, "options": case.options}
            program = running.ask("jax", "describe", method_name=method, **asked)
            for contender in CONTENDERS:
                row = {"contender": contender.name, **case.row()}
                row |= _peak(running, contender, case, folder, settings.precision)
                if contender.name == "jaxsal":
                    row["program_bytes"] = program.get("bytes")
                rows.append(row)
                print(_line(row), flush=True)
    return {"rows": rows}


def _peak(
    running: Workers, contender: Contender, case: Case, folder: Path, precision: str
) -> dict[str, Any]:
    """Bytes above what an idle worker holds."""
    running.end(contender.framework)
    idle = running.ask(contender.framework, "peak")
    if "bytes" not in idle:
        return idle
    answer, maps = prepared(running, case, contender, folder, precision=precision)
    if maps is None:
        return answer
    return {"peak_bytes": running.ask(contender.framework, "peak")["bytes"] - idle["bytes"]}


def _line(row: dict[str, Any]) -> str:
    head = f"{row['options']['steps']:>5} steps  {row['contender']:<20}"
    if "peak_bytes" not in row:
        return head + (row.get("absent") or row.get("failed", ""))
    program = row.get("program_bytes")
    own = f"  program {program / 2**20:9.1f} MiB" if program else ""
    return f"{head}{row['peak_bytes'] / 2**20:>9.1f} MiB{own}"
