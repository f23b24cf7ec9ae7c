"""The masks that a table names: beside the table, in a folder of masks, or among the images."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from jaxsal.common.words import counted
from jaxsal.data import table as tables
from jaxsal.data.pictures import mask_files


class Named(NamedTuple):
    """What the cells of a table say of masks.

    Attributes:
        masks: of each image, those whose cells name one file.
        left_out: cells that name none or several, each with the reason.
        notes: in words, which are taken by their names alone.
    """

    masks: Mapping[PurePath, tuple[Path, ...]]
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def named(
    table: Path,
    entries: Mapping[PurePath, tables.Entry],
    root: Path,
    files: Sequence[PurePath],
    folder: Path | None,
) -> Named:
    """The masks of images by their cells.

    Args:
        entries: of the images that the table names, none of which is a mask.
        root: of the images. files: those there that may be masks, relative to it.
        folder: of masks, where there is one.
    """
    images = {os.path.normpath(root / image) for image in entries}
    places = [(root, [file for file in files if file not in entries])]
    places = ([mask_files(folder, "masks")] if folder is not None else []) + places
    by_name = [(place, tables.by_names(there)) for place, there in places]
    known = {place.resolve() / file for place, there in places for file in there}
    found: dict[PurePath, tuple[Path, ...]] = {}
    left_out: list[tuple[str, str]] = []
    moved: list[str] = []
    cells = ((image, text.replace("\\", "/")) for image in entries for text in entries[image].masks)
    for image, cell in cells:
        if cell.lower() in tables.NOTHING:
            continue
        choices = _choices(cell, table.parent.resolve(), root.resolve(), known, by_name)
        others = ([p for p in own if not _is_image(p, root / image, images)] for own in choices)
        own = next(filter(None, others), [])
        if len(own) == 1:
            found[image] = tuple(dict.fromkeys((*found.get(image, ()), own[0])))
            moved += [] if tables.in_folder(cell, own[0]) else [cell]
        else:
            where = f"{table.name}, mask of {image.as_posix()}: {cell[:100]}"
            left_out.append((where, "it names several files" if own else tables.NO_MASK))
    if not moved:
        return Named(found, tuple(left_out))
    what = f"{counted(len(moved), 'masks')} in other folders ({moved[0]}): taken by their names"
    return Named(found, tuple(left_out), (f"{table.name}: {what}",))


def _choices(
    cell: str,
    home: Path,
    root: Path,
    known: set[Path],
    by_name: Sequence[tuple[Path, list[dict[str, list[PurePath]]]]],
) -> Iterator[list[Path]]:
    """The files that a cell may mean: as a path from its table, then by its name in each place.

    Below the images' own folder it is one of the known files: others are excluded there, or a
    run's.
    """
    beside = Path(os.path.normpath(home / cell))
    may_be = beside in known or not beside.is_relative_to(root)
    yield [beside] if may_be and os.path.isfile(beside) else []
    for place, names in by_name:
        yield [place / file for file in tables.find(cell, names)]


def _is_image(mask: Path, own: Path, images: set[str]) -> bool:
    """Whether a file is one of the images, or its own image by another path."""
    try:
        return os.path.normpath(mask) in images or os.path.samefile(mask, own)
    except OSError:  # gone meanwhile: told when it is read
        return False
