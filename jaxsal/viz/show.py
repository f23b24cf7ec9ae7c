"""Maps over their images as one figure, from whatever arrays are at hand."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsal.viz import inputs
from jaxsal.viz.figures import explanation, relevance_grid, slice_numbers
from jaxsal.viz.picture import Picture
from jaxsal.viz.pixels import stretched
from jaxsal.viz.scales import METHOD
from jaxsal.viz.shapes import Reading, fitting, readings
from jaxsal.viz.style import DIVERGING

MOST = 24
"""Rows of a figure."""
SLICES = 5
LARGE, SMALL = 3.0, 1.8
"""Inches of a panel, of one image and of several."""


class _Batch(NamedTuple):
    """Images or volumes `[N, *space, C]`, channels last, and the maps of each by name."""

    images: np.ndarray
    maps: dict[str, np.ndarray]
    masks: np.ndarray | None
    space: int

    def along(self, axis: int) -> "_Batch":
        """Volumes whose slices lie along their first axis, where they lay along another."""

        def moved(values: np.ndarray) -> np.ndarray:
            return np.moveaxis(values, 1 + axis, 1)

        maps = {name: moved(each) for name, each in self.maps.items()}
        masks = None if self.masks is None else moved(self.masks)
        return self._replace(images=moved(self.images), maps=maps, masks=masks)


def show(
    images: Any,
    maps: Any,
    *,
    masks: Any = None,
    titles: Sequence[object] | str | None = None,
    style: str = "overlay",
    scale: str = METHOD,
    opacity: float | int = 1.0,
    colormap: str = DIVERGING,
    axis: object = None,
    spatial_axes: object = None,
) -> Picture:
    """Images beside their maps, as a figure that a notebook shows and `savefig` writes.

    Red speaks for the class, blue against it, zero is clear. A row an image, of a volume a row for
    each of five slices; 24 rows at most, and the figure says of how many.

    A slice is drawn as it lies in the array: of the two axes that are not cut the first goes down,
    the second to the right. A volume from left to right, back to front and feet to head, as the
    command reads scans, has axial slices along axis 2; as they are looked at, the patient's right
    on the left and the front above, they are those of
    `show(volume[::-1, ::-1].swapaxes(0, 1), map[::-1, ::-1].swapaxes(0, 1), axis=2)`.

    Args:
        images: one image or a batch of them, `[H, W]`, `[H, W, C]`, `[C, H, W]`, `[N, H, W]`,
            `[N, H, W, C]`, `[N, C, H, W]`; or volumes, `[D, H, W]`, `[D, H, W, C]` or
            `[N, D, H, W, C]`. What may be either is taken for a batch of images, where
            `spatial_axes` does not say otherwise.
        maps: as an explainer returns them for these images: an array, or a dict of them by name;
            with or without channels, of targets "all" with a class axis; coarser ones of images
            have no channels, and are given by name where they have as many classes as rows. Where
            channels come first, of the images' own shape, they are summed, and the picture says
            so: maps of as many classes are given by name.
        masks: bool, of the images' spatial axes, with one channel or none: they are outlined.
        titles: a text an image; of one image a text.
        style: "overlay", "side-by-side" or "contour".
        scale: of the colours, one a "method", so that its maps can be compared, one for "all"
            methods, or one a "map", which shows weak ones too. opacity: of an overlay, up to 1.
        colormap: of matplotlib; one without a middle shows |map|.
        axis: which spatial axis of a volume its slices are cut along: 0, 1 or 2. What may be a
            volume is then taken for one. None: the first.
        spatial_axes: of ONE image, such as (1, 2) where channels come first, or (0, 1, 2) of a
            volume; None: by the shapes.

    Returns:
        A figure of matplotlib's.

    Raises:
        TypeError: what are no real numbers, an axis that is no integer.
        ValueError: maps, masks or titles of other images; an unknown style or colour map; an axis
            of what is no volume, or that it has not.
    """
    cut_along = _axis(axis)
    found = _read(images, maps, masks, inputs.spatial_axes(spatial_axes, (2, 3)), axis is not None)
    count = len(found.images)
    texts = _titles(titles, count)
    options: dict[str, Any] = {
        "style": style,
        "scale": scale,
        "opacity": opacity,
        "colormap": colormap,
    }
    if count == 1 and found.space == 2:
        return explanation(
            found.images[0],
            {name: values[0] for name, values in found.maps.items()},
            mask=None if found.masks is None else found.masks[0],
            title=texts[0],
            panel=LARGE,
            spatial_axes=(0, 1),
            **options,
        )
    volumes = found.space == 3
    found = found.along(cut_along) if volumes else found
    cuts: Sequence[int | None] = slice_numbers(found.images.shape[1], SLICES) if volumes else [None]
    rows = [(n, cut) for n in range(count) for cut in cuts]
    shown = rows[:MOST]
    pictures = [stretched(each) for each in found.images] if volumes else found.images

    def of(values: Any) -> list[np.ndarray]:
        return [values[n] if cut is None else values[n][cut] for n, cut in shown]

    return relevance_grid(
        of(pictures),
        None if found.masks is None else of(found.masks),
        {name: of(values) for name, values in found.maps.items()},
        rows=[_row(texts[n], cut) for n, cut in shown],
        title=f"the first {MOST} of {len(rows)} rows" if len(rows) > MOST else "",
        panel=SMALL,
        spatial_axes=(0, 1),
        **options,
    )


def _row(text: str, cut: int | None) -> str:
    return text if cut is None else "\n".join(filter(None, [text, f"slice {cut}"]))


def _axis(axis: object) -> int:
    """Which of a volume's three axes is cut."""
    try:
        found = 0 if axis is None else operator.index(axis)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"axis: expected 0, 1 or 2, got {axis!r}") from error
    if found not in (0, 1, 2):
        raise ValueError(f"axis: expected 0, 1 or 2, got {axis!r}")
    return found


def _titles(titles: Sequence[object] | str | None, count: int) -> list[str]:
    given = [titles] if isinstance(titles, str) else list(titles if titles is not None else ())
    if len(given) not in (0, count):
        raise ValueError(f"titles: expected one an image ({count}), got {len(given)}")
    return [str(title) for title in given] or [""] * count


def _read(images: Any, maps: Any, masks: Any, axes: tuple[int, ...], deep: bool) -> _Batch:
    """The images and maps as a batch: in the likeliest reading of their shapes that all fit.

    Args:
        deep: whether they have to be volumes.

    Raises:
        ValueError: there is none.
    """
    pixels = inputs.real("images", images)
    if not pixels.size:
        raise ValueError(f"images: expected at least one pixel, got {pixels.shape}")
    named = dict(maps) if isinstance(maps, Mapping) else {"map": maps}
    values = {str(name): inputs.real("maps", each) for name, each in named.items()}
    outlines = None if masks is None else inputs.real("masks", masks)
    ways = [way for way in readings(pixels.shape, axes) if len(way.axes) == 3 or not deep]
    if not ways:
        raise ValueError(f"axis: expected volumes to cut, got images {pixels.shape}")
    batches = fitting(ways, lambda way: way.images(pixels))

    def columns(way: Reading) -> dict[str, np.ndarray]:
        found = [way.maps(name, each, batches[way]) for name, each in values.items()]
        return {name: column for each in found for name, column in each.items()}

    def lines(way: Reading) -> np.ndarray | None:
        return None if outlines is None else way.masks(outlines, batches[way])

    fitted = fitting(batches, columns)
    way, outlined = next(iter(fitting(fitted, lines).items()))
    return _Batch(batches[way], fitted[way], outlined, len(way.axes))
