"""Image files in colour: whether they have any, and as 8-bit red, green and blue."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from jaxsal.data import images

SAMPLED = 32
"""Images that are looked at to tell whether a set is in colour."""
APART = 16
"""By how much, of 255, the channels of a coloured pixel differ."""
SHARE = 0.01
"""Of the pixels of a coloured image."""


def png(path: Path) -> images.Grey:
    """Reads an image file as an 8-bit RGB PNG, transparency laid over black; as `images.grey` else.

    Raises:
        one of `images.READ_ERRORS`: for a broken file.
    """
    grey = images.grey(path)
    flat = _flat(path) if _may_be_colour(grey.was) else None
    image = flat or Image.open(io.BytesIO(grey.png)).convert("RGB")
    return images.Grey(images.png(image), image.size, "" if flat else grey.was)


def channels(paths: Sequence[Path]) -> int:
    """3 where at least half of the images are in colour, else 1; broken ones do not count."""
    some = [paths[row] for row in np.linspace(0, len(paths) - 1, SAMPLED).round().astype(int)]
    found = []
    for path in dict.fromkeys(some):
        try:
            found.append(_may_be_colour(images.grey(path).was) and _coloured(_flat(path)))
        except images.READ_ERRORS:
            continue
    return 3 if found and 2 * sum(found) >= len(found) else 1


def _may_be_colour(was: str) -> bool:
    """Whether a file that was converted to grey from this may have had colours."""
    return any(kind in was for kind in ("RGB", "CMYK", "palette", "YCbCr", "LAB", "HSV"))


def _flat(path: Path) -> Image.Image:
    with Image.open(path) as image:
        rgba = ImageOps.exif_transpose(image).convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _coloured(image: Image.Image) -> bool:
    values = np.asarray(image).astype(int)
    return bool(np.mean(np.ptp(values, axis=-1) > APART) >= SHARE)
