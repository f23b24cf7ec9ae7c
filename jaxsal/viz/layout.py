"""Canvases: panels without ticks, how fine they are, and the scale of colours under them."""

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from jaxsal.viz.maps import Look
from jaxsal.viz.picture import Picture
from jaxsal.viz.style import styled

PANEL = 1.35
"""Inches of a panel's longer side, where many stand beside each other."""
FINEST = 2400
"""Dots an inch that a figure of large images has at most."""
LEFT = 0.42
"""Inches on either side of the panels."""


@styled
def canvas(width: float | int, height: float | int, **panels: Any) -> tuple[Picture, Any]:
    """A figure of that size in inches and its axes, laid out so that no label is cut off.

    `panels` are what `Figure.subplots` takes; one `Axes` without.
    """
    figure = Picture(figsize=(width, height), layout="constrained", dpi=120)
    return figure, figure.subplots(**panels)


def panels(
    rows: int,
    columns: int,
    *,
    gap: float = 0.04,
    top: float = 0.25,
    bottom: float = 0.1,
    panel: float | int = PANEL,
    sizes: Iterable[tuple[int, ...]] = (),
) -> tuple[Picture, np.ndarray]:
    """Panels without ticks, `gap` panels between rows; room for labels on three sides.

    Args:
        panel: inches of a panel's longer side.
        sizes: of the images: the panels have their form where it is one, else they are square.
    """
    rows, sizes = max(rows, 1), set(sizes)
    across, down = _form(panel, sizes)
    height = top + bottom + down * (rows + gap * (rows - 1))
    width = 2 * LEFT + across * (columns + 0.04 * (columns - 1))
    figure = Picture(figsize=(width, height), dpi=_dots(panel, sizes))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        LEFT / width, bottom / height, 1 - LEFT / width, 1 - top / height, wspace=0.04, hspace=gap
    )
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, axes


def _form(panel: float | int, sizes: set[tuple[int, ...]]) -> tuple[float, float]:
    """Width and height of a panel in inches; none is narrower than a quarter of its length."""
    if len(sizes) != 1:
        return panel, panel
    height, width = next(iter(sizes))
    longest = max(height, width)
    return panel * max(width / longest, 0.25), panel * max(height / longest, 0.25)


def _dots(panel: float | int, sizes: set[tuple[int, ...]]) -> float:
    """Dots an inch: 120 or more, a whole number of them for a pixel of the largest image."""
    side = max((max(size) for size in sizes), default=1)
    return min(FINEST, side * np.ceil(120 * panel / side) / panel)


def wrapped(title: str, width: float) -> list[str]:
    """A title in lines of a figure that many inches wide; nothing of it is cut off."""
    return [part for line in title.split("\n") for part in textwrap.wrap(line, int(width * 12))]


def colour_bar(
    figure: Figure, percentile: float | int, look: Look, *, where: str = "above"
) -> None:
    """The one colour bar under all maps: each is a fraction of the value given `where`."""
    width, height = figure.get_size_inches()
    long = min(2.8, width - 1.5)  # room for the words at its ends
    bar = figure.add_axes((0.5 - long / 2 / width, 0.42 / height, long / width, 0.12 / height))
    figure.colorbar(
        ScalarMappable(Normalize(look.least, 1), look.colormap),
        cax=bar,
        orientation="horizontal",
        ticks=[-1, 0, 1] if look.signs else [0, 1],
    )
    ends = ["against the class", "0", "for the class"]
    bar.set_xticklabels(ends if look.signs else ["0", "for or against"])
    bar.set_xlabel(f"{_end(percentile, look)}, given {where}", fontsize=8)
    bar.tick_params(length=0)


def _end(percentile: float | int, look: Look) -> str:
    """What the end of the scale is, in words that fit below two panels."""
    if look.lines:
        return "lines at ¼, ½, ¾ of max |map|, smoothed"
    return f"clipped at {'± ' if look.signs else ''}the {percentile:g}th percentile of |map|"
