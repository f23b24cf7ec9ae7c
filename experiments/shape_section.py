"""The report on edited tumours: a table, and what its intervals say of the paper's claim."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.answer import conclusion
from experiments.claims import (
    HOLDS,
    SMALL,
    Findings,
    listed,
    of_edit,
    resampled,
    verdict,
    with_bounds,
)
from experiments.tables import bounds, measured, number, percent, table, text, two
from experiments.wording import tells_tumours
from jaxsal.viz.page import bullets

CLAIMS = {
    "The tumour matters": "tumour removed",
    "Its surround matters": "surround removed",
    "Its shape matters": "shape made a disc",
    "Its texture matters": "texture flattened",
    "Its place matters": "moved",
    "Its size matters, enlarged": "dilated",
    "Its size matters, shrunk": "eroded",
}
"""Each claim, and the edit that tests it: it has to cost more than its sham and its control."""

PAPER = {
    "The tumour matters": "the tumour",
    "Its surround matters": "its surround",
    "Its shape matters": "its shape",
}
"""Which of them the paper concludes, and of what."""

SMALL_SHARE = 0.05
"""Of the logit less that of a black image: an effect shown to be below is called small.

What a logit's zero is, the classes' shares do not know; a difference of logits has none.
"""

QUIET = {"untouched", "put back", "nudged", "turned", "resampled as the disc"}


def shape_section(record: Findings) -> str:
    """Table and reading of `tumor_shape.json`."""
    edits = record["edits"]
    drops = [(name, *_drops(edit)) for name, edit in edits.items()]
    changes = [(name, *_changes(edit)) for name, edit in edits.items()]
    changed = ["predictions changed", "by shams", "pixels edited", "by shams"]
    classes = list(record["by_class_cases"])
    by_class = [
        (name, *(measured(edit["by_class"][each], two) for each in classes))
        for name, edit in edits.items()
    ]
    counts = [f"{name} ({record['by_class_cases'][name]})" for name in classes]
    return "".join(
        [
            "<h2>Is it the tumour, its surround, its shape?</h2>",
            f"<p>{text(_intro(record))}</p>",
            table(
                ["edit", "tumour", "sham", "tumour − sham", "tumour − control"],
                drops,
                caption="What an edit takes from the class's logit",
                quiet=QUIET,
            ),
            table(
                ["edit", *counts],
                by_class,
                caption="What it takes, tumour − sham, by class",
                quiet=QUIET,
            ),
            table(
                ["edit", *changed, "mean change, times the shams'"],
                changes,
                caption="What it changes",
                quiet=QUIET,
            ),
            conclusion(_reading(record)),
        ]
    )


def _drops(edit: Findings) -> list[str]:
    return [
        measured(edit["tumour"]["drop"], two),
        measured(edit["sham"]["drop"], two),
        _bold(edit["over_sham"]),
        _bold(edit["over_control"]),
    ]


def _changes(edit: Findings) -> list[str]:
    own, sham = edit["tumour"], edit["sham"]
    ratio = own["amount"][0] / sham["amount"][0] if sham["amount"][0] else None
    return [
        measured(own["changed"], percent),
        measured(sham["changed"], percent),
        percent(own["area"][0]),
        percent(sham["area"][0]),
        number(ratio, 1),
    ]


def _bold(interval: Any) -> str:
    cell = measured(interval, two)
    return f"<b>{cell}</b>" if verdict(interval) == HOLDS else cell


def _intro(record: Findings) -> str:
    return (
        f"The tumour of {record['cases']} correctly classified test images, edited, and the same "
        f"edit done at {record['shams']} other places of equal area in the same head (shams; "
        f"{record['without_place']} more images have no such place and are left out). A drop is "
        f"the logit of the predicted class before ({with_bounds(record['logit'])} on average) less "
        "after. An edit's control does what its means do, without its end. Put back: the tumour "
        "cut out and put back, the control of removing and moving it. Resampled as the disc: in "
        "its shape, but interpolated between pixels as the disc is. Nudged: by half a pixel, which "
        "blurs most, the control of the other edits that resample. The control of the others is "
        "the image untouched. A sham has the tumour's area, not its contrast: mean change says how "
        f"much more the edit of the tumour alters the pixels. {_apart(record)}"
        f"{resampled(record)} Bold: above zero."
    )


def _apart(record: Findings) -> str:
    """How many shams have a surround that is off the tumour's; nothing of older records."""
    if "shams_apart" not in record:
        return ""
    return (
        f"{percent(record['shams_apart'])} of the shams have a surround that is wholly off the "
        "tumour's; where there is no such place, removing a sham's surround may take a part of "
        "the tumour's with it. "
    )


def verdicts(record: Findings) -> dict[str, str]:
    """Each claim of `CLAIMS`: shown, small at most, or not decided."""
    margin = margin_of(record.get("over_black", record["logit"]))
    edits = {claim: record["edits"][edit] for claim, edit in CLAIMS.items()}
    return {
        claim: of_edit(edit["over_sham"], edit["over_control"], margin=margin)
        for claim, edit in edits.items()
    }


def class_verdicts(record: Findings) -> dict[str, dict[str, str]]:
    """By claim of the paper and class: shown, small at most, or not decided."""
    over = record.get("over_black_by_class", record["logit_by_class"])  # older records: the logit
    edits = {claim: record["edits"][CLAIMS[claim]] for claim in PAPER}
    return {
        claim: {
            name: of_edit(gap, edit["over_control_by_class"][name], margin=margin_of(over[name]))
            for name, gap in edit["by_class"].items()
        }
        for claim, edit in edits.items()
    }


def margin_of(over_black: Sequence[float]) -> float:
    """In logits, what counts as small where the logit is so much over that of a black image."""
    return max(0.0, SMALL_SHARE * over_black[0])


def _reading(record: Findings) -> str:
    edits, found = record["edits"], verdicts(record)
    items = []
    for claim, name in CLAIMS.items():
        edit = edits[name]
        items.append(
            f"{claim}: {found[claim]} ({name}: a drop of "
            f"{with_bounds(edit['over_sham'])} more than its sham, "
            f"{with_bounds(edit['over_control'])} more than {edit['control']})."
        )
    items += [f"Without {what} {_changed(edits[edit])}." for edit, what in WITHOUT.items()]
    answers = edits["tumour removed"]["answers"]
    first = max(answers, key=lambda name: answers[name])
    items.append(
        f"Without the tumour the answer is most often {first} ({percent(answers[first])})."
    )
    return f"<p>{text(_conclusion(record, found))}</p>{bullets(items)}"


WITHOUT = {
    "tumour removed": "the tumour",
    "surround removed": "its surround",
    "both removed": "both",
}
"""What each removal takes away."""


def _changed(edit: Findings) -> str:
    return (
        f"{percent(edit['tumour']['changed'][0])} of the predictions change, against "
        f"{percent(edit['sham']['changed'][0])} for shams (interval of the difference "
        f"{bounds(edit['changed_over_sham'], percent)})"
    )


def _conclusion(record: Findings, found: Mapping[str, str]) -> str:
    """What all of it says of the paper's claim: over all tumours, then class by class."""
    told = tells_tumours(record.get("study", {}).get("data"))
    parts = ["The paper: tumour and surround play a significant role, and so does shape."]
    parts = parts if told else []
    holding = [claim for claim in PAPER if found[claim] == HOLDS]
    little = [claim for claim in PAPER if found[claim] == SMALL]
    open_ = [claim for claim in PAPER if claim not in holding + little]
    if holding:
        parts.append(f"Over all tumours here, shown to matter: {_of(holding)}.")
    if little:
        share = f"{percent(SMALL_SHARE)} of the logit over that of a black image"
        parts.append(f"Shown to cost less than {share}: {_of(little)}.")
    if open_:
        parts.append(f"Not decided: {_of(open_)}.")
    for claim in holding:
        by_class = record["edits"][CLAIMS[claim]]["by_class"]
        where = [name for name, gap in by_class.items() if verdict(gap) == HOLDS]
        missing = [name for name in by_class if name not in where]
        if not where:
            parts.append(f"For no class by itself is {PAPER[claim]} shown to matter.")
        elif missing:
            parts.append(
                f"Class by class {PAPER[claim]} is shown to matter for {listed(where)}, not for "
                f"{listed(missing)}."
            )
    return " ".join(parts)


def _of(claims: list[str]) -> str:
    return listed([PAPER[claim] for claim in claims])
