"""The report on where the relevance lies: three tables, and what their intervals support."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.answer import conclusion
from experiments.claims import HOLDS, resampled, verdict
from experiments.controls import CONTROLS
from experiments.head import REGIONS
from experiments.tables import defined, measured, percent, table, text, times, words
from jaxsal.metrics.localization import MEASURES
from jaxsal.viz.page import figures as figures_html

Metrics = Mapping[str, Any]
Figure = tuple[str, str, bytes]


def relevance_section(relevance: Metrics, figures: Sequence[Figure] = ()) -> str:
    """Densities, shares and agreement by method, with what their intervals support.

    Args:
        relevance: the `relevance` of `metrics.json`; nothing is shown without `methods`.
        figures: `(title, caption, PNG)` of what they show, before the tables.
    """
    methods = relevance.get("methods", {})
    if not methods or not relevance.get("cases"):
        return ""
    reasons = relevance.get("excluded", {}).items()
    excluded = ", ".join(f"{reason} {count}" for reason, count in reasons if count) or "none"
    intro = (
        f"Over {relevance['cases']} correctly classified test images with a mask (excluded: "
        f"{excluded}). The surround is a ring around the tumour inside the head, "
        f"{relevance['surround_width']} of the tumour's equivalent diameter wide. Density is a "
        "region's share of |map| over its share of the area: 1 is a map even over the image. Most "
        "maps are zero on the background, so that chance is the control that is even in the head; "
        "bold: tumours above it, by the interval of the difference. "
        f"{resampled(relevance)} In italics: controls that know nothing of the network."
    )
    head = ["method", *REGIONS]
    gaps = relevance.get("differences", {})
    densities = [
        (
            name,
            _tumour(value["tumour"]["density"], gaps.get(name, {}).get("tumour - even")),
            *(measured(value[region]["density"], times) for region in REGIONS[1:]),
        )
        for name, value in methods.items()
    ]
    shares = [(m, *(measured(v[r]["share"], percent) for r in REGIONS)) for m, v in methods.items()]
    first = next(iter(methods.values()))
    shares.append(("share of the area", *(measured(first[r]["area"], percent) for r in REGIONS)))
    agreement = [(m, *(measured(v[name]) for name in MEASURES)) for m, v in methods.items()]
    measures = [words(name) for name in MEASURES]
    quiet = {*CONTROLS, "share of the area"}
    return "".join(
        [
            "<h2>Where does the relevance lie?</h2>",
            f"<p>{text(intro)}</p>",
            figures_html(figures),
            table(head, densities, caption="Relevance density by region", quiet=quiet),
            table(head, shares, caption="Share of the relevance by region", quiet=quiet),
            table(["method", *measures], agreement, caption="Agreement with the mask", quiet=quiet),
            _reading(gaps),
        ]
    )


CLAIMS = {
    "tumour - surround": "Tumours hold more relevance, for their area, than their surround",
    "surround - rest of head": "The surround holds more of it than the rest of the head",
    "tumour - even": "Tumours hold more of it than under a map that is even in the head",
    "tumour - centre prior": "Tumours hold more of it than under the centre prior",
    "AUC - centre prior": "Tumours are found (ROC AUC) better than by the centre prior",
}
"""What a difference above zero says, image by image."""


def _reading(gaps: Metrics) -> str:
    """For which methods the intervals of the differences support what."""
    if not gaps:
        return ""
    items = []
    for difference, claim in CLAIMS.items():
        names = [name for name, gap in gaps.items() if verdict(gap[difference]) == HOLDS]
        whom = "every method" if names == list(gaps) else text(", ".join(names)) or "no method"
        if not any(all(map(defined, gap[difference])) for gap in gaps.values()):
            whom = "could not be measured"
        items.append(f"<li>{text(claim)}: <b>{whom}</b></li>")
    return conclusion(
        "<p>What the intervals of the differences support, and for whom:</p>"
        f"<ul>{''.join(items)}</ul>"
    )


def _tumour(interval: Sequence[float], over_even: Any) -> str:
    """A density in tumours; bold where it is above that of a map even in the head."""
    cell = measured(interval, times)
    return f"<b>{cell}</b>" if over_even and verdict(over_even) == HOLDS else cell
