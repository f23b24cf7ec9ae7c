"""README's table of results, from the runs under experiments/results.

python -m experiments.summary          prints it
python -m experiments.summary --write  puts it between README's marks
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- results: python -m experiments.summary --write -->", "<!-- end of results -->"
REGIONS = ("tumour", "surround", "rest of head")
METHOD = "integrated gradients"


def table() -> str:
    """A row a run: what, accuracy, relevance density by region, where and how long, the command."""
    head = (
        "| images | test accuracy | relevance density: "
        + " | ".join(REGIONS)
        + " | tumour, of a map even in the head | complete to 1 % | minutes | machine |\n"
        + "|---" * 9
        + "|\n"
    )
    runs = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    rows = "\n".join(_row(metrics) for metrics in runs)
    commands = "\n".join(f"{i}. `{metrics['command']}`" for i, metrics in enumerate(runs, 1))
    return f"{head}{rows}\n\nCommands, in the order of the rows:\n\n{commands}"


def _row(metrics: dict[str, Any]) -> str:
    settings, device, versions = metrics["settings"], metrics["device"], metrics["versions"]
    densities = [metrics["relevance"]["methods"][METHOD][region]["density"] for region in REGIONS]
    tested = sum(metrics["data"]["counts"]["test"].values())
    cells = [
        f"{settings['data']} {settings['image_size']}x{settings['image_size']}, "
        f"{tested} tested (fold {settings['test_fold']})",
        _interval([metrics["accuracy"], *metrics["accuracy_interval"]], 3),
        *(_interval(density, 2) for density in densities),
        _even(metrics),
        f"{metrics['completeness']['within_1_percent']:.1%}",
        _minutes(metrics),
        f"{device['platform']}, {device['cores']} cores, jax {versions['jax']}, {metrics['date']}",
    ]
    return f"| {' | '.join(cells)} |"


def _even(metrics: dict[str, Any]) -> str:
    control = metrics["relevance"]["methods"].get("even in the head")
    return f"{control['tumour']['density'][0]:.2f}" if control else "–"


def _minutes(metrics: dict[str, Any]) -> str:
    timings = metrics["timings"]
    if metrics.get("resumed"):
        return f"resumed after {metrics['resumed']} epochs"
    return f"{timings['train'] / 60:.1f} training, {sum(timings.values()) / 60:.1f} in all"


def _interval(values: list[float], digits: int) -> str:
    mean, low, high = (f"{value:.{digits}f}" for value in values)
    return f"{mean} [{low}, {high}]"


def place(text: str) -> str:
    """README's text with the table as it is now between the marks."""
    pattern = re.compile(f"({re.escape(BEGIN)}\n).*?({re.escape(END)})", re.DOTALL)
    placed, count = pattern.subn(lambda match: f"{match[1]}{table()}\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"README: {count} places between {BEGIN!r} and {END!r}, expected one")
    return placed


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(place(README.read_text()))
    else:
        print(table())
