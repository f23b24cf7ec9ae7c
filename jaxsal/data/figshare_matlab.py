"""Cheng's original figshare files: MATLAB v7.3 (HDF5) structs, one a slice, loose or zipped."""

import io
import re
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from jaxtyping import Int32
from PIL import Image

from jaxsal.data.images import png, stretch
from jaxsal.data.listing import Item, Listing, Slice, visible

CLASSES = ("glioma", "meningioma", "pituitary")
NAMES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
FOLDS = "cvind.mat"
LARGEST = 2**26

Opener = Callable[[], bytes]


class NoSlices(ValueError):
    """There is no `N.mat` to be read."""


def listing(root: Path) -> Listing:
    """Lists `N.mat` files and `*.zip` archives of them, anywhere below a directory.

    Folds come from the author's `cvind.mat`; without it they are unknown, but patients are known.
    Where a slice is there twice (an archive beside its contents) the loose file counts.
    """
    files = [path for path in visible(root) if path.suffix.lower() in (".mat", ".zip")]
    return of_files({path.relative_to(root).as_posix(): path for path in files})


def of_files(files: dict[str, Path]) -> Listing:
    """Lists the slices in the given files: `{name: path}`, the name ending in .mat or .zip.

    Raises:
        ValueError: if an archive has an entry that points out of it, if the folds cannot be read or
            do not cover the slices; NoSlices, if there is none.
    """
    found: dict[int, tuple[str, Opener]] = {}
    broken: list[Item] = []
    notes: list[str] = []
    folds = {name: path for name, path in files.items() if PurePosixPath(name).name == FOLDS}
    for name in sorted(files.keys() - folds.keys(), key=lambda name: name.lower().endswith("zip")):
        try:
            entries = _entries(name, files[name])
        except (zipfile.BadZipFile, OSError) as error:
            broken.append(Item(name, 0, partial(_raise, error)))
            continue
        for number, entry, opener in entries:
            if number in found:
                notes.append(f"{entry} left out: {found[number][0]} is the same slice")
            found.setdefault(number, (entry, opener))
    if not found and not broken:
        raise NoSlices(f"no slice N.mat among the files {sorted(files)[:5]}")
    fold_of = dict.fromkeys(found, 0)
    for path in folds.values():
        fold_of = _folds(path, sorted(found))
    if not folds:
        notes.append(f"no {FOLDS}: folds unknown, patients are dealt to folds instead")
    items = [Item(f"{n}.mat", fold_of[n], partial(_read, found[n][1])) for n in sorted(found)]
    return Listing(CLASSES, (*items, *broken), tuple(files.values()), tuple(notes))


def _entries(name: str, path: Path) -> Iterable[tuple[int, str, Opener]]:
    if name.lower().endswith(".mat"):
        number = _number(name)
        return [] if number is None else [(number, name, path.read_bytes)]
    archive = zipfile.ZipFile(path)
    for entry in archive.namelist():
        parts = PurePosixPath(entry.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or re.match("[A-Za-z]:", entry):
            raise ValueError(f"{path}: the entry {entry!r} points out of the archive; refused")
    numbered = ((_number(entry), entry) for entry in archive.namelist())
    return [(n, e, partial(_unzip, archive, e)) for n, e in numbered if n is not None]


def _number(name: str) -> int | None:
    match = re.fullmatch(r"(?:.*/)?(\d+)\.mat", name, re.IGNORECASE)
    return None if match is None or "__MACOSX/" in name else int(match[1])


def _unzip(archive: zipfile.ZipFile, entry: str) -> bytes:
    size = archive.getinfo(entry).file_size
    if size > LARGEST:
        raise ValueError(f"{size} bytes unpacked are too many for a slice")
    return archive.read(entry)


def _read(opener: Opener) -> Slice:
    with h5py.File(io.BytesIO(opener()), "r") as file:
        fields = {name: np.asarray(field) for name, field in file["cjdata"].items()}
    label = int(fields["label"].item())
    # MATLAB stores columns first: HDF5 shows every array transposed.
    values, outline = fields["image"].T, fields["tumorMask"].T > 0
    if label not in NAMES:
        raise ValueError(f"label {label}, expected one of {NAMES}")
    if values.ndim != 2 or outline.shape != values.shape:
        raise ValueError(f"image {values.shape} and tumorMask {outline.shape}, expected [H, W]")
    picture = stretch(values)
    remark = f"{values.dtype} images stretched, each from its own range, to 8 bits"
    drawn = png(Image.fromarray(outline))
    return Slice(png(picture), drawn, NAMES[label], _text(fields["PID"]), picture.size, (remark,))


def _text(field: np.ndarray) -> str:
    """MATLAB keeps a string as a column of UTF-16 units; a patient may also be a number."""
    if field.dtype == np.uint16:
        return "".join(map(chr, field.ravel())).strip()
    return f"{field.item():.0f}"


def _folds(path: Path, numbers: list[int]) -> dict[int, int]:
    """The author's folds: entry N - 1 is the fold of N.mat."""
    try:
        with h5py.File(path, "r") as file:
            folds: Int32[np.ndarray, " N"] = np.asarray(file["cvind"]).ravel().astype(np.int32)
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    beyond = [number for number in numbers if not 0 < number <= len(folds)]
    if beyond:
        raise ValueError(f"{path} has {len(folds)} folds, none for the slices {beyond[:5]}")
    return {number: int(folds[number - 1]) for number in numbers}


def _raise(error: Exception) -> Slice:
    raise error
