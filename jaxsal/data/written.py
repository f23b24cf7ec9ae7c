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
    def maps(record: Path) -> set[str]:
        return results.maps(record) or set()

    @cache
    def inside(folder: Path) -> bool:
        if folder in (root, folder.parent):
            return False
        listed = maps(folder.with_name(f"{folder.name}.json"))
        of_maps = any(name.startswith(f"{folder.name}/") for name in listed)
        return of_maps or results.kind(folder) != "" or inside(folder.parent)

    def is_written(file: Path) -> bool:
        name = file.relative_to(root)
        own = name.as_posix() in pictures or (len(name.parts) > 1 and name.parts[0] in folders)
        return own or inside(file.parent) or any(file.name in maps(r) for r in _records(file))

    return {file for file in files if is_written(file)}


def _records(file: Path) -> list[Path]:
    """Where the record of a file would lie, were it maps of a scan; nowhere of another kind."""
    lengths = [len(end) for end in results.NIFTI if file.name.lower().endswith(end)]
    return [file.with_name(f"{file.name[:-length]}.json") for length in lengths[:1]]
