"""The study once a fold, and what its networks say together: patients and training both count.

    python -m experiments.folds --data figshare --data-dir DIR --image-size 64 --out runs/folds

Each fold is tested by a network of the other four. Takes the settings of
`python -m experiments.brain_tumor`, `--test-fold` apart (a fold that is to be validated on gives
way to the next where it is tested), and writes one such run into each of fold-1 ... fold-5 under
--out, with the experiments named by `--follow`. After each fold folds.json has every fold's figures
so far, their means and the claims of the paper by class; folds.html is its page. On a CPU several
folds are worked on at once, one a core (`--at-once`). The same command after a kill goes on where
it stopped; with more experiments named, it adds them. (The recipe is chosen on figshare's folds 1
to 4: of them this is no unseen test.)
"""

import functools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from experiments import (
    augmentation,
    brain_tumor,
    compare_methods,
    completeness,
    finished,
    folds_page,
    interventions,
    networks,
    sanity,
    side_by_side,
    tumor_shape,
)
from experiments.follow_up import counted, full_precision
from experiments.report import write_page
from experiments.sections import Name as Experiment
from experiments.settings import Settings, as_json, folded, plain, resolve
from jaxsal.common import files, provenance
from jaxsal.compiler import processes
from jaxsal.compiler.processes import Processes
from jaxsal.training import checkpoint

FOLDS = (1, 2, 3, 4, 5)

FOLLOW_UPS: dict[str, Any] = {
    "tumor_shape": tumor_shape,
    "interventions": interventions,
    "sanity": sanity,
    "compare_methods": compare_methods,
    "completeness": completeness,
    "augmentation": augmentation,
}
"""The experiments on a finished study: each with its `Settings` and `main`."""

POOLS = {"compare_methods": compare_methods.pooled, "sanity": sanity.pooled}
"""How findings on several networks become one where `networks.pooled` is not enough."""

COMPARED = 48
"""Images a network for `compare_methods`."""


def changes(compared: int) -> dict[str, dict[str, int]]:
    """Settings that are not the experiment's own: all tumours; images, without robustness."""
    return {"tumor_shape": {"explain": 0}, "compare_methods": {"explain": compared, "again": 0}}


@dataclass(frozen=True)
class Given:
    """Settings of the folds."""

    study: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)
    follow: tuple[Experiment, ...] = ("tumor_shape", "interventions")
    """The experiments on each fold's network; sanity and compare_methods take long."""
    compared: int = COMPARED
    """Images of each fold for compare_methods, at most; a second or two each and method."""
    at_once: int | None = None
    """Folds worked on at the same time, on a CPU: each in a process with its share of the cores,
    which writes fold-K.log under --out. None: one a core (on accelerators, in several processes,
    and where a process cannot choose its cores: 1)."""


def main(
    settings: Settings,
    folds: Sequence[int] = FOLDS,
    follow: Sequence[str] = (),
    compared: int = COMPARED,
    at_once: int | None = 1,
) -> dict[str, Any]:
    """Runs the study for each fold, and the experiments on it; returns what folds.json holds.

    Raises:
        ValueError: experiments in several processes, which they do not share out; and as of
            `side_by_side.at_once`.
        ChildProcessError: as of `side_by_side.run`.
    """
    processes.join_if(settings.processes)  # once, for all folds
    at_once = side_by_side.at_once(at_once)
    if follow and jax.process_count() > 1:
        raise ValueError(
            "follow: experiments run in one process; leave it empty, and add them then"
        )
    settings, _ = resolve(replace(settings, processes=Processes()))
    folded(settings)  # an error before anything is trained
    runs: list[dict[str, Any]] = []
    followed: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in follow}
    record: dict[str, Any] = {}
    for fold, (metrics, found) in _made(settings, folds, follow, compared, at_once):
        if metrics:  # of several processes the first one's alone, or all find them finished
            trained = checkpoint.fingerprint(settings.out / f"fold-{fold}")
            runs.append(
                {name: metrics[name] for name in (*KEPT, *POOLED)}
                | {"fold": fold, "parameters": trained}
            )
        for name, each in found.items():
            followed[name][fold] = each
        if not jax.process_index():
            record = _record(runs, followed, settings, at_once)
            files.write_json(settings.out / "folds.json", record)
            write_page(settings.out / "folds.html", folds_page.render(record))
    return record


Made = tuple[dict[str, Any], dict[str, dict[str, Any]]]
"""A fold's metrics, and by name the records of the experiments on its network."""


def _made(
    settings: Settings, folds: Sequence[int], follow: Sequence[str], compared: int, at_once: int
) -> Iterator[tuple[int, Made]]:
    """The folds as they are finished: in turn, or so many at once."""
    work = {fold: functools.partial(_make, settings, fold, follow, compared) for fold in folds}
    if at_once == 1:
        yield from ((fold, make()) for fold, make in work.items())
        return
    logs = {fold: settings.out / f"fold-{fold}.log" for fold in folds}
    with files.writable(settings.out):
        for group in side_by_side.groups(folds, at_once):
            names = ", ".join(str(logs[fold]) for fold in group)
            print(f"== {len(group)} at once; how far they are: {names}", flush=True)
            yield from side_by_side.run({fold: work[fold] for fold in group}, logs)


def _make(settings: Settings, fold: int, follow: Sequence[str], compared: int) -> Made:
    """A fold's run and the experiments on it, where they are not there already."""
    print(f"== fold {fold}", flush=True)
    metrics = _of_fold(settings, fold)
    return metrics, {name: _followed(settings, fold, name, compared) for name in follow}


KEPT = (
    *("accuracy", "accuracy_interval", "bootstrap", "clusters", "confusion", "per_class"),
    *("macro_auc", "calibration", "completeness", "timings", "resumed", "settings"),
    *("device", "versions", "commit", "date"),
)
"""What folds.json has of a fold's metrics.json."""

POOLED = {"relevance": networks.pooled, "sanity": networks.pooled_parts}
"""What it has of all folds' metrics.json together."""

OF_CLASSES = ("sensitivity", "specificity", "auc")
"""What folds.json has of each class: the mean over the networks and its interval."""


def _record(
    runs: list[dict[str, Any]],
    followed: dict[str, dict[int, dict[str, Any]]],
    settings: Settings,
    at_once: int,
) -> dict[str, Any]:
    """What folds.json holds of the folds so far, in whatever order they were finished."""
    runs = sorted(runs, key=lambda run: run["fold"])
    followed = {name: dict(sorted(records.items())) for name, records in followed.items()}
    accuracies = [run["accuracy"] for run in runs]
    mean, *bounds = networks.measures(accuracies)
    found = {
        "accuracy": mean,
        "accuracy_interval": bounds,
        "lowest": min(accuracies, default=None),
        "highest": max(accuracies, default=None),
        **{n: networks.measures([run[n] for run in runs]) for n in ("macro_auc", "calibration")},
        "per_class": networks.measures([_of_classes(run) for run in runs]),
        "networks": len(runs),
        "folds": [{name: run[name] for name in ("fold", "parameters", *KEPT)} for run in runs],
        **{name: pool([run[name] for run in runs]) for name, pool in POOLED.items()},
        "experiments": {
            name: _pooled(name, [_without_run(each) for each in found.values()])
            for name, records in followed.items()
            if (found := {fold: each for fold, each in records.items() if FAILED not in each})
        },
        "left_out": {
            f"{name}, fold {fold}": each[FAILED]
            for name, records in followed.items()
            for fold, each in records.items()
            if FAILED in each
        },
        "settings": plain(settings),
        "at_once": at_once,
        **provenance.describe(),
    }
    return dict(json.loads(json.dumps(files.finite(found))))


def _pooled(name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """An experiment's findings on several networks as one, in its own way where it has one."""
    return dict(POOLS.get(name, networks.pooled)(records))


FAILED = "failed"
"""In place of a record: why an experiment has nothing to say of a network."""


def _of_classes(run: dict[str, Any]) -> dict[str, Any]:
    return {label: {n: row[n] for n in OF_CLASSES} for label, row in run["per_class"].items()}


def _without_run(record: dict[str, Any]) -> dict[str, Any]:
    """What was found, and of what data: not on what machine, nor when."""
    own = (
        *("settings", "timings", "earlier_parts", "network"),
        *("versions", "device", "commit", "command", "date"),
    )
    found = {name: value for name, value in record.items() if name not in own}
    return found | {"study": {"data": record["study"]["data"]}}


def _of_fold(settings: Settings, fold: int) -> dict[str, Any]:
    """The study's metrics on one fold: of the finished run that is there, or of a new one."""
    validated = settings.validation_fold
    if validated == fold:
        validated = fold % len(FOLDS) + 1
    out = settings.out / f"fold-{fold}"
    one = replace(settings, test_fold=fold, validation_fold=validated, out=out)
    found = _read(out / "metrics.json")
    other = finished.difference(found, one)
    if not other:
        if found["settings"] != as_json(one):  # moved: the experiments read where its images are
            found["settings"] = as_json(one)
            if not jax.process_index():
                files.write_json(out / "metrics.json", found)
        return found
    if (out / checkpoint.MODEL).exists() and not (out / checkpoint.CHECKPOINTS).exists():
        raise ValueError(
            f"out: {out} holds a network without the checkpoints of its training, and {other}; "
            "expected what it was trained with, or another folder"
        )
    return _read(out / "metrics.json") if brain_tumor.main(one) else {}


def _followed(given: Settings, fold: int, name: str, compared: int) -> dict[str, Any]:
    """An experiment's record on a fold's network: the one that is there, or a new one."""
    module, study = FOLLOW_UPS[name], given.out / f"fold-{fold}"
    settings = module.Settings(study, **changes(compared).get(name, {}))
    path = study / name / f"{name}.json"
    found = _read(path)
    known = {
        "network": checkpoint.fingerprint(study),
        "definitions": getattr(module, "DEFINITIONS", None),
    }
    current = all(found.get(key) == value for key, value in known.items())
    if not current or not finished.same_settings(found, settings):
        print(f"-- {name}", flush=True)
        try:
            with full_precision(), counted():
                module.main(settings)
        except ValueError as error:  # such as: no mask, or nothing that the network names right
            print(f"   left out: {error}", flush=True)
            return {FAILED: str(error)}
        found = _read(path)
    return found


def _read(path: Path) -> dict[str, Any]:
    """A record, or an empty one where there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return {}


def summary(record: dict[str, Any], out: Path) -> str:
    """What was found, in a few lines."""
    lines = [f"  fold {run['fold']}: {run['accuracy']:.4f}" for run in record["folds"]]
    spread = f"{record['lowest']:.4f} to {record['highest']:.4f}"
    lines = [f"mean accuracy {record['accuracy']:.4f}, {spread}", *lines]
    return "\n".join([*lines, *folds_page.claims_in_words(record), f"wrote {out / 'folds.html'}"])


if __name__ == "__main__":
    given = tyro.cli(Given, prog="python -m experiments.folds", description=__doc__)
    try:
        found = main(given.study, FOLDS, given.follow, given.compared, given.at_once)
        if found:
            print(summary(found, given.study.out))
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
