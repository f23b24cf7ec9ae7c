"""DICOM files as scans: slices of a series in the order of their positions, frames of a file."""

import hashlib
import os
import zlib
from collections import defaultdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxsal.data.dicom_space import Place, groups, place, stack
from jaxsal.data.intensity import Units
from jaxsal.data.packages import package
from jaxsal.data.scans import LARGEST, Scan, Values, check_size

PLANE = np.array([[2, 1], [1, 1], [0, 1]])
"""A grid [columns, rows, slices] as its slices are stored."""

Header = Any
"""A pydicom.Dataset."""


class File(NamedTuple):
    """What the header of a file with pixels says.

    Attributes:
        series: what all slices of one stack have in common.
        place: of each frame.
        order: within one position.
        low, high: the window it is to be seen at; NaN without.
    """

    path: Path
    name: str
    series: tuple[str, ...]
    shape: tuple[int, int, int]
    place: Place | None
    order: tuple[int, ...]
    low: float
    high: float
    patient: str


def is_dicom(path: Path) -> bool:
    """Whether a file says at its beginning that it is one."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def scans(files: list[tuple[Path, str]]) -> tuple[list[Scan], list[tuple[str, str]]]:
    """The scans in files `(path, name)`, and what holds none, `(name, reason)`.

    Files of one folder and one series are one scan, where their slices lie behind each other. Of
    what identifies a patient only a hash is kept.

    Raises:
        ValueError: pydicom is not installed.
    """
    package("pydicom")
    series: dict[tuple[str, ...], list[File]] = defaultdict(list)
    found, without = [], []
    for path, name in files:
        try:
            file = _header(path, name)
        except _NoPixels as error:
            without.append((name, str(error)))
        except Exception as error:  # a broken header may raise anything
            found.append(Scan(name, partial(_read, (path,), 1, None), fault=told(error)))
        else:
            series[file.series or (name,)].append(file)
    for key, members in series.items():
        found += _stacked(members, key)
    return _named(found), without


class _NoPixels(Exception):
    """A file of another use than images."""


def _header(path: Path, name: str) -> File:
    header = _open(path, pixels=False)
    if "Rows" not in header or "Columns" not in header:
        kind = header.get("Modality") or ("DICOMDIR" if "DirectoryRecordSequence" in header else "")
        kind = kind if str(kind).isalnum() and len(str(kind)) < 17 else "none"
        raise _NoPixels(f"a DICOM file without pixels (modality {kind})")
    frames = int(header.get("NumberOfFrames") or 1)
    shape = (int(header.Columns), int(header.Rows), frames)
    try:
        check_size((*shape, int(header.get("SamplesPerPixel") or 1)))
    except ValueError as error:
        raise Told(str(error)) from error
    where = place(header, frames)
    single = frames == 1 and where is not None and header.get("SeriesInstanceUID")
    folder, uid = os.path.dirname(name), str(header.get("SeriesInstanceUID"))
    kind = (str(header.get("EchoNumbers")), str(header.get("PhotometricInterpretation")))
    series = (folder, uid, *map(str, shape), where.kind, *kind) if single and where else ()
    numbers = ("TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber")
    order = tuple(int(header.get(number) or 0) for number in numbers)
    low, high = _window(header)
    return File(path, name, series, shape, where, order, low, high, patient(header))


def patient(header: Header) -> str:
    """A hash of the patient's number; "" without one. It is slow, so that none are tried out."""
    number = str(header.get("PatientID") or "").strip()
    return _hash(number) if number else ""


@lru_cache(2**16)
def _hash(text: str) -> str:
    return hashlib.scrypt(text.encode(), salt=b"jaxsal", n=2**12, r=8, p=1, dklen=6).hex()


def _stacked(files: list[File], key: tuple[str, ...]) -> list[Scan]:
    """The files of one series as one scan, or one each where they are no stack."""
    places = [file.place for file in files]
    known = [where for where in places if where is not None]
    order = stack(known, [file.order for file in files]) if len(known) == len(files) > 1 else None
    if order is None:
        return [_scan([file], 1, file.name, file.place) for file in files]
    times = len(order)
    ordered = [files[number] for row in order for number in row]
    first = [files[number] for number in order[0]]
    uid = hashlib.sha256(key[1].encode()).hexdigest()[:8]
    name = os.path.join(key[0], f"series-{uid}") if key[0] else f"series-{uid}"
    joined = Place(
        known[0].directions,
        known[0].spacing,
        np.concatenate([file.place.positions for file in first if file.place]),
        known[0].thickness,
    )
    return [_scan(ordered, times, name, joined)]


def _scan(files: list[File], times: int, name: str, where: Place | None) -> Scan:
    columns, rows, frames = files[0].shape
    shape = (columns, rows, frames * len(files) // times)
    affine, even = (None, "") if where is None else where.affine()
    low, high = (float(np.median([getattr(f, side) for f in files])) for side in ("low", "high"))
    window = (low, high) if np.isfinite(low) and high > low else None
    return Scan(
        name,
        partial(_read, tuple(file.path for file in files), times, window),
        shape,
        times=times,
        plane=PLANE,
        affine=affine,
        names=tuple(file.name for file in files) if len(files) > 1 else (),
        patient=files[0].patient,
        even=even,
    )


def _named(found: list[Scan]) -> list[Scan]:
    """The scans, a series that has its folder to itself called as the folder is."""
    folders = [os.path.dirname(scan.name) for scan in found]
    return [
        scan._replace(name=folder) if scan.names and folder and folders.count(folder) == 1 else scan
        for scan, folder in zip(found, folders, strict=True)
    ]


def _read(
    paths: tuple[Path, ...], times: int, window: tuple[float, float] | None, channels: int
) -> Values:
    """[times, columns, rows, slices] or [times, columns, rows, slices, 3], in real units.

    Raises:
        ValueError: broken, or compressed in a way for which no decoder is installed.
    """
    del channels
    read = [_pixels(path) for path in paths]
    units, dtypes = read[0][1], {array.dtype for array, _ in read}
    array = np.concatenate([array for array, _ in read])
    if len(dtypes) > 1 and units.full:
        raise ValueError(f"slices of several kinds: {sorted(map(str, dtypes))}")
    array = array.reshape(times, -1, *array.shape[1:])  # [times, slices, rows, columns, ...]
    return Values(array.swapaxes(1, 3), units._replace(window=window if not units.full else None))


def _pixels(path: Path) -> tuple[np.ndarray, Units]:
    """[frames, rows, columns] in real units, or [frames, rows, columns, 3]; and what they mean."""
    pixels = package("pydicom").pixels
    try:
        header = _open(path, pixels=True)
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


def _window(header: Header) -> tuple[float, float]:
    """(low, high) of the first window; NaN without one."""
    for own in groups(header, 1)[0]:
        if own.get("WindowCenter") is not None and own.get("WindowWidth") is not None:
            center, width = (np.ravel(own[n].value) for n in ("WindowCenter", "WindowWidth"))
            if center.size and width.size:
                low, high = float(center[0]), float(width[0])
                if own.get("VOILUTFunction", "LINEAR") == "LINEAR":  # PS3.3 C.11.2.1.2.1
                    return low - 0.5 - (high - 1) / 2, low - 0.5 + (high - 1) / 2
                return low - high / 2, low + high / 2
    return float("nan"), float("nan")


def _open(path: Path, *, pixels: bool) -> Header:
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
