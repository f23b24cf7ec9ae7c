"""Deletion and insertion: images a second beside the same loop in PyTorch, and memory by steps.

And metrics of several maps of an image, in one call and in a call a map. The values are shown to
agree before anything is timed. Memory is the compiler's own analysis of the program: it must not
grow with the number of steps.
"""

from typing import Any, NamedTuple

from benchmarks.contest import Case, Contender, Workers, contest, problem_folders, workers
from benchmarks.throughput import row_text

MODULES = {"jax": "benchmarks.jax_metrics", "torch": "benchmarks.torch_metrics"}
CURVES = {"deletion": "black", "insertion": "blur"}
"""The metrics and their baselines."""

CONTENDERS = (
    Contender("jax", "jaxsal"),
    Contender("torch", "torch"),
    Contender("torch", "torch channels_last"),
    Contender("torch", "torch, 32 at a time"),
    Contender("torch", "torch channels_last, 32 at a time"),
    Contender("torch", "torch compiled channels_last, 32 at a time"),
)

PROGRAM_BATCH = 32
"""Images at a time of the programs whose memory is compared."""

OF_SEVERAL = ("faithfulness_correlation", "deletion")
"""Metrics of several maps: one that shares all its passes among them, and one that shares none."""

SEVERAL = (
    Contender("jax", "jaxsal, maps together"),
    Contender("jax", "jaxsal, maps one by one"),
)


class Settings(NamedTuple):
    """What is measured.

    Attributes:
        steps: of the curves that are timed, and sets of the correlation; memory: of those whose
            programs are compared.
        maps: of each image, where there are several; images: which have them.
    """

    problem: str
    batch: int
    steps: int = 100
    memory: tuple[int, ...] = (10, 100, 1000)
    rounds: int = 5
    curves: tuple[str, ...] = tuple(CURVES)
    contenders: tuple[Contender, ...] = CONTENDERS
    precision: str = "highest"
    maps: int = 8
    images: int = 8


SETTINGS = {
    "cpu": Settings("cnn-128", 64, curves=("deletion",)),
    "short": Settings("cnn-128", 16, contenders=CONTENDERS[:3], curves=("deletion",)),
    "gpu": Settings("cnn-128", 256, rounds=7, precision="tf32"),
    "toy": Settings("cnn-toy", 4, steps=4, memory=(4, 8), rounds=1, maps=2, images=2),
}
"""By name: a CPU in half an hour, or in minutes, an accelerator, a trial."""


def run(settings: Settings, peer_python: str | None = None) -> dict[str, Any]:
    """A row for each curve and contender, and the bytes of jaxsal's program by steps."""
    asked = _asked(settings)
    cases = [case for case, _ in asked]
    rows = []
    with (
        workers(peer_python, modules=MODULES) as running,
        problem_folders(running, cases) as folders,
    ):
        folder = folders[settings.problem]
        bytes_by_steps = _memory(running, settings, cases[0], str(folder))
        for case, contenders in asked:
            print(f"\n{case}, {settings.steps} steps", flush=True)
            for row in contest(
                running,
                case,
                contenders,
                folder,
                rounds=settings.rounds,
                precision=settings.precision,
            ):
                rows.append(row)
                print(row_text(row), flush=True)
        about = {name: running.ask(name, "about") for name in running}
    return {
        "precision": settings.precision,
        "frameworks": about,
        "program_batch_size": PROGRAM_BATCH,
        "program_bytes": bytes_by_steps,
        "rows": rows,
    }


def _asked(settings: Settings) -> list[tuple[Case, tuple[Contender, ...]]]:
    """What is timed, and by whom: the curves, then the metrics of several maps."""
    problem, steps = settings.problem, settings.steps
    curves = [
        Case(problem, name, settings.batch, {"steps": steps, "baseline": CURVES[name]})
        for name in settings.curves
    ]
    several = [
        Case(
            problem,
            name,
            settings.images,
            {
                "steps" if name in CURVES else "samples": steps,
                "baseline": "black",
                "maps": settings.maps,
            },
        )
        for name in OF_SEVERAL
    ]
    return [(case, settings.contenders) for case in curves] + [(case, SEVERAL) for case in several]


def _memory(running: Workers, settings: Settings, case: Case, folder: str) -> dict[str, Any]:
    """The bytes of the program of a metric, by its number of steps."""
    found = {}
    for steps in settings.memory:
        options = {**case.options, "steps": steps}
        asked = {"problem": folder, "batch": case.batch, "method": case.method}
        asked |= {"batch_size": PROGRAM_BATCH}
        program = running.ask("jax", "program", options=options, **asked)
        found[str(steps)] = program.get("bytes")
        print(f"{steps:>5} steps: the program takes {found[str(steps)]} bytes", flush=True)
    return found
