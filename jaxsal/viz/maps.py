"""How a map is laid over its image: opaque as it is strong, beside it, or as lines."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import scipy.ndimage
from matplotlib.axes import Axes

from jaxsal.types import ArrayValues
from jaxsal.viz.pixels import grey, limit, resized, signed
from jaxsal.viz.style import DIVERGING

DIVERGING_MAPS = frozenset(
    "PiYG PRGn BrBG PuOr RdGy RdBu RdYlBu RdYlGn Spectral coolwarm bwr seismic berlin managua "
    "vanimo".split()
)
"""Colour maps with a middle, which zero takes; of others |map| is drawn."""
ALONE, CONTOUR = "side-by-side", "contour"
"""The styles of maps without their images below them, and of lines at `LEVELS` of the scale."""
LEVELS = (0.25, 0.5, 0.75)
SMOOTH = 1 / 100
"""Of an image's side: how far contour lines are smoothed, as pixels alone make no lines."""


@dataclass(frozen=True)
class Look:
    """How maps are drawn.

    Attributes:
        style: one of `STYLES`. opacity: of a map over its image where it is strongest, 0 to 1.
        colormap: of matplotlib; one with a middle shows signs, another one |map|.
    """

    style: str = "overlay"
    opacity: float | int = 1.0
    colormap: str = DIVERGING

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"style: expected one of {', '.join(STYLES)}; got {self.style!r}")
        if isinstance(self.opacity, bool) or not isinstance(self.opacity, int | float):
            raise TypeError(f"opacity: expected a number, got {self.opacity!r}")
        if not 0 < self.opacity <= 1:
            raise ValueError(f"opacity: expected above 0 and at most 1, got {self.opacity}")
        if self.colormap not in matplotlib.colormaps:
            near = difflib.get_close_matches(str(self.colormap), list(matplotlib.colormaps), n=3)
            like = ", ".join(near or [DIVERGING, "coolwarm", "magma"])
            raise ValueError(
                f"colormap: expected one of matplotlib's, such as {like}; got {self.colormap!r}"
            )

    @property
    def signs(self) -> bool:
        """Whether the colours tell positive from negative."""
        return self.colormap.removesuffix("_r") in DIVERGING_MAPS

    @property
    def alone(self) -> bool:
        """Whether maps are drawn without their images."""
        return self.style == ALONE

    @property
    def lines(self) -> bool:
        """Whether maps are drawn as lines: smoothed, as pixels alone make none."""
        return self.style == CONTOUR

    @property
    def least(self) -> int:
        """The lowest value on the scale of colours."""
        return -1 if self.signs else 0

    def scaled(self, map: ArrayValues, bound: float) -> np.ndarray:
        """A map as fractions of the bound, as the colours show it; 0 where it is not a number."""
        shown = np.nan_to_num(signed(map) / bound, posinf=1, neginf=-1)
        return shown if self.signs else np.abs(shown)

    def smoothed(self, map: ArrayValues, bound: float, size: tuple[int, ...]) -> np.ndarray:
        """A map clipped at the bound and smoothed, of its image's size or finer.

        Clipped, a pixel of a hundred times the others weighs as much as one of the strongest.
        """
        shown = resized(np.clip(self.scaled(map, bound), self.least, 1), size)
        return bound * scipy.ndimage.gaussian_filter(shown, SMOOTH * max(shown.shape))

    def blended(self, picture: np.ndarray, map: ArrayValues, bound: float) -> np.ndarray:
        """The map over its image `[H, W, 3]` in [0, 1], as colours; of the finer one's size."""
        shown = resized(self.scaled(map, bound), picture.shape[:2])
        channels = [resized(channel, shown.shape) for channel in np.moveaxis(picture, -1, 0)]
        picture = np.stack(channels, -1)
        colours = matplotlib.colormaps[self.colormap]((shown - self.least) / (1 - self.least))
        opacity = self.opacity * np.clip(np.abs(shown), 0, 1)[..., None]
        return picture * (1 - opacity) + colours[..., :3] * opacity


def overlay(
    image: ArrayValues,
    map: ArrayValues,
    *,
    percentile: float | int = 99.5,
    opacity: float | int = 1.0,
    colormap: str = DIVERGING,
) -> np.ndarray:
    """ONE image `[H, W]` or `[H, W, C]` under its map, as colours `[H, W, 3]` in [0, 1].

    The map is resized to the image, and as opaque as it is strong; options as of `relevance_grid`.
    """
    look = Look("overlay", opacity, colormap)
    return look.blended(grey(image), map, limit([map], percentile=percentile))


def draw_map(axis: Axes, map: ArrayValues, bound: float, size: tuple[int, ...], look: Look) -> None:
    """Draws a map over all of an image of that size, which the axis shows already."""
    height, width = size
    shown = resized(look.scaled(map, bound), (height, width))
    options = {"cmap": look.colormap, "vmin": look.least, "vmax": 1}
    STYLES[look.style](axis, shown, look, (width, height), options)


def _over(
    axis: Axes, shown: np.ndarray, look: Look, size: tuple[int, int], options: dict[str, Any]
) -> None:
    _flat(axis, shown, size, options, look.opacity * np.clip(np.abs(shown), 0, 1))


def _beside(
    axis: Axes, shown: np.ndarray, look: Look, size: tuple[int, int], options: dict[str, Any]
) -> None:
    del look
    _flat(axis, shown, size, options, None)


def _flat(
    axis: Axes,
    shown: np.ndarray,
    size: tuple[int, int],
    options: dict[str, Any],
    alpha: np.ndarray | None,
) -> None:
    extent = (-0.5, size[0] - 0.5, size[1] - 0.5, -0.5)
    axis.imshow(shown, alpha=alpha, interpolation="nearest", extent=extent, **options)


def _lines(
    axis: Axes, shown: np.ndarray, look: Look, size: tuple[int, int], options: dict[str, Any]
) -> None:
    levels = sorted(sign * level for sign in (-1, 1) for level in LEVELS)
    levels = [level for level in levels if shown.min() < level < shown.max()]
    rows, columns = (
        (np.arange(count) + 0.5) * length / count - 0.5
        for count, length in zip(shown.shape, reversed(size), strict=True)
    )
    if levels:  # matplotlib warns of none
        axis.contour(columns, rows, shown, levels, linewidths=1.2, alpha=look.opacity, **options)


STYLES: dict[str, Callable[..., None]] = {
    "overlay": _over,
    ALONE: _beside,
    CONTOUR: _lines,
}
"""By name; a new style is one row here."""
