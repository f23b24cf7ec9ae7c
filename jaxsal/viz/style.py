"""Colours, fonts and axes of all figures; and that text is text: nothing in it is markup."""

import functools
from typing import Any

import matplotlib
from matplotlib import font_manager

DIVERGING = "RdBu_r"
"""The colour scale of maps: blue below zero, white at zero, red above."""
OUTLINE, INK, FAINT = "#FFD92F", "#222222", "#999999"
RIGHT, WRONG = "#00735A", "#B34700"
"""Answers: two colours that are told apart with any colour vision."""
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
    # A file or a class may be called by any name: "$" and "\\" are no mathematics.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
}
REGION_COLOURS = ("#D55E00", "#E69F00", "#0072B2", "#7F7F7F")
"""Okabe and Ito's colours, one a region from the inside out."""
LINES = {"train": "#0072B2", "validation": "#D55E00", "": "#555555"}
SERIES_COLOURS = (
    *("#D55E00", "#0072B2", "#009E73", "#7F7F7F"),
    *("#CC79A7", "#56B4E9", "#E69F00", "#F0E442"),
)
"""Of several results beside each other."""

FONTS = (
    *("DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS", "Hiragino Sans"),
    *("Microsoft YaHei", "Malgun Gothic", "Noto Sans Arabic", "Noto Sans Devanagari"),
    *("Unifont", "Symbola", "Noto Emoji"),
)
"""A letter that one lacks is taken from the next that is installed."""


def series_colour(number: int) -> str:
    """The colour of one of several series, from 0; after the last the first comes again."""
    return SERIES_COLOURS[number % len(SERIES_COLOURS)]


@functools.cache
def settings() -> Any:
    """The style with those of `FONTS` that are installed."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return {**STYLE, "font.family": [name for name in FONTS if name in installed]}


def styled(function: Any) -> Any:
    """Decorates a function that draws."""

    @functools.wraps(function)
    def drawn(*args: Any, **options: Any) -> Any:
        with matplotlib.rc_context(settings()):
            return function(*args, **options)

    return drawn
