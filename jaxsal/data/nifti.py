"""NIfTI and what else nibabel reads, as scans; maps back into NIfTI on the scan's own grid."""

import gzip
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxsal.data.intensity import Units
from jaxsal.data.packages import package
from jaxsal.data.scans import Scan, Values, check_size, three

FARTHEST = 2**24
"""Bytes before the first voxel: extensions of a header, not a bomb."""

GEOMETRY = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)
"""Fields of a header that are kept: none of them has room for a patient's name."""


MARK = b"maps of jaxsal"
"""The header's description of maps, which tells them from a user's own files."""


def scans(path: Path, name: str) -> list[Scan]:
    """The volumes of a file, one scan.

    Raises:
        ValueError: a broken file, or one of no volumes; nibabel is not installed.
    """
    nibabel = package("nibabel")
    _check_beginning(path)
    try:
        image: Any = nibabel.load(path)
        shape = tuple(map(int, image.shape))
        affine = np.asarray(image.affine, float)
    except Exception as error:  # nibabel's own, of several bases, with the path in their words
        raise ValueError(f"broken or cut short ({type(error).__name__})") from error
    check_size(shape)
    if path.suffix.lower() == ".mnc" and len(shape) > 3:
        raise ValueError("a MINC file of several volumes; convert it to NIfTI")
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ValueError("its affine is not finite")
    grid = three(shape)
    times = int(np.prod(shape[3:], dtype=int))
    geometry = (type(image), image.header, shape)
    read = partial(_read, path)
    return [Scan(name, read, grid, None, times, "axial", affine, geometry)]


def _read(path: Path, channels: int) -> Values:
    """[times, X, Y, Z] or [times, X, Y, Z, 3]."""
    del channels
    image: Any = package("nibabel").load(path)
    dtype = image.get_data_dtype()
    try:
        if dtype.fields:
            array = np.asarray(image.dataobj)
            array = np.stack([array[field] for field in "RGB"], -1)
        elif dtype.kind == "c":
            raise ValueError("complex numbers; expected a magnitude")
        else:
            array = np.asarray(image.dataobj)
    except (OSError, zlib.error, EOFError, KeyError) as error:  # with the path in their words
        raise ValueError(f"broken or cut short ({type(error).__name__})") from error
    colours = array.shape[len(image.shape) :]
    array = array.reshape(*three(tuple(map(int, image.shape))), -1, *colours)
    if array.dtype.itemsize > 4:  # float64 of scaled integers
        array = array.astype(np.float32)
    return Values(np.moveaxis(array, 3, 0), Units(255.0 if colours else None))


def _check_beginning(path: Path) -> None:
    """Raises where a NIfTI header promises what no file holds, before anything is unpacked.

    Raises:
        ValueError: so.
    """
    try:
        with (gzip.open if path.suffix.lower() in (".gz", ".mgz") else open)(path, "rb") as file:
            start = file.read(540)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"broken or cut short ({type(error).__name__}: {error})") from error
    nibabel = package("nibabel")
    first, second = nibabel.Nifti1Header, nibabel.Nifti2Header
    kind = first if start[344:348] == b"n+1\0" else second if start[4:8] == b"n+2\0" else None
    if kind is not None and len(start) >= kind.sizeof_hdr:
        offset = float(kind(start[: kind.sizeof_hdr], check=False)["vox_offset"])
        if not 0 <= offset <= FARTHEST:
            raise ValueError(f"its first voxel at byte {offset:g}, expected 2^24 at most")


def is_map(path: Path) -> bool:
    """Whether `encoded` has made a file."""
    try:
        header: Any = package("nibabel").load(path).header
        return bool(header["descrip"].item() == MARK)
    except Exception:  # nibabel's own, of several bases; another kind of header has no such field
        return False


def encoded(scan: Scan, maps: np.ndarray) -> bytes:
    """A NIfTI of maps [times, X, Y, Z], float32, with the scan's own shape, affine, orientation.

    A NIfTI's maps have its qform and sform; nothing else of a header is kept, where a name could
    stand.
    """
    nibabel = package("nibabel")
    kind, source, shape = scan.geometry or (nibabel.Nifti1Image, None, (*maps.shape[1:],))
    if not issubclass(kind, nibabel.Nifti1Pair):
        kind, source = nibabel.Nifti1Image, None
    second = (nibabel.Nifti2Image, nibabel.Nifti2Pair)
    kind = nibabel.Nifti2Image if issubclass(kind, second) else nibabel.Nifti1Image
    values = np.moveaxis(maps, 0, 3).reshape(shape)
    image: Any = kind(values.astype(np.float32), scan.affine)
    if source is None:
        image.header.set_xyzt_units("mm")
        image.set_qform(scan.affine, 1)
        image.set_sform(scan.affine, 1)
    else:
        image.header["pixdim"] = source["pixdim"]
        for field in GEOMETRY:
            image.header[field] = source[field]
    image.header["descrip"] = MARK
    content: bytes = image.to_bytes()
    return content
