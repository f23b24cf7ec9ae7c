"""Images a second against the number of devices: the explainer over a mesh of 1, 2, ... devices.

On a CPU the devices are virtual and share the cores: the figures show what sharding costs, not
what it brings.
"""

import os
from typing import Any, NamedTuple

from benchmarks.contest import Case, Contender, contest, problem_folders, workers


class Settings(NamedTuple):
    """What is measured: a method's options, and the counts of devices."""

    problem: str
    batch: int
    method: str = "gradient"
    devices: tuple[int, ...] = (1, 2)
    rounds: int = 7
    precision: str = "highest"


SETTINGS = {
    "cpu": Settings("cnn-128", 32),
    "gpu": Settings("cnn-224", 1024, devices=(1, 2, 4, 8), precision="tf32", rounds=20),
    "toy": Settings("cnn-toy", 4, rounds=1),
}


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each number of devices; all are in one process and take turns."""
    case = Case(settings.problem, settings.method, settings.batch)
    virtual = f"--xla_force_host_platform_device_count={max(settings.devices)}"
    flags = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {virtual}".strip()}
    contenders = [Contender("jax", f"jaxsal on {count}") for count in settings.devices]
    with (
        workers(peer_python, environment=flags, one_gpu=False) as running,
        problem_folders(running, [case]) as folders,
    ):
        rows = contest(
            running,
            case,
            contenders,
            folders[case.problem],
            rounds=settings.rounds,
            precision=settings.precision,
        )
    for count, row in zip(settings.devices, rows, strict=True):
        row["devices"] = count
        said = row.get("absent") or row.get("failed")
        print(f"{count:>3} devices  " + (said or f"{row['images_per_s']:.1f} img/s"), flush=True)
    return {"precision": settings.precision, "rows": rows}
