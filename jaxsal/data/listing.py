"""What a data directory holds: the slices to read, and a fingerprint of their files."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import NamedTuple

from jaxsal.data import images

_NUMBERS = re.compile(r"(\d+)")


class Slice(NamedTuple):
    """One slice as it is stored in the cache.

    Attributes:
        image: the encoded image, 8-bit grey or RGB.
        mask: the encoded 1-bit mask, of the image's size; empty where there is none.
        label: the class's name.
        patient: "" where unknown.
        size: (width, height) in pixels.
        remarks: what was converted, such as "RGBA images converted to grey".
    """

    image: bytes
    mask: bytes
    label: str
    patient: str
    size: tuple[int, int]
    remarks: tuple[str, ...]


class Item(NamedTuple):
    """A slice not read yet.

    Attributes:
        name: where it comes from, such as "glioma/1841.png".
        fold: its cross-validation fold from 1 on, 0 where unknown.
        read: reads it; raises one of `images.READ_ERRORS`.
        part: "train", "validation" or "test" where the source itself is split, else "".
    """

    name: str
    fold: int
    read: Callable[[], Slice]
    part: str = ""


@dataclass(frozen=True)
class Listing:
    """The slices of one data directory, before any is read.

    Attributes:
        classes: the name of label 0, 1, ...
        items: the slices in a fixed order.
        files: every file that the slices are read from.
        notes: what was assumed in listing them.
        left_out: every other file (or row of a table), each with the reason.
        facts: what decides the slices beside their files, such as labels from a table.
        channels: of each slice.
    """

    classes: tuple[str, ...]
    items: tuple[Item, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    facts: tuple[str, ...] = ()
    channels: int = 1


def read_slice(
    read: Callable[[], images.Grey],
    outline: Callable[[tuple[int, int]], bytes],
    label: str,
    patient: str = "",
    *,
    to: str = "grey",
) -> Slice:
    """Reads a slice and its mask.

    Args:
        read: its encoded pixels. outline: the encoded mask of a (width, height). to: what they are.
    """
    picture = read()
    remarks = [f"{picture.was} images converted to 8-bit {to}"] if picture.was else []
    if picture.size[0] != picture.size[1]:
        remarks.append("images not square padded with black")
    mask = outline(picture.size)
    return Slice(picture.png, mask, label, patient, picture.size, tuple(remarks))


def read_pair(image: Path, masks: Sequence[Path], label: str, patient: str = "") -> Slice:
    """As `read_slice`, of a picture file of one page and any number of mask files.

    Masks of another shape are left out, and remarked.
    """
    (size,), fit = images.sizes(image), []
    for mask in masks:
        try:
            images.check_mask(images.sizes(mask)[0], size)
        except ValueError:
            continue
        fit.append(mask)
    found = read_slice(partial(images.grey, image), partial(images.masks, fit), label, patient)
    remark = "masks of another shape than the image left out"
    return found._replace(remarks=(*found.remarks, *[remark] * (len(masks) - len(fit))))


def directory(data_dir: Path | str, argument: str = "data_dir") -> Path:
    """Checks a data directory.

    Raises:
        TypeError: if it is no path.
        ValueError: if it is missing, no directory, or not readable.
    """
    named = f"{argument}={str(data_dir)!r}"
    if not isinstance(data_dir, str | os.PathLike) or "\0" in str(data_dir):
        raise TypeError(f"{argument}={data_dir!r}, expected a path")
    root = Path(data_dir).expanduser()
    try:
        if not root.is_dir():
            what = "is not a directory" if root.exists() else "does not exist"
            raise ValueError(f"{named} {what}; expected a readable directory")
        next(root.iterdir(), None)
    except PermissionError as error:
        raise ValueError(f"{named} cannot be read: {error.strerror}") from error
    return root.resolve()


def visible(root: Path, argument: str = "data_dir") -> list[Path]:
    """Every file below a directory, in order; hidden ones left out, no directory taken twice.

    Raises:
        ValueError: if a directory cannot be read.
    """

    def refuse(error: OSError) -> None:
        text = f"{argument}: {error.filename} cannot be read: {error.strerror}"
        raise ValueError(text) from error

    found, seen = [], {os.path.realpath(root)}
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        # A link may lead back to where it lies.
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in sorted(folders)}
        folders[:] = [name for name in real if not _hidden(name) and real[name] not in seen]
        seen.update(real.values())
        found += [Path(folder, name) for name in sorted(files, key=natural) if not _hidden(name)]
    return found


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db")


def stem(path: PurePath) -> str:
    """A file's name without its ending, `.nii.gz` being one."""
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem


def natural(name: str) -> list[tuple[int, str]]:
    """Orders 2.png before 10.png."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _NUMBERS.split(name)]


def fingerprint(root: Path, files: Iterable[Path], classes: tuple[str, ...]) -> str:
    """Names the state of a source: a hash of each file's relative path, size and time of change.

    The contents are not hashed: that would read the whole source at each start, where make and
    rsync too trust size and time. A touched file costs one preparation; a copy that keeps its
    times shares the cache. Files that are gone or cannot be asked count as such.
    """
    rows = []
    for file in sorted(files):
        try:
            status = file.stat()
            rows.append([os.path.relpath(file, root), status.st_size, status.st_mtime_ns])
        except OSError as error:
            rows.append([os.path.relpath(file, root), error.errno, 0])
    state = json.dumps([classes, rows])
    return hashlib.sha256(state.encode()).hexdigest()[:20]
