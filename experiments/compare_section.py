"""The report on all methods by all metrics: a ranking, every value, and what the intervals say."""

from typing import Any

from experiments.answer import conclusion
from experiments.claims import HOLDS, Findings, listed, resampled, verdict
from experiments.controls import CONTROLS
from experiments.methods import SENSITIVITIES
from experiments.scoring import PROBABILITY, ROBUSTNESS, SIGNED
from experiments.tables import measured, number, table, text, times, words
from jaxsal.metrics import LOWER_IS_BETTER


def compare_section(record: Findings) -> str:
    """Tables and reading of `compare_methods.json`."""
    faithful = record["families"]["faithfulness"]
    ranks = [
        (
            name,
            measured(record["ranks"]["faithfulness"][name], _one),
            measured(record["behind"]["faithfulness"][name], _one),
            measured(record["ranks"]["localisation"][name], _one),
            _above(record, name),
            times(record["milliseconds"][name]),
            str(record["undefined"][name]),
        )
        for name in record["methods"]
    ]
    head = [
        "method",
        "faithfulness, mean rank",
        "behind the first",
        "localisation, mean rank",
        f"above all controls, of {len(faithful)}",
        "ms a map",
        "undefined",
    ]
    names = [name for family in record["families"].values() for name in family]
    names += [metric.__name__ for metric in ROBUSTNESS]
    values = [
        (method, *(measured(each[name], times) for name in names))
        for method, each in record["methods"].items()
    ]
    columns = ["method", *(f"{words(n)} {'↓' if n in LOWER_IS_BETTER else '↑'}" for n in names)]
    return "".join(
        [
            "<h2>Which method is the truest?</h2>",
            f"<p>{text(_intro(record))}</p>",
            table(head, ranks, caption="Ranking and cost", quiet=CONTROLS),
            table(columns, values, caption="Every method by every metric", quiet=CONTROLS),
            conclusion(f"<p>{text(_reading(record))}</p>"),
        ]
    )


def _one(value: Any) -> str:
    return number(value, 1)


def _above(record: Findings, name: str) -> str:
    found = record["above_controls"].get(name)
    return "" if found is None else str(len(found))


def _intro(record: Findings) -> str:
    faithful, local = (
        listed([words(name) for name in record["families"][family]])
        for family in ("faithfulness", "localisation")
    )
    robustness = [words(metric.__name__) for metric in ROBUSTNESS]
    return (
        f"Maps of {record['cases']} correctly classified test images with a mask, for the "
        f"predicted class. Faithfulness is the mean rank over {faithful}; localisation over "
        f"{local}. Arrows: which way is better. Completeness, sparseness, entropy and robustness "
        f"({listed(robustness)}, on {record['few'] or 'no'} images) count in no rank: a map that "
        "knows nothing can do well. Of faithfulness "
        f"{listed([*map(words, SIGNED)])} take the map's sign, the others its magnitude; "
        "infidelity takes "
        f"{listed(SENSITIVITIES)} as changes for a unit of the input, the others as contributions. "
        "The score is the logit that the maps explain; of "
        f"{listed([*map(words, PROBABILITY)])} the probability, of AIC whether the class is named. "
        "Undefined: images on which faithfulness is, though not for every method; they count "
        "as the worst of the image. Ms a map: one timed call, compilation apart. "
        f"{resampled(record)} In italics: controls that know nothing of the network."
    )


def _reading(record: Findings) -> str:
    """What the intervals support: who leads, who is not told apart, who is no better than blind."""
    behind, best = record["behind"]["faithfulness"], record["best"]["faithfulness"]
    near = [n for n in behind if n != best and verdict(behind[n]) != HOLDS]
    level, blind = ([n for n in near if (n in CONTROLS) is control] for control in (False, True))
    cost = record["milliseconds"]
    parts = [f"The most faithful by mean rank, chosen on these same images, is {best}."]
    parts.append(
        f"Not told apart from it: {listed(level)}."
        if level
        else "All other methods are behind it by intervals that do not reach zero."
    )
    if level:
        cheap = min([best, *level], key=lambda name: cost[name])
        parts.append(f"The cheapest of these is {cheap}, at {times(cost[cheap])} ms a map.")
    if blind:
        parts.append(f"Nor are these controls told apart from the first: {listed(blind)}.")
    above, count = record["above_controls"], len(record["families"]["faithfulness"])
    always = [name for name, found in above.items() if len(found) == count]
    never = [name for name, found in above.items() if not found]
    where = " on all networks" if record["bootstrap"] == "network" else ""
    parts.append(
        f"Above every control in all {count} metrics of faithfulness{where}: {listed(always)}."
    )
    parts.append(f"In none of them{where}: {listed(never)}.")
    ahead = [name for name in behind if name in CONTROLS and _before(record, name)]
    if ahead:
        parts.append(f"Controls that some method ranks behind: {listed(ahead)}.")
    parts.append(f"The tumour is found best by {record['best']['localisation']}.")
    if best in CONTROLS:
        parts.append("The first is a control: no method is shown to be faithful here.")
    return " ".join(parts)


def _before(record: Findings, control: str) -> bool:
    """Whether a control's mean rank is better than that of some method."""
    ranks = record["ranks"]["faithfulness"]
    return any(ranks[control][0] < ranks[name][0] for name in ranks if name not in CONTROLS)
