"""Colours, fonts and axes of all figures."""

from typing import Any

import matplotlib

DIVERGING = "RdBu_r"
"""The colour scale of maps: blue below zero, white at zero, red above."""
OUTLINE, INK, FAINT = "#FFD92F", "#222222", "#999999"
LABEL: Any = {"boxstyle": "round", "facecolor": "white", "edgecolor": FAINT, "alpha": 0.85}
STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
REGION_COLOURS = ("#D55E00", "#E69F00", "#0072B2", "#7F7F7F")
"""Okabe and Ito's colours, one a region from the inside out."""
LINES = {"train": "#0072B2", "validation": "#D55E00", "": "#555555"}
SERIES_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#7F7F7F")
"""Of several results beside each other."""

styled = matplotlib.rc_context(STYLE)
"""Decorates a function that draws."""
