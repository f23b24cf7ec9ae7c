"""The pixels of DICOM files, in real units; and errors that do not say what stands in a file."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxsal.data.dicom_space import groups
from jaxsal.data.intensity import Units
from jaxsal.data.packages import package
from jaxsal.data.scans import LARGEST, Values

Header = Any
"""A pydicom.Dataset."""


def read(
    paths: tuple[Path, ...],
    times: int,
    window: tuple[float, float] | None,
    order: tuple[int, ...],
    channels: int,
) -> Values:
    """[times, columns, rows, slices] or [times, columns, rows, slices, 3], in real units.

    Args:
        order: of the frames; none: as they are stored.

    Raises:
        ValueError: broken, or compressed in a way for which no decoder is installed.
    """
    del channels
    read = [_pixels(path) for path in paths]
    units, dtypes = read[0][1], {array.dtype for array, _ in read}
    array = np.concatenate([array for array, _ in read])
    if len(dtypes) > 1 and units.full:
        raise ValueError(f"slices of several kinds: {sorted(map(str, dtypes))}")
    array = array[list(order)] if order and list(order) != [*range(len(array))] else array
    array = array.reshape(times, -1, *array.shape[1:])  # [times, slices, rows, columns, ...]
    return Values(array.swapaxes(1, 3), units._replace(window=window if not units.full else None))


def _pixels(path: Path) -> tuple[np.ndarray, Units]:
    """[frames, rows, columns] in real units, or [frames, rows, columns, 3]; and what they mean."""
    pixels = package("pydicom").pixels
    try:
        header = opened(path, pixels=True)
        kind = str(header.get("PhotometricInterpretation"))
        _check_decoder(header)
        array = pixels.pixel_array(header)
        frames = int(header.get("NumberOfFrames") or 1)
        array = array if frames > 1 else array[None]
        if kind == "PALETTE COLOR":
            array = pixels.apply_color_lut(array, header)[..., :3]
        if array.ndim == 4:
            bits = 8 * array.dtype.itemsize if kind == "PALETTE COLOR" else int(header.BitsStored)
            return array, Units(float(2**bits - 1))
        return _rescaled(array, header), Units(inverted=kind == "MONOCHROME1")
    except Exception as error:  # pydicom and its decoders raise anything
        raise ValueError(told(error)) from None


def _rescaled(array: np.ndarray, header: Header) -> np.ndarray:
    """By the modality's table, or the slope and the intercept of each frame."""
    if "ModalityLUTSequence" in header:
        found: np.ndarray = package("pydicom").pixels.apply_modality_lut(array, header)
        return found.astype(np.float32)
    slopes = _of_frames(
        header, "RescaleSlope", len(array), float(header.get("DoseGridScaling") or 1)
    )
    offsets = _of_frames(header, "RescaleIntercept", len(array), 0.0)
    if (slopes == 1).all() and (offsets == np.rint(offsets)).all() and array.dtype.itemsize < 4:
        return (array + offsets.astype(np.int32)).astype(np.int32) if offsets.any() else array
    return (array * slopes + offsets).astype(np.float32)


def _of_frames(header: Header, name: str, count: int, default: float) -> np.ndarray:
    """A number for each frame, [frames, 1, 1]."""
    known = groups(header, count)
    values = [next((g[name].value for g in own if name in g), default) for own in known]
    values = [default if value is None else value for value in values]
    return np.array([float(value) for value in values])[:, None, None]


def opened(path: Path, *, pixels: bool) -> Header:
    """What stands in a file, perhaps without its pixels.

    Raises:
        Told: a bomb. Whatever pydicom raises on a broken file; see `told`.
    """
    pydicom = package("pydicom")
    _check_deflated(path)
    return pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)


def _check_deflated(path: Path) -> None:
    """Raises where a deflated file is a bomb: pydicom unpacks it as a whole.

    Raises:
        ValueError: so.
    """
    pydicom = package("pydicom")
    try:
        with path.open("rb") as file:
            meta = pydicom.filereader.read_file_meta_info(path)
            if not getattr(meta.get("TransferSyntaxUID"), "is_deflated", False):
                return
            file.seek(132 + 12 + int(meta.get("FileMetaInformationGroupLength") or 0))
            unpack = zlib.decompressobj(-zlib.MAX_WBITS)
            size, rest = 0, file.read()
            while rest and not unpack.eof:
                size += len(unpack.decompress(rest, 2**20))
                rest = unpack.unconsumed_tail
                if size > LARGEST:
                    raise Told(f"more than {LARGEST >> 20} MiB when unpacked")
    except Told:
        raise
    except Exception:  # without a preamble, or broken: told when it is read
        return


def _check_decoder(header: Header) -> None:
    """Raises where pixels are compressed, and nothing installed unpacks them.

    Raises:
        ValueError: so.
    """
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        return
    try:
        decoder = package("pydicom").pixels.get_decoder(syntax)
    except NotImplementedError:
        raise Told(f"pixels stored as {syntax.name!r}, which pydicom does not read") from None
    if not decoder.is_available:
        text = f"pixels compressed as {syntax.name!r}, for which no decoder is installed: "
        raise Told(text + "pip install 'pylibjpeg[all]' or python-gdcm")


class Told(ValueError):
    """An error in our own words."""


def told(error: Exception) -> str:
    """Why a file cannot be read, without what stands in it."""
    if isinstance(error, Told):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError | NotImplementedError) or text.startswith(
        ("The number of bytes of pixel data", "Unable to decode", "Unable to decompress")
    ):
        return f"its pixels cannot be decoded ({text[:160]})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"broken or cut short ({type(error).__name__})"
