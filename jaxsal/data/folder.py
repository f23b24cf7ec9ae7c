"""The slices of a directory of labelled images, to be read: pictures, pages and scans alike."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from jaxsal.common.words import counted
from jaxsal.data import colour, patients, scans
from jaxsal.data.greys import GreySlice, greys
from jaxsal.data.images import grey
from jaxsal.data.labelled import Found, labelled
from jaxsal.data.listing import Item, Listing, read_slice
from jaxsal.data.outlines import Unused
from jaxsal.data.pictures import ANYTHING
from jaxsal.data.reading import Reading

UNKNOWN = (
    "patients unknown: images of one patient may be both trained and tested on; --group, a table "
    "or folders of patients tell them apart"
)


def listing(
    root: Path,
    reading: Reading = Reading(),  # noqa: B008
    *,
    least: int = 2,
    known: Sequence[str] = (),
    channels: int | None = 1,
    argument: str = "data_dir",
) -> Listing:
    """Lists the labelled images of a directory: of class folders, or of the rows of a table.

    Folders that only wrap others are opened; `train`, `val` and `test` (by any of their usual
    names) are the split; masks are found by `masks.apart`, patients by `patients.guessed`. Hidden
    files and folders are ignored, and a folder that holds those beside it once more.

    Args:
        least: how many classes there must be. known: their names, as of `labelled.labelled`.
        channels: 1 for grey, 3 for colour, None: what the images are.
        argument: what the directory is called in an error.

    Raises:
        ValueError: fewer classes, folders beside those of a split, a table that cannot be used.
    """
    classes, found = labelled(root, reading, least=least, known=known, argument=argument)
    channels = channels or colour.channels([image.path for image in found.images])
    grouped = reading.group is not None
    wanted = ANYTHING._replace(channels=channels, slicing=scans.parse(reading.slices))
    files = [(image.path, image.name) for image in found.images]
    masks = {image.name: image.masks for image in found.images if image.masks}
    read = greys(files, wanted, colour.png if channels == 3 else grey, masks)
    items, of = _items(found.images, read.slices, channels, grouped=grouped)
    facts = ("\0".join(_deciding(root, image)) for image in found.images)
    return Listing(
        classes,
        items,
        tuple(dict.fromkeys(f for image in found.images for f in (image.path, *image.masks))),
        (
            *found.notes,
            *whose(of, found.guesses),
            *notes(found.images, read.unused),
            *read.notes,
            *(["images read in colour"] * (channels == 3)),
        ),
        (*found.left_out, *read.left, *below(root, read.unused.left)),
        (*facts, *(f"slices {text}" for text in [reading.slices] if text is not None)),
        channels,
    )


def _deciding(root: Path, image: Found) -> tuple[str, ...]:
    """What decides a slice beside the files: the same ones may be of another label or mask."""
    masks = (os.path.relpath(mask, root) for mask in image.masks)
    return image.name, image.label, image.patient, str(image.fold), *masks


def _items(
    images: Sequence[Found], slices: Sequence[GreySlice], channels: int, *, grouped: bool
) -> tuple[tuple[Item, ...], list[Found]]:
    """The slices of the files, to be read, and what is known of each.

    Slices of one scan are one patient's in any case; of broken files nothing is known.

    Args:
        grouped: whether patients are given, and files not asked.
    """
    by_name = {image.name: image for image in images}
    to = "colour" if channels == 3 else "grey"
    several = Counter(slice.file for slice in slices)
    items, of = [], []
    for slice in slices:
        image = by_name.get(slice.name) or by_name[slice.file]  # a series has files of its own
        scan = slice.file if several[slice.file] > 1 else ""
        image = owned(image, "" if grouped else slice.patient, scan)
        read = partial(read_slice, slice.read, slice.outline, image.label, image.patient, to=to)
        items.append(Item(slice.name, image.fold, read, image.part))
        of += [] if slice.fault else [image]
    return tuple(items), of


def owned(image: Found, told: str, scan: str) -> Found:
    """The image with its patient: a table's word counts most, the file's own more than its name.

    Args:
        told: by the file itself, a hash; "".
        scan: the name of the scan that it shares with others; "".
    """
    if told and not (image.patient and image.how == patients.BY_TABLE):
        return image._replace(patient=told, how=patients.BY_DICOM)
    if image.patient or not scan:
        return image
    return image._replace(patient=scan, how=patients.BY_SCAN)


def whose(images: Sequence[Found], guesses: Sequence[str]) -> list[str]:
    """What is to be said of patients.

    Args:
        guesses: what was taken for none, of interest where some are unknown.
    """
    told = patients.summary([image.patient for image in images], [image.how for image in images])
    return [*told] if all(image.patient for image in images) else [*guesses, *told, UNKNOWN]


def below(root: Path, masks: Mapping[Path, str]) -> list[tuple[str, str]]:
    """The names of masks that are left out, with the reason, below a directory where they are."""
    return [
        (path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name, reason)
        for path, reason in masks.items()
    ]


def notes(
    images: Sequence[Found],
    unused: Unused = Unused(),  # noqa: B008
) -> list[str]:
    """What is to be said of masks.

    Args:
        unused: masks that images do not have after all.
    """
    found = []
    counts = [sum((i.name, path) not in unused.pairs for path in {*i.masks}) for i in images]
    merged = sum(count > 1 for count in counts)
    if 0 < counts.count(0) < len(images):
        found.append(counted(counts.count(0), "images without a mask"))
    found += unused.notes()
    return [*found, f"the masks of {counted(merged, 'images')} merged"] if merged else found
