"""Picture files of one page or many: PNG, JPEG, TIFF, GIF and what else Pillow reads."""

from functools import partial
from pathlib import Path

import numpy as np

from jaxsal.data import images
from jaxsal.data.intensity import Units, full_scale
from jaxsal.data.scans import Scan, Values, check_size

PAGED = (".tif", ".tiff", ".gif", ".webp", ".avif")
"""Kinds of file that may hold several pages; a PNG that does says so at its beginning."""

ANIMATED = b"acTL"


def scans(path: Path, name: str) -> list[Scan]:
    """The pages of a picture file: one scan, or one each where their sizes differ.

    Most kinds are not opened: their one page is read when it is asked for.
    """
    if not may_have_pages(path):
        return [Scan(name, partial(_read, path, slice(0, 1)), size=partial(_size, path))]
    try:
        sizes = images.sizes(path)
        check_size((len(sizes), *sizes[0]))
    except images.READ_ERRORS as error:
        return [Scan(name, partial(_read, path, slice(None)), fault=images.told(error))]
    if len(sizes) == 1:
        return [Scan(name, partial(_read, path, slice(None)), size=partial(_size, path))]
    if len(set(sizes)) == 1:
        return [Scan(name, partial(_read, path, slice(None)), (len(sizes), *sizes[0]))]
    return [
        Scan(f"{name}/{number:03}", partial(_read, path, page), size=partial(_size, path, number))
        for number, page in enumerate(slice(n, n + 1) for n in range(len(sizes)))
    ]


def _size(path: Path, page: int = 0) -> tuple[int, int]:
    return images.sizes(path)[page]


def may_have_pages(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in (".png", ".apng"):
        return suffix in PAGED
    try:
        with path.open("rb") as file:
            return ANIMATED in file.read(2**12)
    except OSError:  # told when it is read
        return False


def _read(path: Path, wanted: slice, channels: int) -> Values:
    """The wanted pages as volumes of one stack: [1, pages, H, W] or [1, pages, H, W, 3].

    Raises:
        one of images.READ_ERRORS: for a broken file. ValueError: pages of several kinds.
    """
    pages = list(images.pages(path.read_bytes(), wanted, channels))
    kinds = {(page.dtype, page.shape) for page in pages}
    if len(kinds) > 1:
        raise ValueError(f"pages of several kinds: {sorted(map(str, kinds))}")
    array = np.stack(pages)[None]
    return Values(array, Units(full_scale(array.dtype)))
