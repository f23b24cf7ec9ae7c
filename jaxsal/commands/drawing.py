"""The picture of one image and its maps, and a thumbnail of it."""

import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
from PIL import Image, ImageColor

from jaxsal.commands import cuts
from jaxsal.commands.preparing import Images
from jaxsal.data.fit import unfitted
from jaxsal.types import SpatialAxes
from jaxsal.viz import figures, inputs, pixels
from jaxsal.viz.maps import Look
from jaxsal.viz.style import OUTLINE

PANEL = 3.2
"""Inches of a panel's longer side."""
ROWS = 5
"""Slices of a volume."""
THUMBNAIL = 192
"""Pixels of a thumbnail's longer side."""


class Drawn(NamedTuple):
    """A picture and its thumbnail, PNG, and whether a mask is outlined."""

    picture: bytes
    thumbnail: bytes
    outlined: bool


class Pen:
    """Draws images of a source at their own size, under maps of the size that the model takes.

    Attributes:
        about: what the pictures show, in a sentence.
    """

    def __init__(
        self, source: Images, methods: tuple[str, ...], look: Look, axes: SpatialAxes | None
    ) -> None:
        """Takes the methods' names and the spatial axes of an image, where they are known."""
        self.source, self.methods, self.look, self.axes = source, methods, look, axes
        signs = "red speaks for the class, blue against it" if look.signs else "|map| in colours"
        self.about = f"Maps of {', '.join(methods)}; {signs}."
        if len(methods) > 1:
            self.about += f" The small pictures are of {methods[0]}."

    def draw(
        self, image: np.ndarray, maps: Any, entry: Mapping[str, Any], named: Callable[[int], str]
    ) -> Drawn:
        """The picture of an image as the model took it, with what `index.json` says of it."""
        panels = self._panels(maps, entry["target"], named)
        title = f"{entry['source']}\n{said(entry, named)}"
        options: dict[str, Any] = {
            "style": self.look.style,
            "opacity": self.look.opacity,
            "colormap": self.look.colormap,
            "title": title,
            "panel": PANEL,
        }
        original = self.source.original(entry["number"])
        number, outlined = entry["number"], self.source.outlined
        if original.ndim > 3 or len(self.axes or ()) == 3:
            return self._volume(number, original, image, panels, options)
        picture, panels = self._over(original, image, panels)
        size = picture.shape[0], picture.shape[1]
        mask = None if outlined is None else outlined.picture(number, size)
        figure = figures.explanation(picture, panels, mask=mask, spatial_axes=(0, 1), **options)
        first = next(iter(panels.values()))
        bound = pixels.limit([first])
        thumbnail = self.look.blended(pixels.grey(picture), first, bound)
        return Drawn(figures.png(figure), _encoded(thumbnail, mask), mask is not None)

    def _volume(
        self,
        number: int,
        original: np.ndarray,
        image: np.ndarray,
        panels: Mapping[str, np.ndarray],
        options: Mapping[str, Any],
    ) -> Drawn:
        """Slices through a volume's mask, or spread over it: axial where it lies in space."""
        axes = self.axes or (0, 1, 2)
        outlined = self.source.outlined
        volume = inputs.channels_last(original, axes if original.shape == image.shape else ())
        space = volume.shape[:3]
        mask = None if outlined is None else outlined.volume(number)
        mask = mask if mask is not None and mask.shape == space else None
        whole = {n: inputs.channels_last(np.asarray(m), axes) for n, m in panels.items()}
        sums = {n: m.sum(-1) if m.ndim == 4 else m for n, m in whole.items()}
        flat = {n: m if m.shape == space else unfitted(m, space) for n, m in sums.items()}
        seen = cuts.axial if self.source.seen_from_feet(number) else np.asarray
        drawn, maps = pixels.stretched(seen(volume)), {n: seen(m) for n, m in flat.items()}
        outline = None if mask is None else seen(mask)
        rows = cuts.through(outline, len(drawn), ROWS)
        figure = figures.relevance_grid(
            drawn[rows],
            None if outline is None else outline[rows],
            {name: map[rows] for name, map in maps.items()},
            rows=[f"slice {row}" for row in rows],
            spatial_axes=(0, 1),
            **options,
        )
        (row,) = cuts.through(outline, len(drawn), 1)
        first = next(iter(maps.values()))
        thumbnail = self.look.blended(pixels.grey(drawn[row]), first[row], pixels.limit([first]))
        small = _encoded(thumbnail, None if outline is None else outline[row])
        return Drawn(figures.png(figure), small, outline is not None)

    def _panels(
        self, maps: Any, target: int | list[int], named: Callable[[int], str]
    ) -> dict[str, np.ndarray]:
        """The maps by what stands over them; with several targets a panel for each."""
        # JAX sorts the names in a dict: the order is that of the command.
        every = maps if isinstance(maps, dict) else {self.methods[0]: maps}
        panels = {name: every[name] for name in self.methods}
        if isinstance(target, int):
            return panels
        return {f"{method}, {named(k)}": maps[k] for method, maps in panels.items() for k in target}

    def _over(
        self, original: np.ndarray, image: np.ndarray, panels: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The image `[H, W, C]` as it is drawn, and the maps `[h, w]` that lie over all of it.

        A file that was made square with a border for the model is drawn without it.
        """
        axes = self.axes or pixels.axes_of(image.shape)
        flat = {n: pixels.signed(inputs.channels_last(m, axes)) for n, m in panels.items()}
        same = original.shape == image.shape
        picture = inputs.channels_last(original, axes) if same else original
        picture = picture if picture.ndim == 3 else picture[..., None]
        if same:
            return picture, flat
        size = picture.shape[:2]
        squares = {n for n, m in flat.items() if m.shape[0] == m.shape[1]}
        return picture, {
            n: unfitted(m, size, finer=True) if n in squares else m for n, m in flat.items()
        }


def said(entry: Mapping[str, Any], named: Callable[[int], str]) -> str:
    """True class, predicted class and its probability, and which one is explained, in words."""
    parts = [f"true: {entry['class']}"] if "class" in entry else []
    if "predicted" in entry:
        share = "" if entry["probability"] is None else f" ({entry['probability']:.3f})"
        parts.append(f"predicted: {entry['predicted_class']}{share}")
    else:
        values = ", ".join(f"{value:.4g}" for value in entry.get("values", ())[:6])
        parts.append(f"predicted: {values}")
    target = entry["target"]
    if isinstance(target, int) and target != entry.get("predicted", target):
        parts.append(f"explained: {named(target)} ({entry['probabilities'][target]:.3f})")
    elif isinstance(target, int) and "predicted" not in entry and len(entry["values"]) > 1:
        parts.append(f"explained: {named(target)}")
    return ", ".join(parts)


def _encoded(picture: np.ndarray, mask: np.ndarray | None) -> bytes:
    """An array of colours in [0, 1] as a small PNG, with the outline of its mask."""
    image = Image.fromarray(np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    if mask is not None:
        image = _outlined(image, mask)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _outlined(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """A thumbnail with a line around the mask, a pixel wide: what lies in a small one is seen."""
    finer = max(1, THUMBNAIL // max(image.size))  # or the line of a tiny image hides it
    image = image.resize((image.width * finer, image.height * finer), Image.Resampling.NEAREST)
    area = Image.fromarray(255 * mask.astype(np.uint8)).resize(image.size, Image.Resampling.BOX)
    inside = np.asarray(area) > 0
    colours = np.array(image)
    colours[scipy.ndimage.binary_dilation(inside) & ~inside] = ImageColor.getrgb(OUTLINE)
    return Image.fromarray(colours)
