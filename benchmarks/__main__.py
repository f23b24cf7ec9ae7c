"""Measurements: `python -m benchmarks NAME`.

    python -m benchmarks throughput     images/s of every method, beside captum, PyTorch, plain JAX
    python -m benchmarks training       images/s of a training step, beside PyTorch
    python -m benchmarks memory         peak memory against the number of steps, beside captum
    python -m benchmarks metrics        deletion, insertion beside PyTorch; several maps at once
    python -m benchmarks scaling        images/s against the number of devices
    python -m benchmarks latency        what a call costs beside plain jit, of a tiny model
    python -m benchmarks compile        first call, without and with the persistent cache
    python -m benchmarks rewrites       each rewrite on and off
    python -m benchmarks precision      maps in float32 beside float64, jaxsal's beside PyTorch's
    python -m benchmarks profile        where the time of a program goes, operation by operation
    python -m benchmarks targets        times predicted for accelerators that are not here
    python -m benchmarks everything     all of these, one after another
    python -m benchmarks.on_gpu         what a GPU is wanted for, each part within its minutes

`--settings toy` is a trial of seconds; without it, what suits the device. `--out DIR` takes the
record, DIR/NAME-SETTINGS-HARDWARE-JAX-DATE.json (say benchmarks/results, from which
`python -m benchmarks.summary --write` makes the tables of README and benchmarks/README).
The peers (torch, captum) may live in an environment of their own:
`--peer-python PATH`. Ratios are what counts: contenders are timed in turn, round by round, each
framework in a process of its own, and compared within a round.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import (
    compilation,
    latency,
    memory,
    metrics,
    precision,
    profile,
    records,
    rewrites,
    scaling,
    sequence,
    targets,
    throughput,
    topologies,
    training,
)
from benchmarks.arguments import positive, program
from jaxsal.common import provenance

MEASURED: dict[str, Any] = {
    "throughput": throughput,
    "training": training,
    "memory": memory,
    "scaling": scaling,
    "metrics": metrics,
    "latency": latency,
    "compile": compilation,
    "rewrites": rewrites,
    "precision": precision,
    "profile": profile,
    "targets": targets,
}
"""By name a module: SETTINGS by name, `run(settings, peer_python) -> record`, which prints."""


EVERYTHING = "everything"


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the record as JSON."""
    parser = _parser()
    given = parser.parse_args(argv)
    _check(parser, given)
    if given.name == EVERYTHING:
        return _everything(sys.argv[1:] if argv is None else argv)
    if given.name == "targets":
        topologies.without_devices()
    # Asked of a process that ends: a worker wants the device's memory for itself.
    about = provenance.describe_apart()
    asked = []
    for name, settings in _chosen(parser, given, about["device"]["platform"]).items():
        record = {"name": given.name, "settings": name, **about}
        earlier = _carried_on(settings, record, given.out)
        if given.out and (path := given.out / records.file_name(record)).exists():
            if path != earlier:
                parser.error(f"--out: {path.name} is there already: move it, or name another")
        asked.append((settings, record, earlier))
    for each in asked:
        _measure(given, *each)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*MEASURED, EVERYTHING])
    parser.add_argument("--settings", help="toy, cpu, gpu, ...; default: what suits the device")
    parser.add_argument("--rounds", type=positive(int), help="how often each contender is timed")
    parser.add_argument(
        "--minutes", type=positive(float), help="throughput begins no case after so many"
    )
    parser.add_argument(
        "--peer-python", type=program, help="interpreter with torch and captum; default this one"
    )
    parser.add_argument("--out", type=Path, help="a folder for the record")
    parser.add_argument(
        "--targets", nargs="+", type=_target, help="accelerators, or files that describe a GPU"
    )
    parser.add_argument(
        "--chips",
        nargs="+",
        type=positive(int),
        help="targets: three programs on each of so many chips, such as 1 4 64 256",
    )
    parser.add_argument(
        "--problems",
        nargs="+",
        help='targets: rows of these alone, such as vit-224 "resnet50-224 bfloat16"; others stay '
        "as the record has them, which a run of all problems finishes",
    )
    return parser


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Ends with an error where options do not go together, or the folder cannot be made."""
    for option in ("chips", "problems"):
        if getattr(given, option) and given.name != "targets":
            parser.error(f"--{option}: only of `targets`")
    if given.name == EVERYTHING:
        common = set.intersection(*(set(each.SETTINGS) for each in MEASURED.values()))
        if given.settings and given.settings not in common:
            parser.error(f"--settings: expected one of {sorted(common)}, got {given.settings}")
    elif given.out:  # before anything is measured that it could not take
        try:
            given.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"--out: expected a folder, got {given.out}: {error}")


def _measure(
    given: argparse.Namespace, settings: Any, record: records.Record, earlier: Path | None
) -> None:
    """One record: from its beginning, or on from an unfinished one."""
    write = _writer(record, given.out, earlier)
    if earlier:
        known = json.loads(earlier.read_text())
        settings = settings._replace(known=tuple(_stamped(known["rows"], known)))
    if given.out and "save" in settings._fields:
        settings = settings._replace(save=write)
    measured = MEASURED[given.name].run(settings, given.peer_python)
    if given.out:
        print(f"\nwrote {write(measured)}")


def _chosen(parser: argparse.ArgumentParser, given: Any, platform: str) -> dict[str, Any]:
    """The settings asked for, by name: of `targets` a record for each target, else one."""
    known = MEASURED[given.name].SETTINGS
    pods = topologies.with_pods() if given.chips else None
    if given.name == "targets" and given.settings is None:
        names = given.targets or pods or list(topologies.ACCELERATORS)
        found = {Path(name).stem: targets.for_target(name) for name in names}
    else:
        name = given.settings or platform
        if name not in known:
            parser.error(f"--settings: expected one of {list(known)}, got {name}")
        found = {name: known[name]}
    problems = given.problems and tuple(given.problems)
    changes = {"rounds": given.rounds, "minutes": given.minutes, "problems": problems}
    if given.settings is not None:
        changes["targets"] = given.targets or pods
    found = {
        name: settings._replace(
            **{k: v for k, v in changes.items() if v is not None and k in settings._fields}
        )
        for name, settings in found.items()
    }
    if given.chips:
        found = _scaled(parser, found, given.chips)
    for asked in found.values() if problems else ():
        known_problems = {case.problem: None for case in targets.cases_of(asked)}
        if unknown := [name for name in problems if name not in known_problems]:
            parser.error(f"--problems: expected some of {[*known_problems]}, got {unknown}")
    return found


def _scaled(
    parser: argparse.ArgumentParser, found: dict[str, targets.Settings], chips: list[int]
) -> dict[str, targets.Settings]:
    """The same by numbers of chips, which are in the name: a record of some is not of others."""
    try:
        for settings in found.values():
            for name, count in itertools.product(settings.targets, chips):
                topologies.accelerator(name).grid(count)
    except ValueError as error:
        parser.error(f"--chips: {error}")
    told = " ".join(map(str, chips))
    return {
        f"{name} {told} chips": settings._replace(chips=tuple(chips))
        for name, settings in found.items()
    }


def _carried_on(settings: Any, record: records.Record, folder: Path | None) -> Path | None:
    """The unfinished record that a run goes on with: the newest, of `targets` only.

    Of any machine: what is predicted depends on the compiler alone.
    """
    if folder is None or not isinstance(settings, targets.Settings):
        return None
    found = records.of_the_same(record, folder)
    fit = [path for path in found if targets.goes_on(json.loads(path.read_text()), settings)]
    return fit[-1] if fit else None


def _writer(
    record: records.Record, folder: Path, earlier: Path | None
) -> Callable[[dict[str, Any]], Path]:
    """Writes what is measured so far, each time in the place of the time before."""

    def write(measured: dict[str, Any]) -> Path:
        nonlocal earlier
        whole = record | measured
        if record["name"] == "targets":
            whole["rows"] = _stamped(whole["rows"], record)
        earlier = records.write(whole, folder, instead_of=earlier)
        return earlier

    return write


def _stamped(rows: list[records.Row], record: records.Record) -> list[records.Row]:
    """Rows with the commit and the date of their record, where they have none of their own."""
    return [{"commit": record["commit"], "date": record["date"], **row} for row in rows]


def _target(text: str) -> str:
    """Reads an accelerator's name, or the path of a GPU's description."""
    try:
        topologies.accelerator(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _everything(argv: list[str]) -> None:
    """Each measurement in a process of its own; one may fail."""
    parts = [
        sequence.Part(
            name, ("benchmarks", *(name if word == EVERYTHING else word for word in argv))
        )
        for name in MEASURED
    ]
    outcomes = sequence.in_turn(parts)
    failed = [each.part for each in outcomes if each.ended != sequence.FINISHED]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
