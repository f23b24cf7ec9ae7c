"""The page of a study's folds: what its networks say together, class by class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.answer import at_chance, without_conclusions
from experiments.augmentation_section import augmentation_section
from experiments.checks_section import checks_section
from experiments.claims import HOLDS, OPEN, SMALL, listed, resampled, verdict, with_bounds
from experiments.compare_section import compare_section
from experiments.interventions_section import interventions_section, readings
from experiments.relevance import relevance_section
from experiments.sanity_section import sanity_section
from experiments.shape_section import (
    CLAIMS,
    PAPER,
    SMALL_SHARE,
    class_verdicts,
    shape_section,
)
from experiments.tables import bounds, measured, number, percent, table, text, two, words
from experiments.wording import tells_tumours, wording
from jaxsal.commands.run_section import run_section
from jaxsal.viz.page import banner, bullets, cards, page

Record = Mapping[str, Any]

TITLE = "What the networks say together"


def render(record: Record) -> str:
    """The page as a string, from what folds.json holds."""
    experiments = record.get("experiments", {})
    doubted = _at_chance(record)
    told = [
        _answer(record, doubted),
        "" if doubted else _claims(experiments.get("tumor_shape")),
        _section(interventions_section, experiments.get("interventions")),
        _section(relevance_section, record.get("relevance")),
        checks_section({"sanity": record.get("sanity", {})}),
        _classification(record),
        _ranking(experiments.get("compare_methods")),
        _section(sanity_section, experiments.get("sanity")),
        _section(shape_section, experiments.get("tumor_shape")),
        _section(augmentation_section, experiments.get("augmentation")),
        _completeness(record),
        _left_out(record),
    ]
    word = wording(record["settings"]["data"], record["per_class"])
    body = "\n".join(word(part) for part in told if part)
    body = without_conclusions(body) if doubted else body
    return page(TITLE, f"<h1>{TITLE}</h1>{body}{run_section(record)}")


def _left_out(record: Record) -> str:
    lines = [f"{what}: {why}" for what, why in record.get("left_out", {}).items()]
    return f"<h2>Left out</h2>{bullets(lines)}" if lines else ""


def _section(section: Any, pooled: Record | None) -> str:
    return section(pooled) if pooled else ""


def _answer(record: Record, doubted: str) -> str:
    count = record["networks"]
    lead = (
        f"{count} networks, each tested on patients that it has not seen, name "
        f"{percent(record['accuracy'])} of the images right "
        f"({percent(record['lowest'])} to {percent(record['highest'])} by fold)."
    )
    said = bullets(claims_in_words(record))
    accuracy = [record["accuracy"], *record["accuracy_interval"]]
    found = [("accuracy, mean over the networks", accuracy, percent)]
    found.append(("area under the ROC curve", record["macro_auc"], number))
    found.append(("expected calibration error", record["calibration"]["ece"], number))
    boxes = [(name, show(mean[0]), bounds(mean, show)) for name, mean, show in found]
    warned = banner([doubted] if doubted else [])
    return f'{warned}<p class="answer">{text(lead)}</p>{said}{cards(boxes)}'


def _at_chance(record: Record) -> str:
    """Why nothing can be said of these networks; "" where they have learned something."""
    confusion = np.sum([run["confusion"] for run in record["folds"]], 0)
    sure = {"accuracy_interval": record["accuracy_interval"], "bootstrap": "patient"}
    why = at_chance({"confusion": confusion, **sure})
    return why.replace("This network is", "These networks are")


def claims_in_words(record: Record) -> list[str]:
    """What matters for each class and what tells it, in sentences; none of networks at chance."""
    experiments = record.get("experiments", {})
    if _at_chance(record):
        return []
    lines = []
    if shape := experiments.get("tumor_shape"):
        found = class_verdicts(shape)
        for claim, what in PAPER.items():
            lines.append(f"{what.capitalize()}: {_by_class(found[claim])}.")
    if parts_left := experiments.get("interventions"):
        lines += readings(parts_left)
    return lines


SAID = {HOLDS: "shown to matter", SMALL: "shown to be small at most", OPEN: "not decided"}


def _by_class(verdicts: Mapping[str, str]) -> str:
    """Which classes each verdict is about."""
    by = {kind: [name for name, kept in verdicts.items() if kept == kind] for kind in SAID}
    return ", ".join(f"{SAID[kind]} for {listed(names)}" for kind, names in by.items() if names)


def _claims(shape: Record | None) -> str:
    """Effect, sham, interval and verdict of each claim by class."""
    if not shape:
        return ""
    told = tells_tumours(shape["study"]["data"])
    heading = "The paper's claim, class by class" if told else "What matters, class by class"
    found = class_verdicts(shape)
    rows = []
    for claim in PAPER:
        edit = shape["edits"][CLAIMS[claim]]
        for name, gap in edit["by_class"].items():
            kept = found[claim][name]
            rows.append(
                (
                    f"{claim}: {name}",
                    f"<b>{kept}</b>" if kept == HOLDS else kept,
                    measured(edit["tumour_by_class"][name], two),
                    measured(edit["sham_by_class"][name], two),
                    measured(gap, two),
                    measured(edit["over_control_by_class"][name], two),
                    measured(edit["changed_by_class"][name], two),
                )
            )
    head = [
        "claim",
        "verdict",
        "drop, tumour",
        "drop, sham",
        "tumour − sham",
        "over control",
        "changed",
    ]
    intro = (
        "The drop of the class's logit when the tumour is removed, its surround is removed, or its "
        f"shape is made a disc, over {shape['cases']} correctly classified test tumours, less that "
        "of the same edit elsewhere in the head (sham), and less that of a control that only cuts "
        f"out and puts back, or resamples. {resampled(shape)} A claim holds where both intervals "
        f"lie above 0; else it is small at most where that less the sham ends below "
        f"{percent(SMALL_SHARE)} of the logit over that of a black image{_over_black(shape)}. "
        "Changed: the share of the predictions, less that of the sham. Each is a 95 % interval by "
        "itself: of twenty, one may miss."
    )
    return (
        f"<h2>{heading}</h2><p>{text(intro)}</p>"
        f"{table(head, rows, caption='Drop of the logit, in logits')}"
    )


def _over_black(shape: Record) -> str:
    """How much that is, by class; nothing of older records."""
    over = shape.get("over_black_by_class", {})
    told = ", ".join(f"{name} {with_bounds(each)}" for name, each in over.items())
    return f" ({told})" if told else ""


def _classification(record: Record) -> str:
    names = ["sensitivity", "specificity", "auc"]
    by_class = [
        (label, *(measured(values[name]) for name in names))
        for label, values in record["per_class"].items()
    ]
    folds = [
        (
            f"fold {run['fold']}",
            str(sum(map(sum, run["confusion"]))),
            f"{percent(run['accuracy'])} {bounds(run['accuracy_interval'], percent)}",
            number(run["macro_auc"]),
            number(run["calibration"]["ece"]),
        )
        for run in record["folds"]
    ]
    calibration = [(CALIBRATION.get(n, n), measured(v)) for n, v in record["calibration"].items()]
    unit = record["folds"][0]["bootstrap"]
    warned = " (too narrow: the files name no patients)" if unit == "image" else ""
    return "".join(
        [
            "<h2>Accuracy</h2>",
            table(
                ["tested on", "images", "accuracy", "AUC", "ECE"],
                folds,
                caption=f"By fold; brackets resample by {unit}{warned}",
            ),
            table(["class", *map(words, names)], by_class, caption="By class, over the networks"),
            table(["calibration", "over the networks"], calibration),
        ]
    )


CALIBRATION = {"ece": "expected error", "brier": "Brier score (0 to 2)"}


def _ranking(compared: Record | None) -> str:
    """How alike the networks rank the methods, before any ranking; what follows if they do."""
    if not compared:
        return ""
    agreement = compared.get("agreement")
    if agreement is None:  # one network
        return compare_section(compared)
    said = [
        f"{family.capitalize()}: Kendall's tau {with_bounds(tau)} between the networks' rankings "
        "of the methods, controls and duplicates apart."
        for family, tau in agreement.items()
    ]
    if pairs := [f"{name} as {other}" for name, other in compared.get("duplicates", {}).items()]:
        said.append(f"With the same value by every metric on every network: {listed(pairs)}.")
    section = compare_section(compared)
    if verdict(agreement["faithfulness"]) != HOLDS:
        said.append(
            "The networks are not shown to rank the methods alike: from the ranks below nothing "
            "is concluded."
        )
        section = without_conclusions(section)
    return f"<h2>Do the networks agree on the methods?</h2>{bullets(said)}{section}"


def _completeness(record: Record) -> str:
    rows = [
        (
            f"fold {run['fold']}",
            percent(run["completeness"]["within_1_percent"]),
            number(run["completeness"]["mean_points"], 1),
            str(run["completeness"]["most_points"]),
        )
        for run in record["folds"]
    ]
    head = ["tested on", "complete to 1 %", "points a map", "most"]
    return f"<h2>Are integrated gradients complete?</h2>{table(head, rows)}"
