"""Measures to pictures: learning curves, a confusion matrix, relevance densities with intervals.

Drawn on canvases of `jaxsal.viz.figures`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxsal.types import ArrayValues
from jaxsal.viz.figures import canvas
from jaxsal.viz.style import INK, LINES, REGION_COLOURS, SERIES_COLOURS, series_colour, styled

FULL = 4
"""Series that a row of dots has room for at its own height; a legend's line has as many."""
MARKERS = "osD^"
"""Of series by the round of their colours."""


@styled
def learning_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Loss, accuracy and learning rate by epoch, training beside validation.

    Args:
        history: `{"train_loss", "validation_loss", "train_accuracy", "validation_accuracy",
            "learning_rate": a value an epoch}`; what is missing is left out.
    """
    figure, panels = canvas(9.5, 2.9, ncols=3, width_ratios=(3, 3, 2))
    for axis, quantity in zip(panels, ("loss", "accuracy", "learning_rate"), strict=True):
        for part, colour in LINES.items():
            values = np.asarray(history.get(f"{part}_{quantity}".lstrip("_"), ()), float)
            marker = "o" if len(values) == 1 else ""
            if len(values):
                epochs = np.arange(1, len(values) + 1)
                axis.plot(epochs, values, marker=marker, color=colour, label=part)
        axis.set(title=quantity.replace("_", " "), xlabel="epoch")
        axis.grid(axis="y", alpha=0.25)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if len(axis.get_legend_handles_labels()[0]) > 1:
            axis.legend()
    return figure


@styled
def confusion(matrix: ArrayValues, classes: Sequence[str]) -> Figure:
    """A confusion matrix `[K, K]`, rows true: counts, and colour by the share of the row."""
    matrix = np.asarray(matrix)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 1.6 + 0.95 * len(classes)
    figure, axis = canvas(side + 0.3, side)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1.15)
    for (i, j), count in np.ndenumerate(matrix):
        text = f"{count}\n{share[i, j]:.1%}"
        axis.text(j, i, text, ha="center", va="center", color="white" if share[i, j] > 0.6 else INK)
    ticks = range(len(classes))
    axis.set_xticks(ticks, classes, rotation=30, ha="right", rotation_mode="anchor")
    axis.set_yticks(ticks, classes)
    axis.set(xlabel="predicted", ylabel="true")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


@styled
def region_densities(methods: Mapping[str, Mapping[str, Any]], regions: Sequence[str]) -> Figure:
    """Relevance density of each region with its interval, a row a method.

    The line at 1 is a map even over the image.

    Args:
        methods: `{method: {region: {"density": [mean, low, high]}}}`; None and NaN are not drawn.
        regions: which, in order; at most four.

    Raises:
        ValueError: more regions than there are colours.
    """
    if len(regions) > len(REGION_COLOURS):
        raise ValueError(f"regions: expected at most {len(REGION_COLOURS)}, got {len(regions)}")
    figure, axis = canvas(7.5, 1.1 + 0.46 * len(methods))
    axis.axvline(1, color=INK, lw=0.8, ls="--", zorder=0)
    for k, (region, colour) in enumerate(zip(regions, REGION_COLOURS, strict=False)):
        rows = np.arange(len(methods)) + 0.17 * (k - (len(regions) - 1) / 2)
        cells = [
            [np.nan if v is None else v for v in m[region]["density"]] for m in methods.values()
        ]
        mean, low, high = np.array(cells, float).T
        axis.hlines(rows, np.maximum(low, 1e-3), high, color=colour, lw=2.2, alpha=0.55)
        axis.plot(mean, rows, "o", color=colour, ms=4.5, label=region)
    axis.set_xscale("log")
    axis.set_ylim(len(methods) - 0.5, -0.5)
    axis.set_yticks(range(len(methods)), list(methods))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axis.tick_params(axis="x", which="both", length=3, pad=3)  # all labels on one line
    axis.set_xlabel("relevance density (share of |map| / share of area), 95 % interval")
    axis.grid(axis="x", alpha=0.25)
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=len(regions))
    return figure


@styled
def dots(
    series: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    label: str,
    reference: float | None = None,
    log: bool = False,
) -> Figure:
    """Means with their intervals, a row a name, a colour a series.

    Args:
        series: `{series: {row: [mean, low, high]}}`, the same rows in each; NaN is not drawn.
        label: of the axis. reference: where a line is drawn. log: whether the axis is logarithmic.
    """
    rows = list(next(iter(series.values())))
    figure, axis = canvas(7.5, _height(0.3, len(rows), len(series)))
    _dots(axis, series, rows, label=label, reference=reference, log=log)
    axis.set_yticks(range(len(rows)), rows)
    figure.legend(loc="outside upper center", ncols=min(len(series), FULL))
    return figure


@styled
def dots_beside(
    panels: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], *, log: Sequence[str] = ()
) -> Figure:
    """`dots` side by side, over the same rows: `{label of the axis: series}`."""
    rows = list(next(iter(next(iter(panels.values())).values())))
    most = max(map(len, panels.values()))
    figure, axes = canvas(10.5, _height(0.26, len(rows), most), ncols=len(panels), sharey=True)
    for axis, (label, series) in zip(axes, panels.items(), strict=True):
        _dots(axis, series, rows, label=label, reference=None, log=label in log)
        if len(series) > 1:
            axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(series), FULL))
    axes[0].set_yticks(range(len(rows)), rows)
    return figure


def _height(inches: float, rows: int, series: int) -> float:
    """Of dots: that many inches a row, more where it has more series, and the legend's lines."""
    return 1.1 + inches * rows * max(1, series / FULL) + 0.2 * ((series - 1) // FULL)


def _dots(
    axis: Axes,
    series: Mapping[str, Mapping[str, Sequence[float]]],
    rows: list[str],
    *,
    label: str,
    reference: float | None,
    log: bool,
) -> None:
    if reference is not None:
        axis.axvline(reference, color=INK, lw=0.8, ls="--", zorder=0)
    apart = 0.2 * min(1, FULL / len(series))  # series of a row do not reach the next row's
    for k, (name, values) in enumerate(series.items()):
        colour, marker = series_colour(k), MARKERS[k // len(SERIES_COLOURS) % len(MARKERS)]
        places = np.arange(len(rows)) + apart * (k - (len(series) - 1) / 2)
        cells = [[np.nan if v is None else v for v in values[row]] for row in rows]
        mean, low, high = np.array(cells, float).T
        axis.hlines(places, low, high, color=colour, lw=2.2, alpha=0.55)
        axis.plot(mean, places, marker, color=colour, ms=4.5, label=name)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xscale("log" if log else "linear")
    if log:  # matplotlib's own labels are mathematics
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(lambda value, _: "")
    axis.set_xlabel(label)
    axis.grid(alpha=0.25)
    axis.tick_params(axis="y", length=0)


@styled
def heat(panels: Mapping[str, Any], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Matrices `[rows, columns]` of values from 0 to 1 side by side, each cell with its number."""
    width = 1.8 + len(panels) * (0.4 + 0.62 * len(columns))
    figure, axes = canvas(
        width, 1.2 + 0.24 * len(rows), ncols=len(panels), sharey=True, squeeze=False
    )
    for axis, (title, matrix) in zip(axes[0], panels.items(), strict=True):
        matrix = np.array([[np.nan if v is None else v for v in row] for row in matrix], float)
        axis.imshow(matrix, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
        for (i, j), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                colour = "white" if value > 0.6 else INK
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
        axis.set_title(title)
        axis.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
        axis.set_yticks(range(len(rows)), rows)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    return figure
