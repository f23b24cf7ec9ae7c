"""The report on randomised networks: which methods show what was learned."""

from collections.abc import Mapping
from typing import Any

from experiments.claims import listed, resampled
from experiments.tables import measured, number, table, text
from jaxsal.metrics.controls import CONTROLS

Record = Mapping[str, Any]


def sanity_section(record: Record) -> str:
    """Table and reading of `sanity.json`."""
    found = record["methods"]
    head = [
        "method",
        "passes",
        "layers ignored",
        "all layers: Spearman in the head",
        "in the image",
        "SSIM",
        "cosine",
        "last layer alone: in the head",
        "first layer alone",
        "defined",
    ]
    rows = [(name, *_cells(each, record["cases"])) for name, each in found.items()]
    return "".join(
        [
            "<h2>Do the maps show what was learned?</h2>",
            f"<p>{text(_intro(record))}</p><p>{text(_reading(record))}</p>",
            table(head, rows, caption="Likeness of maps before and after", quiet=CONTROLS),
        ]
    )


def _cells(each: Record, cases: int) -> list[str]:
    alone = list(each["independent"].values())
    return [
        "<b>yes</b>" if each["passes"] else "no",
        str(len(each["ignored"])),
        *(
            measured(each["final"][name], _two)
            for name in ("in_head", "spearman", "ssim", "cosine")
        ),
        measured(alone[0]["in_head"], _two),
        measured(alone[-1]["in_head"], _two),
        f"{each['defined']} of {cases}",
    ]


def _two(value: Any) -> str:
    return number(value, 2)


def _intro(record: Record) -> str:
    rule = record["rule"]
    return (
        f"Maps of {record['cases']} correctly classified test tumours, of the trained network and "
        "of the same network with layers drawn anew from its initial distribution: cascading from "
        "the logits down, and each layer alone (a convolution and its normalisation are one). The "
        "rule: a method passes where, with all layers drawn anew, the 95 % interval of Spearman's "
        f"correlation of |map| in the head lies below {rule['unlike']}, and it ignores no layer: "
        f"with any one drawn anew, the interval lies below {rule['alike']}. Over the whole image "
        "the correlation is higher: on the black background most maps are zero whatever the "
        f"network. SSIM is of |map|, the cosine of the signed map. {resampled(record)} In italics: "
        "controls, which know nothing of the network and have to fail."
    )


def _reading(record: Record) -> str:
    """Who passes and who does not, from the verdicts alone."""
    found = {n: each for n, each in record["methods"].items() if n not in CONTROLS}
    passing = [name for name, each in found.items() if each["passes"]]
    alike = [name for name, each in found.items() if not each["changed"]]
    ignoring = {name: each["ignored"] for name, each in found.items() if each["ignored"]}
    failing = [n for n, each in record["methods"].items() if n in CONTROLS and not each["passes"]]
    parts = [f"{len(passing)} of {len(found)} methods pass: {listed(passing)}."]
    if alike:
        parts.append(
            "Hardly changed, or not shown to be, by a network that has learned nothing: "
            f"{listed(alike)}."
        )
    if ignoring:
        each = "; ".join(f"{name} ({', '.join(layers)})" for name, layers in ignoring.items())
        parts.append(f"These ignore a layer: {each}.")
    controls = [name for name in record["methods"] if name in CONTROLS]
    parts.append(
        "All controls fail, as they must."
        if failing == controls
        else "Not all controls fail: the rule is too lenient here."
    )
    return " ".join(parts)
