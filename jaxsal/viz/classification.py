"""What a classifier's answers are worth, drawn: ROC curves, reliability, its worst mistakes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxsal.types import ArrayValues, RandomAccess
from jaxsal.viz.figures import canvas, contact_sheet
from jaxsal.viz.style import FAINT, LINES, series_colour, styled


@styled
def roc(curves: Mapping[str, tuple[ArrayValues, ArrayValues]]) -> Figure:
    """Receiver operating characteristics, one a name: false and true positive rates `[M]`.

    Straight between its points, as its area is measured: equal scores have one point, and some may
    be left out. A curve with NaN is named as not defined.
    """
    figure, axis = canvas(5.2, 4.6)
    axis.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls="--", label="guessing")
    for number, (name, rates) in enumerate(curves.items()):
        false, true = (np.asarray(rate, float) for rate in rates)
        defined = np.isfinite(false).all() and np.isfinite(true).all()
        colour = series_colour(number)
        if defined:
            # Curves that run together stay visible beneath each other.
            width = 1.6 + 1.4 * (len(curves) - 1 - number) / len(curves)
            axis.plot(false, true, color=colour, lw=width, label=name)
        else:
            axis.plot([], [], color=colour, lw=1.6, label=f"{name}: not defined")
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axis.set_aspect("equal")
    axis.legend(loc="lower right")
    return figure


@styled
def reliability(confidence: ArrayValues, accuracy: ArrayValues, images: ArrayValues) -> Figure:
    """How often predictions are right by how sure they are, a bin a point; images a bin below.

    Args:
        confidence, accuracy: `[bins]`, NaN where a bin is empty. images: how many, `[bins]`.
    """
    count = np.asarray(images)
    edges = np.linspace(0, 1, len(count) + 1)
    figure, (axis, below) = canvas(4.6, 5.2, nrows=2, sharex=True, height_ratios=(3.2, 1))
    axis.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls="--", label="as sure as right")
    axis.plot(
        confidence, accuracy, "o-", color=LINES["train"], ms=4.5, lw=1.2, label="this network"
    )
    axis.set(ylabel="share that is right", xlim=(0, 1), ylim=(-0.02, 1.02))
    axis.legend(loc="lower right")
    axis.grid(alpha=0.25)
    below.bar(edges[:-1], count, np.diff(edges), align="edge", color=LINES["train"], alpha=0.55)
    below.set(xlabel="confidence: the largest probability", ylabel="images")
    below.yaxis.get_major_locator().set_params(integer=True)
    return figure


def mistakes(
    images: ArrayValues, titles: Sequence[str], masks: RandomAccess | None = None
) -> Figure:
    """Images `[N, H, W, C]` that were taken for another class, each with its title."""
    return contact_sheet(images, titles=titles, masks=masks, columns=4)
