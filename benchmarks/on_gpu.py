"""All that is measured on a GPU, in one command, for a machine that is there for minutes.

    python -m benchmarks.on_gpu --out DIR                    needs a GPU, torch and captum beside it
    python -m benchmarks.on_gpu --out DIR --settings toy     a trial anywhere, of minutes

In this order, the most wanted first, each part in a process of its own and within its minutes: the
headline of throughput, latency, a training step, a ResNet-50, memory by steps, metrics, and the
study's five folds at 128x128 (`--data-dir`: of figshare's images; without, of phantoms). A part
that fails or is stopped takes no earlier record away. DIR gets a record of each measurement,
folds.json, and parts.json: how each part ended. `--parts latency memory` runs some of them, say
those for which a first command had no time; `--minutes` is for all together.

The records go to benchmarks/results, folds.json with what it is of to experiments/results.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.arguments import positive, program
from benchmarks.sequence import FINISHED, Part, in_turn
from jaxsal.common import provenance

MINUTES = 9.5
"""Of a whole run, a little less than ten."""

Measured = dict[str, tuple[tuple[str, ...], float]]
"""By a part's name its words after `python -m benchmarks`, and its minutes."""

GPU: Measured = {
    "headline": (("throughput", "--settings", "gpu-headline", "--minutes", "3.6"), 4.5),
    "latency": (("latency", "--settings", "gpu"), 0.8),
    "training": (("training", "--settings", "gpu-short"), 1.5),
    "resnet": (("throughput", "--settings", "gpu-resnet", "--minutes", "1.2"), 2.7),
    "memory": (("memory", "--settings", "gpu"), 1.5),
    "metrics": (("metrics", "--settings", "gpu"), 2.5),
}
TOY: Measured = {
    name: ((name, "--settings", "toy"), 5.0)
    for name in ("throughput", "latency", "training", "memory", "metrics")
}
SETTINGS = {"gpu": GPU, "toy": TOY}

FOLDS = "folds"
STUDY = {
    "gpu": ("--image-size", "128"),
    "toy": ("--image-size", "32", "--count", "100", "--epochs", "1", "--explain", "4"),
}
"""The study's settings."""


def main(argv: list[str] | None = None) -> None:
    """Measures, prints how each part ended, and exits with an error if one did not finish."""
    given = _arguments(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / FOLDS
        chosen = [part for part in _parts(given, study) if part.name in given.parts]
        outcomes = in_turn(chosen, given.minutes)
        if (study / "folds.json").exists():
            shutil.copy(study / "folds.json", given.out)
    told = [outcome._asdict() for outcome in outcomes]
    (given.out / "parts.json").write_text(json.dumps(told, indent=1) + "\n")
    print()
    for part, ended, seconds in outcomes:
        print(f"{part:<12}{seconds:>7.1f} s  {ended}")
    if any(outcome.ended != FINISHED for outcome in outcomes):
        sys.exit(1)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.on_gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder for the records")
    parser.add_argument("--settings", choices=list(SETTINGS), default="gpu")
    parser.add_argument("--parts", nargs="+", help="some of them; default all")
    parser.add_argument(
        "--minutes", type=positive(float), default=MINUTES, help="of all parts together"
    )
    parser.add_argument(
        "--peer-python", type=program, help="interpreter with torch and captum; default this one"
    )
    parser.add_argument("--data-dir", help="figshare's images; default: phantoms, generated")
    given = parser.parse_args(argv)
    known = [*SETTINGS[given.settings], FOLDS]
    given.parts = given.parts or known
    if unknown := sorted(set(given.parts) - set(known)):
        parser.error(f"--parts: expected some of {known}, got {unknown}")
    if given.settings == "gpu":
        platform = provenance.describe_apart()["device"]["platform"]
        if platform != "gpu":
            parser.error(f"expected a GPU, got {platform}; `--settings toy` is a trial without")
    return given


def _parts(given: argparse.Namespace, study: Path) -> list[Part]:
    """All parts in their order; the study writes more than its result, into a folder of its own."""
    peers = ("--peer-python", given.peer_python) if given.peer_python else ()
    measured = [
        Part(name, ("benchmarks", *words, "--out", str(given.out), *peers), minutes)
        for name, (words, minutes) in SETTINGS[given.settings].items()
    ]
    data = ("--data", "figshare", "--data-dir", given.data_dir) if given.data_dir else ()
    words = ("experiments.folds", *STUDY[given.settings], "--out", str(study), *data)
    return [*measured, Part(FOLDS, words, 5.0)]


if __name__ == "__main__":
    main()
