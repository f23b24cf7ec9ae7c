"""Files of every kind as 8-bit grey slices to train on: each page, slice and frame is one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxsal.data import formats, images
from jaxsal.data.images import Grey
from jaxsal.data.outlines import Outlines, Unused
from jaxsal.data.records import Files
from jaxsal.data.scans import Slicing
from jaxsal.data.wanted import Wanted


class GreySlice(NamedTuple):
    """A slice not read yet.

    Attributes:
        name: of its file; of one of several, that of the page behind it.
        file: of the files given, the one that it comes from, or the first of its series.
        patient: a hash, where the file says whose it is; "".
        read: reads it; raises one of `images.READ_ERRORS`.
        outline: its encoded mask of a (width, height), as `read`.
        fault: why it cannot be read; "" where nothing is known against it.
    """

    name: str
    file: str
    patient: str
    read: Callable[[], Grey]
    outline: Callable[[tuple[int, int]], bytes]
    fault: str = ""


class Greys(NamedTuple):
    """The slices of files.

    Attributes:
        left: `(name, reason)` of files that have none.
        unused: masks that are not used.
        notes: how scans were put together from files, where it is to be said.
    """

    slices: list[GreySlice]
    left: list[tuple[str, str]]
    unused: Unused = Unused()
    notes: tuple[str, ...] = ()


def greys(
    files: list[tuple[Path, str]],
    wanted: Wanted,
    picture: Callable[[Path], Grey] = images.grey,
    masks: Mapping[str, Sequence[Path]] = MappingProxyType({}),
) -> Greys:
    """The slices in files `(path, name)`.

    A picture of one page is read by `picture`, the others by the rule of all files; of a scan its
    slices as `wanted` asks for them, in colour where it wants 3 channels.

    Args:
        masks: of each file that has some, by its name.
    """
    found, left = formats.scans(files)
    if not found:
        return Greys([], left)
    source, paths = Files(found, tuple(left), "", wanted), {name: path for path, name in files}
    if wanted.slicing != Slicing() and not source.has_stacks:
        raise ValueError("slices: of no effect in this call; none of the images is of several")
    outlines = Outlines(source, masks)
    slices = []
    for number in range(len(source)):
        scan = source.scans[source.row(number).scan]
        single = scan.shape is None and formats.ending(Path(scan.name)) in formats.PICTURES
        read = partial(picture, paths[scan.name]) if single else partial(_read, source, number)
        file = scan.names[0] if scan.names else _file(scan.name, paths)
        outline = partial(outlines.encoded, number)
        slices.append(GreySlice(source.name(number), file, scan.patient, read, outline, scan.fault))
    return Greys(slices, list(source.left), outlines.unused, tuple(source.of_scans))


def _file(scan: str, paths: dict[str, Path]) -> str:
    """The file of a scan: of pages of several sizes each is a scan named below it."""
    return scan if scan in paths else scan.rpartition("/")[0]


def _read(source: Files, number: int) -> Grey:
    values = np.rint(255 * source.original(number)).astype(np.uint8)
    image = Image.fromarray(values if values.shape[-1] == 3 else values[..., 0])
    scan = source.scans[source.row(number).scan]
    kind = formats.ending(Path(scan.names[0] if scan.names else scan.name)).lstrip(".")
    return Grey(images.png(image), image.size, kind or "DICOM")
