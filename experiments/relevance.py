"""The report on where the relevance lies: three tables, and what their intervals support."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.claims import resampled
from experiments.tables import defined, measured, percent, table, text, times, words
from jaxsal.metrics.controls import CONTROLS
from jaxsal.metrics.localization import MEASURES
from jaxsal.regions import REGIONS

Metrics = Mapping[str, Any]


def relevance_section(relevance: Metrics) -> str:
    """Densities, shares and agreement by method, with what their intervals support.

    Args:
        relevance: the `relevance` of `metrics.json`; nothing is shown without `methods`.
    """
    methods = relevance.get("methods", {})
    if not methods:
        return ""
    reasons = relevance.get("excluded", {}).items()
    excluded = ", ".join(f"{reason} {count}" for reason, count in reasons if count) or "none"
    intro = (
        f"Over {relevance['cases']} correctly classified test tumours (excluded: "
        f"{excluded}). The surround is a ring around the tumour inside the head, "
        f"{relevance['surround_width']} of the tumour's equivalent diameter wide. Density is a "
        "region's share of |map| over its share of the area: 1 is chance, bold an interval above. "
        f"{resampled(relevance)} In italics: controls that know nothing of the network."
    )
    head = ["method", *REGIONS]
    densities = [(m, *(_density(v[r]["density"]) for r in REGIONS)) for m, v in methods.items()]
    shares = [(m, *(measured(v[r]["share"], percent) for r in REGIONS)) for m, v in methods.items()]
    first = next(iter(methods.values()))
    shares.append(("share of the area", *(measured(first[r]["area"], percent) for r in REGIONS)))
    agreement = [(m, *(measured(v[name]) for name in MEASURES)) for m, v in methods.items()]
    measures = [words(name) for name in MEASURES]
    quiet = {*CONTROLS, "share of the area"}
    return "".join(
        [
            "<h2>Where does the relevance lie?</h2>",
            f"<p>{text(intro)}</p>{_reading(methods)}",
            table(head, densities, caption="Relevance density by region", quiet=quiet),
            table(head, shares, caption="Share of the relevance by region", quiet=quiet),
            table(["method", *measures], agreement, caption="Agreement with the mask", quiet=quiet),
        ]
    )


def _reading(methods: Metrics) -> str:
    """For which methods the intervals support what; no claim where they overlap."""

    def above(lower: Any, higher: Any) -> bool:
        return defined(lower[1]) and defined(higher[2]) and lower[1] > higher[2]

    chance = [1.0, 1.0, 1.0]
    control = methods.get("centre prior", {}).get("tumour", {}).get("density", [None] * 3)
    claims: dict[str, list[str]] = {}
    for name, method in methods.items():
        tumour, surround, rest = (method[region]["density"] for region in REGIONS[:3])
        findings = {
            "Tumours hold more relevance, for their area, than chance": above(tumour, chance),
            "Tumours hold more of it than their surround": above(tumour, surround),
            "The surround holds more of it than the rest of the head": above(surround, rest),
            "Tumours hold more of it than under the centre prior": above(tumour, control),
        }
        for claim, holds in findings.items():
            claims.setdefault(claim, []).extend([name] if holds and name not in CONTROLS else [])
    every = [name for name in methods if name not in CONTROLS]
    items = "".join(
        f"<li>{text(claim)}: <b>{'every method' if names == every else _listed(names)}</b></li>"
        for claim, names in claims.items()
    )
    return f"<p>What holds with intervals that do not overlap, and for whom:</p><ul>{items}</ul>"


def _density(interval: Sequence[float]) -> str:
    """A density; bold where its interval lies above chance."""
    cell = measured(interval, times)
    clear = all(defined(bound) and bound > 1 for bound in interval)
    return f"<b>{cell}</b>" if clear else cell


def _listed(names: Sequence[str]) -> str:
    return text(", ".join(names)) or "no method"
