"""DICOM files as scans: slices of a series in the order of their positions, frames of a file."""

import hashlib
import os
from collections import Counter, defaultdict
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsal.data.dicom_pixels import Header, Told, opened, read, told
from jaxsal.data.dicom_space import Place, by_position, frame_order, groups, no_stack, place, stack
from jaxsal.data.packages import package
from jaxsal.data.scans import Scan, check_size

PLANE = np.array([[2, 1], [1, 1], [0, 1]])
"""A grid [columns, rows, slices] as its slices are stored."""


KNOWN = ("SOPClassUID", "Modality", "PatientID", "DirectoryRecordSequence")
"""Of these every DICOM file has one, even where it does not begin as one."""
COPY = "a copy of another slice of its series"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class File(NamedTuple):
    """What the header of a file with pixels says.

    Attributes:
        series: what all slices of one stack have in common.
        place: of each slice, of the first time.
        order: within one position.
        uid: of the one slice that the file holds, however often it is copied.
        low, high: the window it is to be seen at, of frames with windows of their own the median;
            NaN without.
        times: volumes. frames: in the order of times, and of positions in each.
    """

    path: Path
    name: str
    series: tuple[str, ...]
    shape: tuple[int, int, int]
    place: Place | None
    order: tuple[int, ...]
    uid: str
    low: float
    high: float
    patient: str
    times: int
    frames: tuple[int, ...]


def is_dicom(path: Path) -> bool:
    """Whether a file says at its beginning that it is one."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def scans(files: list[tuple[Path, str]]) -> tuple[list[Scan], list[tuple[str, str]]]:
    """The scans in files `(path, name)`, and what holds none, `(name, reason)`.

    Files of one folder and one series are one scan, where their slices lie behind each other, each
    copied slice counted once; else each file is a scan that says why it is `alone`. A series among
    several in a folder is called by its place among them. Of what identifies a patient
    only a hash is kept, which tells scans of one patient from others' and is in no output: see
    `patients.numbered`.

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
            found.append(Scan(name, partial(read, (path,), 1, None, ()), fault=told(error)))
        else:
            series[file.series or (name,)].append(file)
    numbers: Counter[str] = Counter()
    for key, members in series.items():
        numbers[key[0]] += 1
        copied = _copies(members)
        without += [(file.name, COPY) for file in members if file.name in copied]
        once = [file for file in members if file.name not in copied]
        found += _stacked(once, os.path.join(key[0], f"series-{numbers[key[0]]}"))
    return _named(found), without


class _NoPixels(Exception):
    """A file of another use than images."""


def _header(path: Path, name: str) -> File:
    header = opened(path, pixels=False)
    if "Rows" not in header or "Columns" not in header:
        if not (is_dicom(path) or any(name in header for name in KNOWN)):
            raise Told("no DICOM file")
        kind = header.get("Modality") or ("DICOMDIR" if "DirectoryRecordSequence" in header else "")
        kind = kind if str(kind).isalnum() and len(str(kind)) < 17 else "none"
        raise _NoPixels(f"a DICOM file without pixels (modality {kind})")
    frames = int(header.get("NumberOfFrames") or 1)
    shape = (int(header.Columns), int(header.Rows), frames)
    try:
        check_size((*shape, int(header.get("SamplesPerPixel") or 1)))
    except ValueError as error:
        raise Told(str(error)) from error
    where, by_time = _frames(header, frames)
    single = frames == 1 and where is not None and header.get("SeriesInstanceUID")
    folder, uid = os.path.dirname(name), str(header.get("SeriesInstanceUID"))
    kind = (str(header.get("EchoNumbers")), str(header.get("PhotometricInterpretation")))
    series = (folder, uid, *map(str, shape), where.kind, *kind) if single and where else ()
    numbers = ("TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber")
    order = tuple(int(header.get(number) or 0) for number in numbers)
    low, high = _window(header, frames)
    whose, flat = patient(header), tuple(frame for row in by_time for frame in row)
    own = str(header.get("SOPInstanceUID") or "")
    return File(path, name, series, shape, where, order, own, low, high, whose, len(by_time), flat)


def _frames(header: Header, count: int) -> tuple[Place | None, list[list[int]]]:
    """Where the slices of a file lie, and its frames by time and position; as stored where unknown.

    The functional groups of each frame count, as enhanced files have them (PS3.3 C.7.6.16).
    """
    where = place(header, count)
    by_time = None if where is None else frame_order(header, where)
    if where is None or by_time is None:
        return None, [list(range(count))]
    return where._replace(positions=where.positions[by_time[0]]), by_time


def patient(header: Header) -> str:
    """A hash of the patient's number; "" without one. It is slow, so that none are tried out."""
    number = str(header.get("PatientID") or "").strip()
    return _hash(number) if number else ""


@lru_cache(2**16)
def _hash(text: str) -> str:
    return hashlib.scrypt(text.encode(), salt=b"jaxsal", n=2**12, r=8, p=1, dklen=6).hex()


def _copies(files: list[File]) -> set[str]:
    """The names of the files of one series that hold a slice once more.

    A slice is one by its number (SOPInstanceUID), place and order. Numbers alone do not tell: some
    programs give every file the same. Where all three are alike, the pixels tell.
    """
    alike: dict[tuple[object, ...], list[File]] = defaultdict(list)
    for file in files:
        where = [] if file.place is None else np.round(file.place.positions, 3).ravel().tolist()
        alike[file.uid, file.order, *where].append(file)
    copies = set()
    for (uid, *_), same in alike.items():
        first: dict[str, str] = {}
        for file in same if uid and len(same) > 1 else ():
            content = _content(file.path)
            if content and first.setdefault(content, file.name) != file.name:
                copies.add(file.name)
    return copies


def _content(path: Path) -> str:
    """A hash of a file's pixels as they are stored, and of their scale; "" where unknown."""
    try:
        header = opened(path, pixels=True)
        pixels = next(header[name].value for name in PIXELS if name in header)
    except Exception:  # a broken file may raise anything: told when it is read
        return ""
    scale = f"{header.get('RescaleSlope')} {header.get('RescaleIntercept')} "
    return hashlib.sha256(scale.encode() + pixels).hexdigest()


def _stacked(files: list[File], name: str) -> list[Scan]:
    """The files of one series as one scan of this name, or one each where they are no stack."""
    places = [file.place for file in files]
    known = [where for where in places if where is not None]
    if len(files) == 1 or len(known) < len(files):
        return [_scan([file], file.times, file.name, file.place) for file in files]
    orders = [file.order for file in files]
    order = stack(known, orders)
    if order is None:
        alone = no_stack(by_position(known, orders))
        each = (_scan([file], file.times, file.name, file.place) for file in files)
        return [scan._replace(alone=alone) for scan in each]
    times = len(order)
    ordered = [files[number] for row in order for number in row]
    first = [files[number] for number in order[0]]
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
    order = files[0].frames if len(files) == 1 else ()
    affine, even = (None, "") if where is None else where.affine()
    low, high = (float(np.median([getattr(f, side) for f in files])) for side in ("low", "high"))
    window = (low, high) if np.isfinite(low) and high > low else None
    return Scan(
        name,
        partial(read, tuple(file.path for file in files), times, window, order),
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


def _window(header: Header, frames: int) -> tuple[float, float]:
    """(low, high) of the first window, of several frames' own the median; NaN without one.

    One for all frames: each at its own would make of one tissue several values.
    """
    known = groups(header, frames)
    found = [_window_of(own) for own in (known[:1] if known[0] is known[-1] else known)]
    windows = [window for window in found if window is not None]
    low, high = np.median(windows, 0).tolist() if windows else (float("nan"), float("nan"))
    return low, high


def _window_of(groups: list[Header]) -> tuple[float, float] | None:
    for own in groups:
        if own.get("WindowCenter") is not None and own.get("WindowWidth") is not None:
            center, width = (np.ravel(own[n].value) for n in ("WindowCenter", "WindowWidth"))
            if center.size and width.size:
                low, high = float(center[0]), float(width[0])
                if own.get("VOILUTFunction", "LINEAR") == "LINEAR":  # PS3.3 C.11.2.1.2.1
                    return low - 0.5 - (high - 1) / 2, low - 0.5 + (high - 1) / 2
                return low - high / 2, low + high / 2
    return None
