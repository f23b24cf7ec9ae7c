"""The tables of the study's results, from the runs under experiments/results.

python -m experiments.summary                 prints them
python -m experiments.summary --write         puts them between the marks of the READMEs
python -m experiments.summary --add RUN ...   takes a finished run, and the folders of the
                                              experiments on it, into experiments/results;
                                              with --networks those of the folds too
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from experiments import records
from experiments.folds_page import SAID
from experiments.records import Metrics
from experiments.shape_section import CLAIMS, PAPER, class_verdicts
from experiments.sources import SOURCES
from experiments.tables import times
from jaxsal.common import marked_tables

HERE = Path(__file__).parent
PLACES = {
    HERE.parent / "README.md": ("study",),
    HERE / "README.md": tuple("results commands shape protocol folds claims parts methods".split()),
}
"""By README the tables that stand in it."""

WITH_NETWORKS = "--networks"

REGIONS = ("tumour", "surround", "rest of head")
METHOD = "integrated gradients"
EVEN = "tumour, of a map even in the head"


def tables() -> dict[str, str]:
    """By its name each table in Markdown."""
    every = records.runs()
    return {
        "study": _short(every),
        "results": _long(every),
        "shape": _shape(),
        "protocol": _protocol(),
        "folds": _folds(),
        "claims": _claims(),
        "parts": _parts(),
        "methods": _methods(),
        "commands": "\n".join(
            f"{i}. `{run['command']}`, commit {run['commit']}" for i, run in enumerate(every, 1)
        ),
    }


def _short(every: Iterable[Metrics]) -> str:
    """The chosen run of the folds of each images; of others the newest run of one network."""
    head = ["images", "test accuracy", *REGIONS, EVEN, "minutes", "machine"]
    folds = chosen_folds()
    known = {each["settings"]["data"] for each in folds}
    alone = {m["settings"]["data"]: m for m in _by_day(every)}
    apart = known | {name for name, source in SOURCES.items() if source.control}
    named = [(_tested(m), m, _minutes_of(m)) for m in folds]
    named += [(_images(m), m, _minutes(m)) for data, m in alone.items() if data not in apart]
    return _table(
        head,
        (
            [images, _accuracy(m), *_densities(m), _even(m), took, _machine(m)]
            for images, m, took in named
        ),
    )


def _by_day(every: Iterable[Metrics]) -> list[Metrics]:
    return sorted(every, key=lambda each: (str(each["date"]), each.get("networks", 1)))


def _tested(folds: Metrics) -> str:
    """What was tested, how many images, and by how many networks."""
    images = sum(sum(map(sum, run["confusion"])) for run in folds["folds"])
    return f"{_data(folds['settings'])}, {images} tested by {folds['networks']} networks"


def _long(every: Iterable[Metrics]) -> str:
    head = [
        *("images", "test accuracy", *REGIONS, EVEN),
        *("complete to 1 %", "minutes", "machine"),
    ]
    return _table(
        head,
        (
            [
                *(_images(m), _accuracy(m), *_densities(m), _even(m)),
                *(f"{m['completeness']['within_1_percent']:.1%}", _minutes(m), _machine(m)),
            ]
            for m in every
        ),
    )


EDITS = ("tumour removed", "surround removed", "shape made a disc")


def _shape() -> str:
    """A row for each network whose tumours were edited: what an edit costs beyond a sham."""
    rows = []
    for path in sorted(records.RESULTS.glob("*/tumor_shape.json")):
        edited = json.loads(path.read_text())
        network = json.loads((path.parent / "metrics.json").read_text())
        rows.append(
            [
                f"{_images(network)}, jax {network['versions']['jax']}, {network['date']}",
                str(edited["cases"]),
                _interval(edited["logit"], 2),
                *(_interval(edited["edits"][name]["over_sham"], 2) for name in EDITS),
            ]
        )
    return _table(["network", "tumours", "mean logit", *EDITS], rows)


def _protocol() -> str:
    """A row for each recipe that was tried, the best first."""
    folds = ("1", "2", "3", "4")
    of_folds = [f"fold {fold}" for fold in folds]
    head = ["recipe", *of_folds, "mean", "AUC", "ECE", "minutes a fold", "machine"]
    rows = []
    for record in records.of_kind("protocol"):
        for row in record["recipes"].values():
            shares = (row["by_fold"].get(fold) for fold in folds)
            rows.append(
                [
                    row["what"],
                    *("–" if share is None else f"{share:.3f}" for share in shares),
                    *(f"{row[name]:.3f}" for name in ("accuracy", "macro_auc", "ece")),
                    "–" if row["minutes"] is None else f"{row['minutes']:.1f}",
                    _machine(record),
                ]
            )
    return _table(head, rows)


def _folds() -> str:
    """A row for each run of the folds: accuracy by fold, and over the networks."""
    folds = (1, 2, 3, 4, 5)
    of_folds = [f"fold {fold}" for fold in folds]
    head = ["images", *of_folds, "mean", "AUC", "ECE", "minutes", "machine"]
    rows = []
    for record in records.of_kind("folds"):
        settings = record["settings"]
        by_fold = {run["fold"]: f"{run['accuracy']:.3f}" for run in record["folds"]}
        rows.append(
            [
                _data(settings),
                *(by_fold.get(fold, "–") for fold in folds),
                _accuracy(record),
                _interval(record["macro_auc"], 3),
                _interval(record["calibration"]["ece"], 3),
                _minutes_of(record),
                _machine(record),
            ]
        )
    return _table(head, rows)


def _minutes_of(record: Metrics) -> str:
    """Of all folds' training and explaining; not known where one was stopped and resumed."""
    folds, number = record["folds"], record.get("at_once", 1)
    if any(run.get("resumed") for run in folds):
        return "–"
    return _spent(*folds) + (f", {number} folds at once" if number > 1 else "")


def _spent(*runs: Metrics) -> str:
    """The minutes of runs that nothing stopped."""
    train = sum(run["timings"]["train"] for run in runs)
    whole = sum(sum(run["timings"].values()) for run in runs)
    return f"{train / 60:.1f} training, {whole / 60:.1f} in all"


def _of_folds(experiment: str) -> Iterable[tuple[str, Metrics]]:
    """Of what images, and what an experiment found on the networks of their chosen folds."""
    for record in chosen_folds(experiment):
        yield _data_and_day(record), record["experiments"][experiment]


def chosen_folds(experiment: str | None = None) -> list[Metrics]:
    """Of each images the run of the folds whose networks are kept, or else the newest.

    With an experiment: of the runs that have it. So a run that repeats another does not take its
    place in the tables while anyone can load the networks of the other and none of its own.
    """
    found = sorted(_by_day(records.of_kind("folds")), key=records.are_kept)  # else by day
    kept = [each for each in found if experiment is None or each["experiments"].get(experiment)]
    return list({_data(each["settings"]): each for each in kept}.values())


def _data_and_day(record: Metrics) -> str:
    return f"{_data(record['settings'])}, {record['date']}"


def _claims() -> str:
    """A row for each claim of the paper and class: what an edit costs, and the verdict."""
    head = ["images", "claim", "class", "tumours", "drop", "less sham", "less control", "verdict"]
    rows = []
    for images, shape in _of_folds("tumor_shape"):
        for claim, verdicts in class_verdicts(shape).items():
            edit = shape["edits"][CLAIMS[claim]]
            columns = ("tumour_by_class", "by_class", "over_control_by_class")
            for label, verdict in verdicts.items():
                cases = str(shape["by_class_cases"][label])
                drops = [_interval(edit[column][label], 2) for column in columns]
                rows.append([images, PAPER[claim], label, cases, *drops, SAID[verdict]])
    return _table(head, rows)


def _parts() -> str:
    """A row for each thing that a head is reduced to: by how much each class is told by it."""
    rows, head = [], ["images", "what is left"]
    for images, left in _of_folds("interventions"):
        head = ["images", "what is left", *left["classes"]]
        for part, by_class in left["parts"].items():
            rows.append([images, part, *(_interval(each["told"], 2) for each in by_class.values())])
    return _table(head, rows)


def _methods() -> str:
    """A row for each method on the networks of the folds, by faithfulness, and its verdict."""
    head, rows = ["images", "method", "faithfulness", "behind the first", "localisation"], []
    head += ["above all controls", "ms a map", "randomised layers"]
    for record in chosen_folds("compare_methods"):
        compared = record["experiments"]["compare_methods"]
        judged = record["experiments"].get("sanity", {}).get("methods", {})
        for name in compared["methods"]:
            above = compared["above_controls"].get(name)
            count = len(compared["families"]["faithfulness"])
            ranks = [compared["ranks"]["faithfulness"], compared["behind"]["faithfulness"]]
            rows.append(
                [
                    _data_and_day(record),
                    name,
                    *(_interval(each[name], 1) for each in ranks),
                    _interval(compared["ranks"]["localisation"][name], 1),
                    "a control" if above is None else f"{len(above)} of {count}",
                    times(compared["milliseconds"][name]),
                    judged[name]["verdict"] if name in judged else "–",
                ]
            )
    return _table(head, rows)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _images(metrics: Metrics) -> str:
    settings, tested = metrics["settings"], sum(metrics["data"]["counts"]["test"].values())
    return f"{_data(settings)}, {tested} tested (fold {settings['test_fold']})"


def _data(settings: Metrics) -> str:
    return f"{settings['data']} {settings['image_size']}x{settings['image_size']}"


def _accuracy(metrics: Metrics) -> str:
    return _interval([metrics["accuracy"], *(metrics["accuracy_interval"] or [])], 3)


def _densities(metrics: Metrics) -> list[str]:
    if "relevance" not in metrics:  # of an older record of the folds
        return ["–"] * len(REGIONS)
    found = metrics["relevance"]["methods"][METHOD]
    return [_interval(found[region]["density"], 2) for region in REGIONS]


def _even(metrics: Metrics) -> str:
    control = metrics.get("relevance", {}).get("methods", {}).get("even in the head")
    return f"{control['tumour']['density'][0]:.2f}" if control else "–"


def _minutes(metrics: Metrics) -> str:
    resumed = metrics.get("resumed")
    return f"resumed after {resumed} epochs" if resumed else _spent(metrics)


def _machine(metrics: Metrics) -> str:
    """Where a network was trained and when; of the folds of older records, where they ended."""
    runs = records.trainings(metrics)
    told = {_hardware(run["device"], run["versions"]) for run in runs}
    where = told.pop() if len(told) == 1 else "several machines"
    return f"{where}, {max(run['date'] for run in runs)}"


def _hardware(device: Metrics, versions: Metrics) -> str:
    return f"{device['processor']}, {device['cores']} cores, jax {versions['jax']}"


def _interval(values: list[float], digits: int) -> str:
    mean, *bounds = (f"{value:.{digits}f}" for value in values if value is not None)
    return f"{mean} [{', '.join(bounds)}]" if bounds else mean


def place(text: str, names: Iterable[str]) -> str:
    """A README's text with the tables of these names between their marks."""
    made = tables()
    wanted = {name: made[name] for name in names}
    return marked_tables.place(text, wanted, "python -m experiments.summary --write")


def main(words: list[str]) -> None:
    """Prints the tables, writes them, or adds a run."""
    if words == ["--write"]:
        for readme, names in PLACES.items():
            readme.write_text(place(readme.read_text(), names))
    elif len(words) > 1 and words[0] == "--add":
        runs = [Path(word) for word in words[1:] if word != WITH_NETWORKS]
        try:
            print(records.add(*runs, with_networks=WITH_NETWORKS in words))
        except (ValueError, OSError) as error:
            sys.exit(f"error: {error}")
    elif words:
        sys.exit(f"error: expected --write or --add RUN ... [--networks], got {' '.join(words)}")
    else:
        print(*tables().values(), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
