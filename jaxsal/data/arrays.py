"""Arrays in `.npy` and `.npz` files: images [N, ...] as records, or a stack of pages as a scan."""

import zipfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.npyio import NpzFile

from jaxsal.data import images
from jaxsal.data.intensity import Units, full_scale
from jaxsal.data.scans import Scan, Values, check_size

ENDINGS = (".npy", ".npz")

UNPACKED = 2**31
"""Bytes of an archive, which is in memory as a whole."""


class Loaded(NamedTuple):
    """An array of images and, where the file has them, their labels."""

    values: np.ndarray
    labels: np.ndarray | None


def load(path: Path) -> Loaded:
    """The images of a file, [N, ...], real numbers.

    Raises:
        ValueError: a broken file, or no images.
    """
    try:
        if path.suffix.lower() == ".npy":
            values, labels = np.load(path, mmap_mode="r", allow_pickle=False), None
        else:
            values, labels = _unpacked(path)
        if not isinstance(values, np.ndarray):
            raise ValueError("no array")
    except Exception as error:  # NumPy parses a file's header as Python
        raise ValueError(f"images: {path} cannot be read ({images.told(error)})") from error
    if values.ndim < 3 or not values.size:
        raise ValueError(
            f"images: expected [N, H, W] or [N, H, W, C] in {path}, got {values.dtype} "
            f"{values.shape}"
        )
    if values.dtype.kind not in "fiub":
        raise ValueError(f"images: expected real numbers, got {values.dtype} in {path}")
    if labels is not None and (labels.shape != values.shape[:1] or labels.dtype.kind not in "iu"):
        raise ValueError(f"images: {len(values)} images, but labels {labels.dtype} {labels.shape}")
    return Loaded(values.view(np.uint8) if values.dtype == bool else values, labels)


def scans(path: Path, name: str) -> list[Scan]:
    """One array of a folder of them: a picture [H, W], [H, W, 1 or 3], or a stack [pages, H, W].

    Raises:
        ValueError: another shape.
    """
    values = _opened(path)
    shape = values.shape
    if values.dtype.kind not in "fiub" or values.ndim not in (2, 3):
        raise ValueError(f"expected numbers [H, W], [H, W, C] or [pages, H, W], got {shape}")
    check_size(shape)
    read = partial(_read, path)
    if not _is_picture(shape):
        return [Scan(name, read, shape)]
    return [Scan(name, read, size=lambda: (shape[0], shape[1]))]


def _opened(path: Path) -> np.ndarray:
    """The array of a file, on the disk.

    Raises:
        ValueError: a broken file.
    """
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses a file's header as Python
        raise ValueError(f"broken or cut short ({type(error).__name__})") from error
    return found


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or shape[-1] in (1, 3)


def _read(path: Path, channels: int) -> Values:
    """[1, pages, H, W] or [1, 1, H, W, 3]."""
    del channels
    values = np.array(_opened(path))
    values = values.view(np.uint8) if values.dtype == bool else values
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    array = values[None, None] if _is_picture(values.shape) else values[None]
    return Values(array, Units(full_scale(array.dtype)))


def _unpacked(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > UNPACKED:
        raise ValueError(f"{size >> 20} MiB when unpacked; a .npy is read piece by piece")
    with np.load(path, allow_pickle=False) as file:
        return _member(file)


def _member(file: NpzFile) -> tuple[np.ndarray, np.ndarray | None]:
    names = [name for name in ("images", "image", "x") if name in file.files]
    if not names and len(file.files) != 1:
        raise ValueError(f"expected an array named 'images', got {file.files}")
    labels = next((file[name] for name in ("labels", "label", "y") if name in file.files), None)
    return file[(names or file.files)[0]], labels
