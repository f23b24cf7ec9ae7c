"""Which files where images are read runs of jaxsal have written: charts and maps are no images."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from jaxsal.common import results

WRITTEN = "written by a run of jaxsal"
"""Why a file is left out."""

FOLDERS = ("figures", "maps", "unfinished", results.CHECKPOINTS)
"""In the folder of a training, an evaluation or a study."""


def written(root: Path, files: Iterable[Path]) -> set[Path]:
    """The files below a directory that runs have written.

    A folder that a run has written into is the run's as a whole. Of the directory itself, where
    images may lie beside results, it is the pictures of the run's index, or what is in `FOLDERS`.
    """
    kind, pictures = results.kind(root), results.pictures(root)
    folders = {"": (), results.PICTURES: (results.THUMBNAILS,)}.get(kind, FOLDERS)

    @cache
    def inside(folder: Path) -> bool:
        if folder in (root, folder.parent):
            return False
        return inside(folder.parent) or results.kind(folder) != ""

    @cache
    def maps(record: Path) -> set[Path]:
        return {record.parent / name for name in results.maps(record) or ()}

    def is_written(file: Path) -> bool:
        name = file.relative_to(root)
        own = name.as_posix() in pictures or (len(name.parts) > 1 and name.parts[0] in folders)
        listed = (file in maps(record) for record in _records(root, file))
        return own or inside(file.parent) or any(listed)

    return {file for file in files if is_written(file)}


def _records(root: Path, file: Path) -> list[Path]:
    """Where the record of a file would lie, were it maps of a scan: beside it, or its folder."""
    ending = next((end for end in results.NIFTI if file.name.lower().endswith(end)), None)
    if ending is None:
        return []
    beside = file.with_name(f"{file.name[: -len(ending)]}.json")
    below = file.parents[: len(file.relative_to(root).parts) - 1]
    return [beside, *(folder.with_name(f"{folder.name}.json") for folder in below)]
