"""The finished runs that are kept under experiments/results: read, and taken in."""

import json
import shutil
from pathlib import Path
from typing import Any

from experiments import sections
from jaxsal.common import provenance
from jaxsal.training import checkpoint

RESULTS = Path(__file__).parent / "results"
NETWORKS = "networks"
"""Beside the runs: a folder for each set of images, with the networks of one run of the folds."""

Metrics = dict[str, Any]


def runs() -> list[Metrics]:
    """The `metrics.json` of every run, in the order of their folders' names."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*/metrics.json"))]


def folder_name(metrics: Metrics) -> str:
    """The folder of a run under experiments/results: what was tested, on what hardware, when."""
    fold = metrics["settings"]["test_fold"]
    return f"{_what(metrics)}-fold{fold}-{provenance.slug(metrics)}"


def of_kind(kind: str) -> list[Metrics]:
    """The records of tune (protocol) or folds, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{kind}-*.json"))]


def add(run: Path, *others: Path, with_networks: bool = False) -> Path:
    """Copies a run's records, and the records and figures of the experiments on it.

    Paths elsewhere on this machine are cut down to their last part. Of a run of tune or folds it is
    the one record; of folds the networks too, where these are asked for (megabytes, that a
    repository never loses again), in place of those of an earlier run.
    """
    if (run / "protocol.json").exists():
        return _add_record(run / "protocol.json", "protocol")
    if (run / "folds.json").exists():
        if with_networks:  # before anything is written
            _check_networks(run)
        added = _add_record(run / "folds.json", "folds")
        if with_networks:
            _keep_networks(run, networks_of(json.loads(added.read_text())))
        return added
    metrics = json.loads((run / "metrics.json").read_text())
    folder = RESULTS / folder_name(metrics)
    folder.mkdir(parents=True, exist_ok=True)
    _copy(run / "metrics.json", folder)
    for other in others:
        for path in sorted(other.glob("*.json")):
            _copy(path, folder)
        for path in sorted(other.glob("*.png")):
            shutil.copy(path, folder)
    return folder


def networks_of(record: Metrics) -> Path:
    """Where the networks of a run of the folds are kept: a folder each, `fold-1` and so on."""
    return RESULTS / NETWORKS / _what(record)


def are_kept(record: Metrics) -> bool:
    """Whether the networks that are kept are those of this run of the folds."""
    kept = networks_of(record)
    known = _parameters(record)
    return bool(known) and all(
        (kept / f"fold-{fold}").is_dir() and checkpoint.fingerprint(kept / f"fold-{fold}") == each
        for fold, each in known.items()
    )


FILES = (checkpoint.MODEL, checkpoint.PARAMS, "metrics.json")
"""What is kept of a network."""


def _check_networks(run: Path) -> None:
    """Raises unless each fold's network is there.

    Raises:
        ValueError: a file of a network is not there.
    """
    for path in (fold / name for fold in _folds(run) for name in FILES):
        if not path.exists():
            raise ValueError(f"add: {path} is not there; expected the --out folder of the folds")


def _keep_networks(run: Path, target: Path) -> None:
    """What `--checkpoint` reads of each fold's network, and the records of the experiments on it.

    Without the images that it has seen.
    """
    shutil.rmtree(target, ignore_errors=True)
    for fold in _folds(run):
        kept = target / fold.name
        kept.mkdir(parents=True)
        for name in (checkpoint.MODEL, checkpoint.PARAMS):
            shutil.copy(fold / name, kept)
        _copy(fold / "metrics.json", kept)
        for name in sections.ORDER:
            path = fold / name / f"{name}.json"
            if path.exists():
                (kept / name).mkdir()
                _copy(path, kept / name)


def _folds(run: Path) -> list[Path]:
    """The folders of the folds that a record is of."""
    record = json.loads((run / "folds.json").read_text())
    return [run / f"fold-{each['fold']}" for each in record["folds"]]


def _what(record: Metrics) -> str:
    settings = record["settings"]
    return f"{settings['data']}-{settings['image_size']}"


def _add_record(path: Path, kind: str) -> Path:
    record = json.loads(path.read_text())
    target = RESULTS / f"{kind}-{_what(record)}-{provenance.slug(_trained(record))}.json"
    earlier = json.loads(target.read_text()) if target.exists() else {}
    if lost := earlier.get("experiments", {}).keys() - record.get("experiments", {}).keys():
        raise ValueError(
            f"add: {target.name} is there already, with {', '.join(sorted(lost))} which {path} "
            "lacks; run it with these too (--follow), or take the older record away"
        )
    known, now = _parameters(earlier), _parameters(record)
    if any(now[fold] != known[fold] for fold in known.keys() & now.keys()):
        raise ValueError(
            f"add: {target.name} is there already, of other networks than {path}; give the older "
            "record another name, or take it away"
        )
    target.write_text(json.dumps(_without_paths(record), indent=1) + "\n")
    return target


def _trained(record: Metrics) -> Metrics:
    """Where and when what a record is of was trained: experiments may be added elsewhere, later."""
    return max(trainings(record), key=lambda run: str(run["date"]))


def trainings(record: Metrics) -> list[Metrics]:
    """Where and when each network of a record was trained; of an older one where the last was.

    Folds at once have some of the machine's cores each; here each has the machine's.
    """
    runs = [run for run in record.get("folds", ()) if "device" in run] or [record]
    if record.get("at_once", 1) == 1:
        return runs
    whole = {"cores": record["device"]["cores"]}
    return [{**run, "device": {**run["device"], **whole}} for run in runs]


def _parameters(record: Metrics) -> dict[int, str]:
    """By fold the fingerprint of its network, where a record says it."""
    folds = record.get("folds", ())
    return {run["fold"]: run["parameters"] for run in folds if run.get("parameters")}


def _copy(path: Path, folder: Path) -> None:
    record = _without_paths(json.loads(path.read_text()))
    (folder / path.name).write_text(json.dumps(record, indent=1) + "\n")


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_paths(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_paths(each) for each in value]
    return provenance.without_paths(value) if isinstance(value, str) else value
