"""The report on randomised networks: which maps depend on what was learned."""

from experiments.answer import conclusion
from experiments.claims import Findings, listed, resampled
from experiments.controls import CONTROLS
from experiments.tables import measured, table, text, two

PASSES, FAILS, UNDECIDED = "passes", "fails", "undecided"


def sanity_section(record: Findings) -> str:
    """Table and reading of `sanity.json`."""
    found = record["methods"]
    head = [
        "method",
        "verdict",
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
            "<h2>Do the maps depend on what was learned?</h2>",
            f"<p>{text(_intro(record))}</p>",
            table(head, rows, caption="Similarity of maps before and after", quiet=CONTROLS),
            conclusion(f"<p>{text(_reading(record))}</p>"),
        ]
    )


def _cells(each: Findings, cases: int) -> list[str]:
    alone = list(each["independent"].values())
    return [
        f"<b>{PASSES}</b>" if each["verdict"] == PASSES else each["verdict"],
        str(len(each["ignored"])),
        *(measured(each["final"][name], two) for name in ("in_head", "spearman", "ssim", "cosine")),
        measured(alone[0]["in_head"], two),
        measured(alone[-1]["in_head"], two),
        f"{each['defined']} of {cases}",
    ]


def _intro(record: Findings) -> str:
    rule, draws = record["rule"], record["draws"]
    anew = "once" if draws == 1 else f"{draws} times (similarities are averaged)"
    return (
        f"Maps of {record['cases']} correctly classified test images with a mask, of the trained "
        f"network and of the same network with layers drawn anew, {anew}, from its initial "
        "distribution: cascading from the logits down, and each layer alone (a convolution and its "
        "normalisation are one). A method passes where, with all layers drawn anew, the 95 % "
        f"interval of Spearman's correlation of |map| in the head lies below {rule['unlike']}, and "
        f"with any one layer below {rule['alike']}; it fails where one of these lies above, and is "
        "undecided else. To pass is to depend on the parameters; it does not make a map true. Over "
        "the whole image the correlation is higher: on the black background most maps are zero "
        "whatever the network. SSIM is of |map|, the cosine of the signed map. Defined: images on "
        f"which the correlation is, at the layer where they are fewest. {resampled(record)} In "
        "italics: controls, which do not depend on the network, and have 1 by construction."
    )


def _reading(record: Findings) -> str:
    """Who passes, who fails, and why, from the verdicts alone."""
    found = {n: each for n, each in record["methods"].items() if n not in CONTROLS}
    by = {
        kind: [name for name, each in found.items() if each["verdict"] == kind]
        for kind in (PASSES, FAILS, UNDECIDED)
    }
    parts = [f"{len(by[PASSES])} of {len(found)} methods pass: {listed(by[PASSES])}."]
    if by[FAILS]:
        parts.append(f"These fail: {'; '.join(f'{n} ({_why(found[n])})' for n in by[FAILS])}.")
    if by[UNDECIDED]:
        parts.append(f"Undecided: {listed(by[UNDECIDED])}.")
    few = [n for n in by[PASSES] if found[n]["defined"] < record["cases"]]
    if few:
        parts.append(
            "Of those that pass, some have maps without an order, which are left out: "
            f"{listed(few)}."
        )
    return " ".join(parts)


def _why(each: Findings) -> str:
    reasons = [f"ignores {layer}" for layer in each["ignored"]]
    if each["unchanged"]:
        reasons.insert(0, "hardly changed by a network that has learned nothing")
    return ", ".join(reasons)
