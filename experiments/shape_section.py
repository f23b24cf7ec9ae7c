"""The report on edited tumours: a table, and what its intervals say of the paper's claim."""

from collections.abc import Mapping
from typing import Any

from experiments.claims import AGAINST, HOLDS, bullets, listed, resampled, said, together, verdict
from experiments.tables import bounds, measured, number, percent, table, text

Record = Mapping[str, Any]

CLAIMS = {
    "The tumour drives the classification": "tumour removed",
    "Its surround does": "surround removed",
    "Its shape matters": "shape made a disc",
    "Its texture matters": "texture flattened",
    "Its place matters": "moved",
    "Its size matters, enlarged": "dilated",
    "Its size matters, shrunk": "eroded",
}
"""Each claim, and the edit that tests it: it has to cost more than its sham and its control."""

GAPS = ("over_sham", "over_control")

PAPER = {
    "The tumour drives the classification": "the tumour drives it",
    "Its surround does": "its surround does",
    "Its shape matters": "shape matters",
}
"""Which of them the paper concludes, and in short."""

QUIET = {"put back", "turned"}


def shape_section(record: Record) -> str:
    """Table and reading of `tumor_shape.json`."""
    edits = record["edits"]
    rows = [(name, *_cells(edit)) for name, edit in edits.items()]
    head = [
        "edit",
        "drop, tumour",
        "drop, sham",
        "tumour − sham",
        "over control",
        "prediction changed, tumour",
        "sham",
        "pixels edited, tumour",
        "sham",
        "mean change, tumour / sham",
    ]
    classes = list(record["by_class_cases"])
    by_class = [
        (name, *(measured(edit["by_class"][each], _two) for each in classes))
        for name, edit in edits.items()
    ]
    counts = [f"{name} ({record['by_class_cases'][name]})" for name in classes]
    return "".join(
        [
            "<h2>Is it the tumour, its surround, its shape?</h2>",
            f"<p>{text(_intro(record))}</p>",
            _reading(record),
            table(head, rows, caption="What an edit takes from the class's logit", quiet=QUIET),
            table(["edit", *counts], by_class, caption="Tumour − sham, by class", quiet=QUIET),
        ]
    )


def _two(value: Any) -> str:
    return number(value, 2)


def _cells(edit: Record) -> list[str]:
    own, sham = edit["tumour"], edit["sham"]
    ratio = own["amount"][0] / sham["amount"][0] if sham["amount"][0] else None
    return [
        measured(own["drop"], _two),
        measured(sham["drop"], _two),
        _bold(edit["over_sham"]),
        _bold(edit["over_control"]),
        measured(own["changed"], percent),
        measured(sham["changed"], percent),
        percent(own["area"][0]),
        percent(sham["area"][0]),
        number(ratio, 1),
    ]


def _bold(interval: Any) -> str:
    cell = measured(interval, _two)
    return f"<b>{cell}</b>" if verdict(interval) == HOLDS else cell


def _intro(record: Record) -> str:
    return (
        f"{record['cases']} correctly classified test tumours, each edited, and the same edit done "
        f"at {record['shams']} other places of equal area in the same head (shams; "
        f"{record['without_place']} more tumours fit nowhere else and are left out). A drop is the "
        f"logit of the predicted class before ({said(record['logit'])} on average) less after. Put "
        "back: the tumour cut out and put back, which is what cutting alone costs. Turned: by an "
        "eighth about its centre, which is what resampling costs; it is the control of the edits "
        "that resample, putting back that of the others. A sham has the tumour's area, not its "
        "contrast: mean change says how much more the edit of the tumour alters the pixels. "
        f"{resampled(record)} Bold: above zero."
    )


def verdicts(record: Record) -> dict[str, str]:
    """Each claim of `CLAIMS`: holds, does not hold, or is not decided."""
    edits = record["edits"]
    return {
        claim: together([verdict(edits[edit][gap]) for gap in GAPS])
        for claim, edit in CLAIMS.items()
    }


def _reading(record: Record) -> str:
    edits, found = record["edits"], verdicts(record)
    items = []
    for claim, name in CLAIMS.items():
        edit = edits[name]
        items.append(
            f"{claim}: {found[claim]} ({name}: a drop of {said(edit['over_sham'])} more than its "
            f"sham, {said(edit['over_control'])} more than {edit['control']})."
        )
    removed = edits["tumour removed"]
    answers = removed["answers"]
    first = max(answers, key=lambda name: answers[name])
    items.append(
        f"Without the tumour {percent(removed['tumour']['changed'][0])} of the predictions change, "
        f"against {percent(removed['sham']['changed'][0])} for shams (interval of the difference "
        f"{bounds(removed['changed_over_sham'], percent)}); the answer is then most often {first} "
        f"({percent(answers[first])})."
    )
    return f"<p>{text(_conclusion(found))}</p>{bullets(items)}"


def _conclusion(found: Mapping[str, str]) -> str:
    """What all of it says of the paper's claim, in a sentence or two."""
    holding = [claim for claim in PAPER if found[claim] == HOLDS]
    against = [claim for claim in PAPER if found[claim] == AGAINST]
    open_ = [claim for claim in PAPER if claim not in holding + against]
    parts = ["The paper: tumour and surround drive the classification, and shape matters."]
    if len(holding) == len(PAPER):
        parts.append("For this network and these images all three hold.")
    else:
        parts.append(f"Here these hold: {listed([PAPER[c] for c in holding])}.")
    if against:
        parts.append(f"These do not hold: {listed([PAPER[c] for c in against])}.")
    if open_:
        parts.append(f"These are not decided: {listed([PAPER[c] for c in open_])}.")
    return " ".join(parts)
