"""Where the scale of colours of each map ends, and how that is written."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxsal.types import ArrayValues
from jaxsal.viz.maps import Look
from jaxsal.viz.pixels import limit, signed

METHOD, ALL, MAP = "method", "all", "map"
SCALES = (METHOD, ALL, MAP)
"""One for all maps of a method, one for all maps, or one for each map."""


def ends(
    columns: Mapping[str, Sequence[ArrayValues]], scale: str, *, percentile: float | int
) -> dict[str, list[float]]:
    """The value that is drawn in the strongest colour, for each map of each method.

    Raises:
        ValueError: a scale that is none of `SCALES`.
    """
    if scale not in SCALES:
        raise ValueError(f"scale: expected one of {', '.join(SCALES)}; got {scale!r}")
    if scale == MAP:
        return {n: [limit([m], percentile=percentile) for m in maps] for n, maps in columns.items()}
    found = {name: limit(maps, percentile=percentile) for name, maps in columns.items()}
    if scale == ALL:
        found = dict.fromkeys(columns, max(found.values(), default=1.0))
    return {name: [found[name]] * len(maps) for name, maps in columns.items()}


def written(maps: Sequence[ArrayValues], end: float, look: Look) -> str:
    """The end of the scale of maps; "0" where all are zero, "" where no value is finite."""
    values = np.concatenate([signed(map).ravel() for map in maps] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    if not values.size:
        return ""
    return f"{'±' if look.signs else ''}{end:.2g}" if values.any() else "0"
