"""Maps over their images as one figure, from whatever arrays are at hand."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsal.types import FEW, axes_by_shape
from jaxsal.viz import inputs
from jaxsal.viz.figures import explanation, relevance_grid, slice_numbers
from jaxsal.viz.picture import Picture
from jaxsal.viz.pixels import stretched
from jaxsal.viz.scales import METHOD
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
            with or without channels, of targets "all" with a class axis, of any resolution.
        masks: bool, of the images' spatial axes: they are outlined.
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
    """The images and maps as a batch: in the first reading of their shapes that all agree on.

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
    outlines = None if masks is None else inputs.real("masks", masks).astype(bool)
    readings = [(b, own) for b, own in _readings(pixels.shape, axes) if len(own) == 3 or not deep]
    if deep and not readings:
        raise ValueError(f"axis: expected volumes to cut, got images {pixels.shape}")
    for batched, own in readings:
        batch = pixels if batched else pixels[None]
        batch = np.stack([_last(each, own) for each in batch])
        space = len(own)
        read = {n: _maps(v, batched, batch.shape, own) for n, v in values.items()}
        lines = outlines if outlines is None or batched else outlines[None]
        fits = lines is None or lines.shape == batch.shape[: 1 + space]
        if fits and all(each is not None for each in read.values()):
            columns = {n: column for n, each in read.items() for n, column in _columns(n, each)}
            return _Batch(batch, columns, lines, space)
    shapes = ", ".join(f"{name} {each.shape}" for name, each in values.items())
    outlined = "" if outlines is None else f", masks {outlines.shape}"
    raise ValueError(
        f"maps: expected those of images {pixels.shape}, got {shapes}{outlined}; "
        "spatial_axes=(0, 1) says which axes of ONE image are height and width, three are a "
        "volume's"
    )


def _readings(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[bool, tuple[int, ...]]]:
    """Whether it is a batch, and the spatial axes of one image; the likeliest first."""
    rank, few = len(shape), bool(shape) and shape[-1] <= FEW
    if axes:
        order = (False, True) if few else (True, False)  # a last axis that is short is channels
        fits = [b for b in order if rank - b - len(axes) in (0, 1) and axes[-1] < rank - b]
        return [(batched, axes) for batched in fits]
    flat, deep, first = (0, 1), (0, 1, 2), (1, 2)
    if rank == 3 and few:
        return [(False, flat), (True, flat), (False, deep)]
    if rank == 3:  # [N, H, W] is likelier than [C, H, W]
        return [(True, flat), (False, first), (False, deep)]
    if rank == 4:
        own = axes_by_shape(shape[1:])
        images = [(True, own if len(own) == 2 else flat)]
        volumes = [(False, deep), (True, deep)]
        return [*images, *volumes] if few or own else [*volumes[::-1], *images]
    if rank == 5:
        return [(True, deep)]
    return [(False, flat)] if rank == 2 else []


def _last(image: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """One image with its channels last, of which there is at least one."""
    moved = inputs.channels_last(image, axes)
    return moved if moved.ndim > len(axes) else moved[..., None]


def _maps(
    values: np.ndarray, batched: bool, shape: tuple[int, ...], axes: tuple[int, ...]
) -> list[np.ndarray] | None:
    """The maps of each class, `[N, *space]` or coarser, of images of that shape; else None.

    One entry where there is no class axis.
    """
    values, space = (values if batched else values[None]), len(axes)
    if values.ndim < 1 + space or len(values) != shape[0]:
        return None

    def read(each: np.ndarray) -> np.ndarray | None:
        """Maps of one class; a volume's are of its own size, as slices are cut of them."""
        if each.ndim == 1 + space:
            flat = each
        elif each.ndim == 2 + space and each[0].size:
            moved = np.stack([inputs.channels_last(one, axes) for one in each])
            if moved.shape[-1] not in (1, shape[-1]):
                return None
            flat = moved.sum(-1)
        else:
            return None
        finer = all(a <= b for a, b in zip(flat.shape[1:], shape[1:-1], strict=True))
        same = flat.shape[1:] == shape[1:-1]
        return flat if flat.size and (same or (space == 2 and finer)) else None

    if (found := read(values)) is not None:
        return [found]
    if not batched or values.ndim < 2 + space:
        return None
    by_class = [read(values[:, k]) for k in range(values.shape[1])]
    whole = [each for each in by_class if each is not None]
    return whole if whole and len(whole) == len(by_class) else None


def _columns(name: str, maps: list[np.ndarray] | None) -> list[tuple[str, np.ndarray]]:
    assert maps is not None
    if len(maps) == 1:
        return [(name, maps[0])]
    before = "" if name == "map" else f"{name}, "
    return [(f"{before}class {k}", each) for k, each in enumerate(maps)]
