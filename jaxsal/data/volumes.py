"""Directories of scans as labelled volumes in memory, with their masks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxsal.data import folder as folders
from jaxsal.data import formats, images, table
from jaxsal.data.dealing import with_split
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.fit import covered
from jaxsal.data.labelled import Found, labelled
from jaxsal.data.listing import directory
from jaxsal.data.outlines import Outlines
from jaxsal.data.reading import Reading
from jaxsal.data.records import Files
from jaxsal.data.wanted import Wanted

READERS = 4
"""Threads; each holds a whole scan."""


class Volume(NamedTuple):
    """A scan as a network takes it, and its mask."""

    image: Float[np.ndarray, "X Y Z C"]
    mask: Bool[np.ndarray, "X Y Z"]


def folder(
    data_dir: Path | str,
    *,
    image_size: int,
    strict: bool = False,
    reading: Reading = Reading(),  # noqa: B008
    least: int = 2,
    known: Sequence[str] = (),
    channels: int | None = None,
    argument: str = "images",
) -> Dataset:
    """Reads any directory of NIfTI, MetaImage, DICOM series and other scans as `labelled.labelled`.

    Volumes are made cubes with zeros and resampled to `image_size`, and so are masks: a voxel is in
    one where at least half covered. Scans of no known patient are dealt one by one; the volumes of
    one scan are one patient's in any case.

    Args:
        channels: 1 for grey, 3 for colour; None: grey. Others are as of `pipeline.folder`.

    Raises:
        ValueError: as of `pipeline.folder`; no volume among the files.
    """
    if reading.slices is not None:
        raise ValueError("slices: whole scans are read; leave it out, or --volumes")
    root = directory(data_dir, argument)
    classes, found = labelled(root, reading, least=least, known=known, argument=argument)
    table.check(found.left_out, strict=strict)
    files, without = formats.scans([(image.path, image.name) for image in found.images])
    wanted = Wanted(image_size, channels or 1, volumes=True)
    if not files:
        raise ValueError(f"{argument}={str(data_dir)!r}: no scan can be read; {without[:3]}")
    source = Files(files, tuple(without), "", wanted)
    outlines = Outlines(source, {image.name: image.masks for image in found.images})
    read, broken = _read(source, outlines)
    if strict and broken:
        raise ValueError(f"strict: {len(broken)} broken files: {'; '.join(broken[:5])}")
    own = _own(source, found.images, grouped=reading.group is not None)
    labels = [classes.index(own[number].label) for number in read]
    if len({*labels}) < least:
        raise ValueError(f"{argument}: scans of {len({*labels})} classes can be read; {broken[:3]}")
    names = [source.name(number) for number in read]
    scans = [source.scans[source.row(number).scan] for number in read]
    of = [own[number] for number in read]
    examples = Examples(
        np.stack([volume.image for volume in read.values()]),
        np.array(labels, np.int32),
        np.stack([volume.mask for volume in read.values()]),
        np.array([image.fold for image in of], np.int32),
        np.array([image.patient for image in of]),
        np.array(names),
    )
    dataset = Dataset(
        examples,
        classes,
        f"volumes in {data_dir}",
        tuple(broken),
        (
            *found.notes,
            *folders.whose(of, found.guesses),
            *folders.notes(own, outlines.unused),
            *source.notes(),
        ),
        left_out=(*found.left_out, *source.left, *folders.below(root, outlines.unused.left)),
        guessed=reading.group is None and reading.labels is None,
    )
    parts = dict(zip(names, (image.part for image in of), strict=True))
    return with_split(dataset, parts, [scan.name for scan in scans])


def _own(source: Files, images: Sequence[Found], *, grouped: bool) -> list[Found]:
    """What is known of each record's scan, of a series by its first file.

    A scan's own word for whose it is counts more than its name, unless patients are `grouped`.
    """
    by_name = {image.name: image for image in images}
    own = []
    for number in range(len(source)):
        scan = source.scans[source.row(number).scan]
        image = by_name[scan.names[0] if scan.names else scan.name]
        several = scan.name if scan.times > 1 else ""
        own.append(folders.owned(image, "" if grouped else scan.patient, several))
    return own


def _read(found: Files, outlines: Outlines) -> tuple[dict[int, Volume], list[str]]:
    """The volumes by their number, and what cannot be read, with its reason."""

    def one(number: int) -> Volume | str:
        try:
            image = found[number]["image"]
            inside = np.zeros(image.shape[:3], bool)
            if outlines.files(number):
                inside = covered(outlines.array(number), image.shape[0])
            return Volume(image, inside)
        except images.READ_ERRORS as error:
            return f"{found.name(number)}: {error}"

    with ThreadPoolExecutor(READERS) as pool:
        every = list(pool.map(one, range(len(found))))
    broken = [line for line in every if isinstance(line, str)]
    return {n: v for n, v in enumerate(every) if not isinstance(v, str)}, broken
