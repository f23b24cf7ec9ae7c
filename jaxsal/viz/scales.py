"""Where the scale of colours of each map ends, and how that is written."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxsal.types import ArrayValues
from jaxsal.viz.maps import Look
from jaxsal.viz.pixels import limit, magnitudes

METHOD, ALL, MAP = "method", "all", "map"
SCALES = (METHOD, ALL, MAP)
"""One for all maps of a method, one for all maps, or one for each map."""


def ends(
    columns: Mapping[str, Sequence[ArrayValues]], scale: str, *, percentile: float | int
) -> dict[str, list[float]]:
    """The value that is drawn in the strongest colour, for each map of each method.

    A method that shows nothing has no part in the one for all.

    Raises:
        ValueError: a scale that is none of `SCALES`.
    """
    if scale not in SCALES:
        raise ValueError(f"scale: expected one of {', '.join(SCALES)}; got {scale!r}")
    if scale == MAP:
        return {n: [limit([m], percentile=percentile) for m in maps] for n, maps in columns.items()}
    found = {name: limit(maps, percentile=percentile) for name, maps in columns.items()}
    if scale == ALL:
        shown = [found[name] for name, maps in columns.items() if magnitudes(maps).any()]
        found = dict.fromkeys(columns, max(shown, default=1.0))
    return {name: [found[name]] * len(maps) for name, maps in columns.items()}


def drawn(
    columns: dict[str, list[np.ndarray]],
    sizes: Sequence[tuple[int, ...]],
    look: Look,
    scale: str,
    *,
    percentile: float | int,
) -> tuple[dict[str, list[np.ndarray]], dict[str, list[float]]]:
    """The maps of images of those sizes as they are drawn, and the `ends` of their scales.

    Lines are of maps that are clipped and smoothed, and their scale ends with the largest value
    left: by the percentile of the maps as they were, those of large images that change from pixel
    to pixel had no line.
    """
    bounds = ends(columns, scale, percentile=percentile)
    if not look.lines:
        return columns, bounds
    smooth = {
        name: [look.smoothed(*each) for each in zip(maps, bounds[name], sizes, strict=True)]
        for name, maps in columns.items()
    }
    return smooth, ends(smooth, scale, percentile=100)


def written(maps: Sequence[ArrayValues], end: float, look: Look) -> str:
    """The end of the scale of maps; "0" where all are zero, "" where no value is finite."""
    values = magnitudes(maps)
    if not values.size:
        return ""
    return f"{'±' if look.signs else ''}{end:.2g}" if values.any() else "0"
