"""Maps to pictures: matplotlib figures without pyplot, and PNG bytes.

Signed maps are drawn on a diverging scale, blue below zero, white at zero, red above (to be told
apart with any colour vision), clipped at a percentile of |map|.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from jaxsal.types import ArrayValues, RandomAccess, axes_by_shape
from jaxsal.viz import inputs
from jaxsal.viz.layout import LEFT, PANEL, colour_bar, panels, wrapped
from jaxsal.viz.layout import canvas as canvas
from jaxsal.viz.maps import Look, draw_map
from jaxsal.viz.picture import Picture
from jaxsal.viz.picture import png as png
from jaxsal.viz.pixels import grey, note, stretched
from jaxsal.viz.scales import MAP, METHOD, drawn, written
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
    scale: str = METHOD,
    style: str = "side-by-side",
    opacity: float | int = 1.0,
    colormap: str = DIVERGING,
    mask_label: str = "outline",
    panel: float | int = PANEL,
    spatial_axes: object = None,
) -> Picture:
    """A row an image: the image, its mask's outline, and a signed map for each method.

    A pixel of the largest image takes one pixel of the figure or more.

    Args:
        images: `[N, H, W, C]`. masks: bool `[N, H, W]`; an empty one has no outline. None: no
            masks, and no column of them.
        maps: `{method: [N, H, W] or as the images}`; a map of fewer pixels than its image is
            resized to it, bilinear.
        rows: N labels. title: over all. percentile: where the scale is clipped.
        scale: "method", one for all images of a method; "all", one for all methods; or "map", each
            map its own, whose end stands in its corner.
        style: "overlay", over the image, as opaque as it is strong; "side-by-side", alone; or
            "contour", lines at a quarter, a half and three quarters of the scale: of maps clipped,
            then smoothed by a hundredth of the image; it ends with the largest value left.
        opacity: of an overlay at most. colormap: of matplotlib; one without a middle shows |map|.
        mask_label: title of the column of outlines. panel: inches of one panel's longer side.
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
    labels = inputs.labels("rows", rows, len(pictures))
    inputs.check_percentile(percentile)
    look = Look(style, opacity, colormap)
    first = ["image"] if outlines is None else ["image", mask_label]
    across = len(first) + len(columns)
    lines = wrapped(title, 2 * LEFT + panel * across)
    sizes = [picture.shape[:2] for picture in pictures]
    shown, bounds = drawn(columns, sizes, look, scale, percentile=percentile)
    letters = max(20, int(panel * 11))
    heads = first + [textwrap.fill(name, letters) for name in columns]
    if scale != MAP:
        for n, (name, batch) in enumerate(columns.items(), len(first)):
            heads[n] += f"\n{written(batch, max(bounds[name], default=1.0), look)}".rstrip()
    figure, grid = panels(
        len(pictures),
        across,
        top=0.2 + 0.16 * max(head.count("\n") + 1 for head in heads) + 0.2 * len(lines),
        bottom=0.75,
        panel=panel,
        sizes=sizes,
    )
    for i, (row, picture) in enumerate(zip(grid, pictures, strict=False)):
        own = [(batch[i], bounds[name][i]) for name, batch in shown.items()]
        _draw_row(row, picture, own, None if outlines is None else outlines[i], look)
        for axis, (name, batch) in zip(row[len(first) :], columns.items(), strict=True):
            end = written([batch[i]], bounds[name][i], look) if scale == MAP else ""
            _tell(axis, note(batch[i]), end)
        if labels:
            row[0].set_ylabel(labels[i])
    for axis, head in zip(grid[0], heads, strict=True):
        axis.set_title(head)
    if lines:
        height = figure.get_size_inches()[1]
        figure.suptitle("\n".join(lines), fontsize=9.5, y=1 - 0.08 / height, va="top")
    colour_bar(figure, percentile, look, where="in each" if scale == MAP else "above")
    return figure


def _draw_row(
    row: np.ndarray,
    picture: np.ndarray,
    maps: Sequence[tuple[np.ndarray, float]],
    outline: np.ndarray | None,
    look: Look,
) -> None:
    """The image, the image with the outline of its mask if it may have one, each map to its end."""
    before = row[: len(row) - len(maps)]
    for axis in before if look.alone else row:
        axis.imshow(grey(picture), interpolation="nearest")
    for axis, (map, end) in zip(row[len(before) :], maps, strict=True):
        draw_map(axis, map, end, picture.shape[:2], look)
    if outline is not None:
        for axis in row[1:]:
            _outline(axis, outline, INK if look.alone and axis is not row[1] else OUTLINE)


def _tell(axis: Axes, remark: str, end: str) -> None:
    """Why a map shows nothing, in its middle, and the end of its own scale, in its corner."""
    if remark:
        place = axis.transAxes
        axis.text(0.5, 0.5, remark, ha="center", va="center", transform=place, bbox=LABEL)
    if end:
        axis.text(0.03, 0.03, end, transform=axis.transAxes, fontsize=7, bbox=LABEL)


def explanation(
    image: ArrayValues,
    maps: Mapping[str, ArrayValues],
    *,
    mask: ArrayValues | None = None,
    title: str = "",
    percentile: float | int = 99.5,
    scale: str = METHOD,
    style: str = "overlay",
    opacity: float | int = 1.0,
    colormap: str = DIVERGING,
    mask_label: str = "outline",
    panel: float | int = PANEL,
    axis: int = 0,
    slices: int = 5,
    spatial_axes: object = None,
) -> Picture:
    """ONE image beside the maps of it by each method; of a volume a row a slice.

    Args:
        image: `[H, W]`, `[H, W, C]`, or a volume `[D, H, W, C]`.
        maps: `{method: map}`, of the image's axes, with or without channels.
        mask: bool, of the image's spatial axes.
        axis: of a volume's three, the one that is cut across; slices: how many, evenly spread.
        spatial_axes: as of `relevance_grid`; three, such as (1, 2, 3), are those of a volume.
        title, percentile, scale, style, opacity, colormap, mask_label, panel: as of
            `relevance_grid`.

    Raises:
        ValueError: an image of other axes, no such axis, or no slice.
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
    inputs.check_count("slices", slices)
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
        scale=scale,
        style=style,
        opacity=opacity,
        colormap=colormap,
        mask_label=mask_label,
        panel=panel,
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
    colours: Sequence[str] = (),
    masks: RandomAccess | None = None,
    columns: int = 8,
    title: str = "",
    panel: float | int = PANEL,
    spatial_axes: object = None,
) -> Picture:
    """Images `[N, H, W, C]` side by side, with titles and mask outlines where given.

    Of images with other axes `spatial_axes` are the two of height and width. `colours` are those of
    the titles; `title` stands over all; `panel` is one image's longer side in inches.

    Raises:
        TypeError: what are no pictures, no lists, no whole number.
        ValueError: titles, colours or masks of other images, or no column.
    """
    pictures = inputs.batch("images", images, axes=_reading(spatial_axes))
    count = len(pictures)
    outlines = inputs.outlines(masks, pictures)
    shades = inputs.labels("colours", colours, count)
    inputs.check_count("columns", columns)
    columns = min(columns, max(count, 1))
    letters = max(20, int(panel * 15))
    texts = [
        "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, letters))
        for text in inputs.labels("titles", titles, count)
    ]
    lines = max((text.count("\n") + 1 for text in texts), default=0)
    figure, axes = panels(
        -(-count // columns),
        columns,
        gap=0.04 + 0.15 * lines / panel,
        panel=panel,
        sizes={picture.shape[:2] for picture in pictures},
        top=0.1 + 0.15 * lines + (0.25 if title else 0),
    )
    if title:
        figure.suptitle(title, fontsize=9.5, y=1 - 0.08 / figure.get_size_inches()[1], va="top")
    for i, axis in enumerate(axes.ravel()):
        if i >= count:
            axis.set_visible(False)
            continue
        axis.imshow(grey(pictures[i]), interpolation="nearest")
        if outlines is not None:
            _outline(axis, outlines[i], OUTLINE)
        if texts:
            axis.set_title(texts[i], fontsize=8, pad=2, color=colours[i] if shades else INK)
    return figure


def _reading(spatial_axes: object, count: tuple[int, ...] = (2,)) -> inputs.Reading:
    """The spatial axes that are given, else what an image's shape says."""
    given = inputs.spatial_axes(spatial_axes, count)
    return lambda shape: given or axes_by_shape(shape)


def _outline(axis: Axes, mask: ArrayValues, colour: str) -> None:
    mask = np.asarray(mask, bool)
    if mask.any() and not mask.all():
        line = axis.contour(mask, [0.5], colors=colour, linewidths=1.0)
        halo = "white" if colour == INK else "black"
        line.set_path_effects([patheffects.withStroke(linewidth=2.0, foreground=halo, alpha=0.6)])
