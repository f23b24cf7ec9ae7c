"""How far the maps of two contenders are apart, and whether they are the same maps."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks import peers

RANKED = 16
"""Images whose maps are correlated: on a CPU, while an accelerator waits."""


class Tolerance(NamedTuple):
    """The least cosine of maps with the reference's, or the most that single values differ."""

    cosine: float
    difference: float


TOLERANCES = {
    "highest": Tolerance(0.99, 1e-3),
    "tf32": Tolerance(0.97, 3e-2),
    "bfloat16": Tolerance(0.8, 0.1),
}
"""By precision: where values in a pool's window are equal to rounding, either has the gradient."""


def apart(row: Mapping[str, Any], precision: str) -> str | None:
    """Why a row's maps are not the reference's; None where they are.

    Those of a method that draws random numbers need only be numbers: two libraries draw others.
    """
    found = row["agreement"]
    if not found:
        return "maps not compared"
    if not math.isfinite(found["largest"]):
        return "maps not finite"
    if row["random"]:
        return None
    cosine, difference = _tolerance(row, precision)
    if "cosine" not in found:
        far = found["largest"] > difference
        return f"other values: {found['largest']:.1e} of the largest apart" if far else None
    if found["cosine"] >= cosine:
        return None
    return f"other maps: cosine {found['cosine']:.3f}, expected {cosine:g}"


def _tolerance(row: Mapping[str, Any], precision: str) -> Tolerance:
    narrow = "bfloat16" in row["contender"]
    chosen = TOLERANCES["bfloat16" if narrow else precision]
    variant = variant_of(row)
    return chosen._replace(cosine=min(chosen.cosine, variant.cosine)) if variant else chosen


def variant_of(row: Mapping[str, Any]) -> peers.Variant | None:
    """What is known to be different in the contender's form of the method."""
    return peers.VARIANTS.get((row["method"], row["contender"].partition(",")[0]))


def agreement(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """How far maps are from the reference's, over the images; nothing where shapes differ.

    Returns:
        largest, median: differences as shares of the reference's largest value; NaN where a value
            is not finite.
        cosine, spearman: the least of the correlation with the reference, over as many images as
            `RANKED`; absent where an image has a single value.
    """
    found, expected = ({n: _plain(x) for n, x in maps.items()} for maps in (found, expected))
    shared = sorted(set(found) & set(expected))
    if not shared or any(found[name].shape != expected[name].shape for name in shared):
        return {}
    ours = np.concatenate([found[name].reshape(len(found[name]), -1) for name in shared], 1)
    theirs = np.concatenate([expected[n].reshape(len(expected[n]), -1) for n in shared], 1)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return {"largest": math.nan, "median": math.nan}
    gaps = np.abs(ours - theirs) / max(float(np.abs(theirs).max()), 1e-30)
    gap = {"largest": float(gaps.max()), "median": float(np.median(gaps))}
    if ours.shape[1] == 1:
        return gap
    pairs = list(zip(ours[:RANKED], theirs[:RANKED], strict=True))
    return gap | {
        "cosine": float(np.min([_cosine(a, b) for a, b in pairs])),
        "spearman": float(np.min([_cosine(_ranks(a), _ranks(b)) for a, b in pairs])),
    }


def _plain(maps: np.ndarray) -> np.ndarray:
    """Maps of one channel, [B, H, W, 1], as [B, H, W]: libraries differ in what they return."""
    return maps[..., 0] if maps.ndim == 4 and maps.shape[-1] == 1 else maps


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else float(np.array_equal(a, b))


def _ranks(a: np.ndarray) -> np.ndarray:
    """Ranks around their mean; equal values share their mean rank."""
    _, inverse, counts = np.unique(a, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = ((2 * ends - counts - 1) / 2)[inverse.ravel()]
    return ranks - ranks.mean()
