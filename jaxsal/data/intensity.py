"""Pixel values of any depth and unit to the 0..1 that a network takes: one rule for all."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped

Rule = Literal["auto", "stretch", "full", "raw"]

DARK = 0.1
"""Where no value reaches this share of the full scale, the scale is not the one in use."""

PERCENTILES = (0.5, 99.5)
"""Of a stack or a scan, which become 0 and 1; of a picture of one page its least and largest."""

SAMPLE, LARGE = 2**22, 2**26
"""Values, spread evenly over a scan, that its percentiles are taken of; and of one with more values
than `LARGE` its least and largest too."""


class Intensity(NamedTuple):
    """How values become a network's input.

    Attributes:
        rule: `auto`: the window that the file names; else 0..full scale, where a value reaches a
            tenth of it; else as `stretch`: the percentiles `PERCENTILES` of the whole scan become
            0 and 1. `full`: 0..full scale. `raw`: the values as they are.
        window: (center, width) in the file's units, in place of all that.
    """

    rule: Rule = "auto"
    window: tuple[float, float] | None = None


class Units(NamedTuple):
    """What the numbers of a scan say.

    Attributes:
        full: the largest that their kind can be, such as 255; None: it means nothing.
        window: (low, high) that the file is to be seen at.
        inverted: whether low is white.
    """

    full: float | None = None
    window: tuple[float, float] | None = None
    inverted: bool = False


class Scale(NamedTuple):
    """Values `low`..`high` to 0..1, `inverted` to 1..0; `how` says where they come from."""

    low: float
    high: float
    inverted: bool
    how: str


def check(asked: Intensity) -> Intensity:
    """The same.

    Raises:
        ValueError: a window that is none, or beside a rule.
    """
    if asked.window is not None:
        center, width = asked.window
        if not (np.isfinite(center) and 0 < width < float("inf")):
            raise ValueError(
                f"window: expected CENTER WIDTH, a width above 0; got {center} {width}"
            )
        if asked.rule != "auto":
            raise ValueError(f"window: stands in place of --intensity {asked.rule}; name one")
    return asked


def full_scale(dtype: np.dtype) -> float | None:
    """The largest value of 8 and 16 bits without a sign; of floats 1; of others None."""
    if dtype.kind == "f":
        return 1.0
    return float(np.iinfo(dtype).max) if dtype in (np.uint8, np.uint16) else None


def scale(
    values: Shaped[np.ndarray, "..."], units: Units, asked: Intensity, *, single: bool = False
) -> Scale | None:
    """The scale of all values of a scan; None: they are taken as they are.

    `single`: they are a picture of one page.

    Raises:
        ValueError: `full` of numbers that have no full scale, or none that is finite.
    """
    if asked.window is not None:
        center, width = asked.window
        return Scale(center - width / 2, center + width / 2, units.inverted, "the window given")
    if asked.rule == "raw":
        return None
    if asked.rule == "auto" and units.window is not None:
        return Scale(*units.window, units.inverted, "the file's own window")
    if asked.rule == "full" and units.full is None:
        raise ValueError("intensity: these values have no full scale; use stretch, raw or --window")
    low, high, full = *_range(values), units.full
    if full and (asked.rule == "full" or (low >= 0 and DARK * full <= high <= full)):
        if asked.rule != "stretch":
            return Scale(0.0, full, units.inverted, f"0 to {full:g} made 0 to 1")
    if single and full:
        return Scale(low, high, units.inverted, "least to largest value made 0 to 1")
    low, high = np.percentile(_sample(values), PERCENTILES).tolist()
    how = "percentiles {:g} and {:g} of the scan made 0 and 1".format(*PERCENTILES)
    return Scale(low, high, units.inverted, how)


def scaled(
    values: Shaped[np.ndarray, "*shape"], scale: Scale | None
) -> Float32[np.ndarray, "*shape"]:
    """The values in 0..1, those beyond clipped, and the lowest where there is no number."""
    if scale is None:
        return values.astype(np.float32)
    low, high, inverted, _ = scale
    share = (values.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-30))
    if values.dtype.kind == "f":
        share = np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0)
    share = np.clip(share, 0, 1)
    return 1 - share if inverted else share


def _range(values: np.ndarray) -> tuple[float, float]:
    kept = values if values.size <= LARGE else _sample(values)
    kept = kept if kept.dtype.kind in "iu" else kept[np.isfinite(kept)]
    if not kept.size:
        raise ValueError("no pixel is a finite number")
    return float(kept.min()), float(kept.max())


def _sample(values: np.ndarray) -> np.ndarray:
    """Finite values, evenly spread."""
    every = values.flat[:: max(1, values.size // SAMPLE)]
    return every[np.isfinite(every)]
