"""Maps to pictures: matplotlib figures without pyplot, and PNG bytes.

Signed maps are drawn on a diverging scale, blue below zero, white at zero, red above (to be told
apart with any colour vision), clipped at a percentile of |map|.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from jaxsal.types import ArrayValues, RandomAccess, axes_by_shape
from jaxsal.viz import inputs
from jaxsal.viz.pixels import grey, limit, note, signed, stretched
from jaxsal.viz.style import DIVERGING, INK, LABEL, OUTLINE, styled


@styled
def relevance_grid(
    images: ArrayValues,
    masks: ArrayValues | None,
    maps: object,
    *,
    rows: Sequence[object] | np.ndarray = (),
    title: str = "",
    percentile: float | int = 99.5,
    common: bool = False,
    overlay: bool = False,
    mask_label: str = "outline",
    spatial_axes: object = None,
) -> Figure:
    """A row an image: the image, its mask's outline, and a signed map for each method.

    Args:
        images: `[N, H, W, C]`. masks: bool `[N, H, W]`; an empty one has no outline. None: no
            masks, and no column of them.
        maps: `{method: [N, H, W] or as the images}`; a map of fewer pixels than its image (a CAM
            that was not resized) is drawn over all of it.
        rows: N labels. title: over all. percentile: where the scale is clipped.
        common: one scale for all methods; else one a method, the same for all of its images.
        overlay: maps over the image, as opaque as they are strong.
        mask_label: title of the column of outlines.
        spatial_axes: of ONE image (and its map): (1, 2) where channels come first; None: by its
            shape (`jaxsal.types.axes_by_shape`), else the first two. `Explainer.spatial_axes` says
            which they are to a model.

    Raises:
        TypeError: what are no pictures of real numbers, or maps that are no dict.
        ValueError: other axes, counts or sizes than the images', a percentile out of range.
    """
    axes = _reading(spatial_axes)
    pictures = inputs.batch("images", images, axes=axes)
    outlines = inputs.outlines(masks, pictures)
    columns = inputs.columns(maps, len(pictures), axes=axes)
    labels = inputs.labels(rows, len(pictures))
    inputs.check_percentile(percentile)
    first = ["image"] if outlines is None else ["image", mask_label]
    titles = [*first, *columns]
    figure, panels = _panels(len(pictures), len(titles), top=0.9 if title else 0.65, bottom=0.75)
    bounds = {name: limit(batch, percentile=percentile) for name, batch in columns.items()}
    if common:
        bounds = dict.fromkeys(columns, max(bounds.values()))
    for i, (row, picture) in enumerate(zip(panels, pictures, strict=False)):
        for axis in row:
            axis.imshow(grey(picture), interpolation="nearest")
        if outlines is not None:
            for axis in row[1:]:
                _outline(axis, outlines[i], OUTLINE if axis is row[1] or overlay else INK)
        for axis, (name, batch) in zip(row[len(first) :], columns.items(), strict=True):
            _draw(axis, batch[i], bounds[name], overlay=overlay, size=picture.shape[:2])
        if labels:
            row[0].set_ylabel(labels[i])
    for axis, column in zip(panels[0], titles, strict=True):
        name = textwrap.fill(column, 20)
        shown = any(signed(map).any() for map in columns.get(column, ()))
        bound = f"±{bounds[column]:.2g}" if shown else "0"
        axis.set_title(f"{name}\n{bound}" if column in bounds else name)
    if title:
        height = figure.get_size_inches()[1]
        figure.suptitle(textwrap.shorten(title, 80), fontsize=9.5, y=1 - 0.08 / height, va="top")
    _scale(figure, percentile, len(titles))
    return figure


def explanation(
    image: ArrayValues,
    maps: Mapping[str, ArrayValues],
    *,
    mask: ArrayValues | None = None,
    title: str = "",
    percentile: float | int = 99.5,
    common: bool = False,
    overlay: bool = True,
    mask_label: str = "outline",
    axis: int = 0,
    slices: int = 5,
    spatial_axes: object = None,
) -> Figure:
    """ONE image beside the maps of it by each method; of a volume a row a slice.

    Args:
        image: `[H, W]`, `[H, W, C]`, or a volume `[D, H, W, C]`.
        maps: `{method: map}`, of the image's axes, with or without channels.
        mask: bool, of the image's spatial axes.
        axis: of a volume's three, the one that is cut across; slices: how many, evenly spread.
        spatial_axes: as of `relevance_grid`; three, such as (1, 2, 3), are those of a volume.
        title, percentile, common, overlay, mask_label: as of `relevance_grid`.

    Raises:
        ValueError: an image of other axes, or no such axis.
    """
    image = inputs.real("image", image)
    axes = _reading(spatial_axes, (2, 3))(image.shape)
    image = inputs.channels_last(image, axes)
    if image.ndim == 3 == len(axes):
        image = image[..., None]
    if image.ndim not in (2, 3, 4) or not image.size or not -3 <= axis < 3:
        raise ValueError(
            f"image: expected [H, W], [H, W, C] or [D, H, W, C], got {image.shape}, axis {axis}"
        )
    numbers = slice_numbers(image.shape[axis % 3], slices) if image.ndim == 4 else None
    image = image if numbers is None else stretched(image)  # one scale of grey for all slices

    def cut(values: np.ndarray) -> list[np.ndarray]:
        if numbers is None:
            return [values]
        return [np.take(values, n, axis % 3) for n in numbers]

    if not isinstance(maps, Mapping):
        raise TypeError(f"maps: expected {{method: map}}, got {type(maps).__name__}")
    spatial = image.shape[: 2 if numbers is None else 3]
    outline = None if mask is None else inputs.real("mask", mask)
    if outline is not None and outline.shape != spatial:
        raise ValueError(f"mask: expected {spatial}, the image's, got {outline.shape}")
    columns = {
        name: inputs.channels_last(inputs.real("maps", map), axes) for name, map in maps.items()
    }
    for map in columns.values():
        if numbers is not None and map.shape[:3] != spatial:
            raise ValueError(f"maps: expected {spatial}, the volume's, got {map.shape}")

    return relevance_grid(
        cut(image),
        None if outline is None else cut(outline),
        {name: cut(map) for name, map in columns.items()},
        rows=[f"slice {number}" for number in numbers or ()],
        title=title,
        percentile=percentile,
        common=common,
        overlay=overlay,
        mask_label=mask_label,
        spatial_axes=(0, 1),
    )


def slice_numbers(length: int, count: int) -> list[int]:
    """At most `count` different slices of `length`, evenly spread, the outermost left out."""
    spread = (np.arange(count) + 0.5) * length / max(count, 1)
    return sorted({int(number) for number in spread})


@styled
def contact_sheet(
    images: ArrayValues,
    *,
    titles: Sequence[str] = (),
    masks: RandomAccess | None = None,
    columns: int = 8,
    spatial_axes: object = None,
) -> Figure:
    """Images `[N, H, W, C]` side by side, with titles and mask outlines where given.

    Of images with other axes `spatial_axes` are the two of height and width.
    """
    pictures = inputs.batch("images", images, axes=_reading(spatial_axes))
    count = len(pictures)
    columns = min(columns, max(count, 1))
    figure, axes = _panels(-(-count // columns), columns, gap=0.22 if len(titles) else 0.04)
    for i, axis in enumerate(axes.ravel()):
        if i >= count:
            axis.set_visible(False)
            continue
        axis.imshow(grey(pictures[i]), interpolation="nearest")
        if masks is not None:
            _outline(axis, masks[i], OUTLINE)
        if len(titles):
            axis.set_title(titles[i], fontsize=8, pad=2)
    return figure


@styled
def canvas(width: float | int, height: float | int, **panels: Any) -> tuple[Figure, Any]:
    """A figure of that size in inches and its axes, laid out so that no label is cut off.

    `panels` are what `Figure.subplots` takes; one `Axes` without.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**panels)


@styled
def png(figure: Figure, *, dpi: int = 120) -> bytes:
    """The figure as the bytes of a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _reading(spatial_axes: object, count: tuple[int, ...] = (2,)) -> inputs.Reading:
    """The spatial axes that are given, else what an image's shape says."""
    given = inputs.spatial_axes(spatial_axes, count)
    return lambda shape: given or axes_by_shape(shape)


def _panels(
    rows: int, columns: int, *, gap: float = 0.04, top: float = 0.25, bottom: float = 0.1
) -> tuple[Figure, np.ndarray]:
    """Square panels without ticks, `gap` panels between rows; room for labels on three sides."""
    rows = max(rows, 1)
    cell, left = 1.35, 0.42
    height = top + bottom + cell * (rows + gap * (rows - 1))
    width = 2 * left + cell * (columns + 0.04 * (columns - 1))
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left / width, bottom / height, 1 - left / width, 1 - top / height, wspace=0.04, hspace=gap
    )
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, axes


def _outline(axis: Axes, mask: ArrayValues, colour: str) -> None:
    mask = np.asarray(mask, bool)
    if mask.any() and not mask.all():
        line = axis.contour(mask, [0.5], colors=colour, linewidths=1.0)
        halo = "white" if colour == INK else "black"
        line.set_path_effects([patheffects.withStroke(linewidth=2.0, foreground=halo, alpha=0.6)])


def _draw(
    axis: Axes, map: np.ndarray, bound: float, *, overlay: bool, size: tuple[int, ...]
) -> None:
    shown = np.nan_to_num(signed(map) / bound, posinf=1, neginf=-1)
    opacity = np.clip(np.abs(shown), 0, 1) if overlay else None
    height, width = size
    axis.imshow(
        shown,
        cmap=DIVERGING,
        vmin=-1,
        vmax=1,
        alpha=opacity,
        interpolation="nearest",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
    if remark := note(map):
        axis.text(width / 2, height / 2, remark, ha="center", va="center", bbox=LABEL)


def _scale(figure: Figure, percentile: float | int, columns: int) -> None:
    """The one colour bar under all maps: each is a fraction of the value in its column's title."""
    width, height = figure.get_size_inches()
    long = min(2.8, width - 1.5)  # room for the words at its ends
    bar = figure.add_axes((0.5 - long / 2 / width, 0.42 / height, long / width, 0.12 / height))
    figure.colorbar(
        ScalarMappable(Normalize(-1, 1), DIVERGING),
        cax=bar,
        orientation="horizontal",
        ticks=[-1, 0, 1],
    )
    bar.set_xticklabels(["against the class", "0", "for the class"])
    bar.set_xlabel(
        f"clipped at ± the {percentile:g}th percentile of |map|, given above", fontsize=8
    )
    bar.tick_params(length=0)
