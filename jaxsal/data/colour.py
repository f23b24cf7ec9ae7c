"""Image files in colour: whether they have any, and as 8-bit red, green and blue."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxsal.data import formats, images

SAMPLED, READ = 32, 8
"""Pictures that are looked at to tell whether a set is in colour; and scans, which are larger."""
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
    if not _may_be_colour(grey.was):
        image = Image.open(io.BytesIO(grey.png)).convert("RGB")
        return images.Grey(images.png(image), image.size, grey.was)
    values = next(images.pages(path.read_bytes(), slice(1), channels=3))
    seen, dark = images.eight_bits(values)
    return images.Grey(images.png(Image.fromarray(seen)), grey.size, "dark" if dark else "")


def channels(paths: Sequence[Path]) -> int:
    """3 where at least half of the files are in colour, else 1; broken ones do not count."""
    pictures = [path for path in paths if formats.ending(path) in formats.PICTURES]
    scans = [path for path in paths if formats.ending(path) not in formats.PICTURES]
    coloured = known = 0.0
    for own, most in ((pictures, SAMPLED), (scans, READ)):
        looks = [look for path in _some(own, most) if (look := _in_colour(path)) is not None]
        if looks:
            coloured += len(own) * sum(looks) / len(looks)
            known += len(own)
    return 3 if known and 2 * coloured >= known else 1


def _some(paths: Sequence[Path], most: int) -> list[Path]:
    """Some of the paths, evenly."""
    rows = np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)
    return [paths[row] for row in rows]


def _in_colour(path: Path) -> bool | None:
    """Whether a file shows any colour; None where it cannot be read."""
    found, _ = formats.scans([(path, path.name)])
    if not found or found[0].fault:
        return None
    try:
        array, units = found[0].read(3)
    except images.READ_ERRORS:
        return None
    return array.ndim == 5 and _coloured(array / (units.full or 255) * 255)


def _may_be_colour(was: str) -> bool:
    """Whether a file that was converted to grey from this may have had colours."""
    return any(kind in was for kind in ("RGB", "CMYK", "palette", "YCbCr", "LAB", "HSV"))


def _coloured(values: np.ndarray) -> bool:
    """Whether pixels [..., 3] of 0 to 255 differ between channels."""
    return bool(np.mean(np.ptp(values, axis=-1) > APART) >= SHARE)
