"""The report on two checks of the maps: do they depend on what was learned, do they add up?"""

from collections.abc import Mapping
from typing import Any

from experiments.answer import conclusion
from experiments.claims import listed
from experiments.tables import defined, facts, measured, percent, table, text

Metrics = Mapping[str, Any]


def checks_section(metrics: Metrics) -> str:
    """Tables and reading of the `sanity` and the `completeness` of `metrics.json`."""
    sanity = metrics.get("sanity", {})
    kinds = {"in_head": "in the head", "spearman": "in the image"}
    rows = [(n, *(measured(row.get(kind)) for kind in kinds)) for n, row in sanity.items()]
    legend = "Spearman's correlation of |map|; 0: the map depends on what was learned"
    randomised = table(["method", *kinds.values()], rows, caption=legend) if rows else ""
    adds_up = {COMPLETENESS.get(k, k): v for k, v in (metrics.get("completeness") or {}).items()}
    completeness = facts("Completeness of integrated gradients", adds_up)
    if not randomised + completeness:
        return ""
    title = (
        "<h3>Maps of a trained network beside those of one that has learned nothing</h3>"
        if rows
        else ""
    )
    return (
        f'<h2>Do the maps pass?</h2><div class="columns"><div>{title}{randomised}</div>'
        f"{completeness}</div>{_passed(sanity, metrics.get('completeness') or {})}"
    )


COMPLETENESS = {
    "mean_points": "points of the path, on average",
    "median_points": "points, the median",
    "most_points": "points, the most",
    "images": "images",
    "within_1_percent": "share of the images within 1 %",
    "median_error": "median error, of the score's change",
    "largest_error": "largest error, of the score's change",
    "median_difference": "median change of the score",
    "rest_images": "images not within 1 %",
    "rest_median_difference": "their median change of the score",
    "rest_largest_gap": "their largest error, in the score",
}
"""In words."""

LOW = 0.5
"""Correlation below which maps of a network that has learned nothing are others."""


def _passed(sanity: Metrics, completeness: Metrics) -> str:
    """Which maps depend on what was learned, and whether integrated gradients add up."""
    parts = []
    if sanity:
        below = [n for n, row in sanity.items() if _below(row.get("in_head"), LOW)]
        rest = [name for name in sanity if name not in below]
        parts.append(
            f"Maps that change with what was learned (a correlation in the head shown to be below "
            f"{LOW}): {listed(below)}. Not shown of: {listed(rest)}."
        )
    if defined(share := completeness.get("within_1_percent")):
        parts.append(
            "Integrated gradients add up to the change of the score within 1 % on "
            f"{percent(share)} of the images."
        )
    return conclusion("".join(f"<p>{text(part)}</p>" for part in parts)) if parts else ""


def _below(interval: Any, limit: float) -> bool:
    """Whether the interval `[mean, low, high]` ends below a limit."""
    return bool(interval) and all(map(defined, interval)) and interval[2] < limit
