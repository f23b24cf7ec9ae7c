"""Scans as the records that an explainer streams: one image each, read when it is asked for."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxsal.data import images, intensity, scans
from jaxsal.data.intensity import Scale
from jaxsal.data.scans import Scan, Values
from jaxsal.data.wanted import Note, Notes, Wanted, prepared

KEPT = 2
"""Scans in memory: the one being read, slice by slice by several threads, and the next."""


class BrokenImage(ValueError):
    """An image that cannot be read; `source_name` says which."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.source_name = name


class Row(NamedTuple):
    """One record: the number of its scan, its volume and its slice; None: all of the volume."""

    scan: int
    time: int
    slice: int | None


class Files:
    """Pictures, and slices or volumes of scans, as records.

    Attributes:
        scans: those that have a record, in order.
        left: files and scans without one, `(name, reason)`.
        text: says what they are: it changes when a file does, or how they are read.
        paths: every file that was found, those without a record too.
        root: the folder that names begin at; None where it is not known.
        masks: of each file that has some beside it, by its name.
        of_scans: how scans were put together from files, where it is to be said.
    """

    paths: Sequence[Path] = ()
    root: Path | None = None
    masks: Mapping[str, Sequence[Path]] = MappingProxyType({})

    def __init__(
        self, found: list[Scan], left: tuple[tuple[str, str], ...], text: str, wanted: Wanted
    ) -> None:
        """Raises ValueError where no scan has a record."""
        rows = [_rows(scan, wanted) for scan in found]
        without = [scan for scan, numbers in zip(found, rows, strict=True) if not numbers]
        self.left = (*left, *((scan.name, _why_none(scan, wanted)) for scan in without))
        self.scans = [scan for scan, numbers in zip(found, rows, strict=True) if numbers]
        self._slices = [numbers for numbers in rows if numbers]
        if not self.scans:
            why = _why_none(found[0], wanted)
            raise ValueError(f"images: {found[0].name}: {why}; of {len(found)} none is left")
        self._ends = np.cumsum(
            [s.times * len(n) for s, n in zip(self.scans, self._slices, strict=True)]
        )
        self.text, self.wanted = text, wanted
        self._kept, self._notes = Kept(), Notes(len(self))
        as_stored = not wanted.volumes and wanted.slicing.plane is None
        self.of_scans = scans.notes(found, as_stored=as_stored)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def has_stacks(self) -> bool:
        """Whether any scan is of several slices."""
        return any(scan.fault or _count(scan, self.wanted) > 1 for scan in self.scans)

    def row(self, number: int) -> Row:
        """Which scan, volume and slice a record is of."""
        scan = int(np.searchsorted(self._ends, number, "right"))
        slices = self._slices[scan]
        within = number - (int(self._ends[scan - 1]) if scan else 0)
        return Row(scan, within // len(slices), slices[within % len(slices)])

    def name(self, number: int) -> str:
        """Where a record comes from, as `brain.nii.gz/axial-012`."""
        index, time, slice = self.row(number)
        scan, plane = self.scans[index], self.wanted.slicing.plane
        if scan.names and plane is None and slice is not None:
            assert scan.shape is not None
            name = scan.names[time * scan.shape[2] + slice]
        else:
            seen = plane or (scan.plane if isinstance(scan.plane, str) else "")
            parts = [f"t{time:03}"] if scan.times > 1 else []
            if slice is not None and _count(scan, self.wanted) > 1:
                parts.append(f"{seen}-{slice:03}" if seen else f"{slice:03}")
            name = "/".join([scan.name, *parts])
        return name.encode(errors="backslashreplace").decode()

    def __getitem__(self, number: int) -> dict[str, Any]:
        name, wanted = self.name(number), self.wanted
        return {"image": self._image(number, wanted, self._notes.of(number)), "name": name}

    def original(self, number: int) -> np.ndarray:
        """The image at its own size, [H, W, C] or, of a volume, [X, Y, Z, C].

        Raises:
            BrokenImage: it cannot be read.
        """
        free = self.wanted._replace(size=None, range=None)
        return self._image(number, free, lambda what: None)

    def _image(self, number: int, wanted: Wanted, note: Note) -> np.ndarray:
        row, name = self.row(number), self.name(number)
        scan = self.scans[row.scan]
        if scan.fault:
            raise BrokenImage(name, scan.fault)
        try:
            values, scale = self._values(row.scan)
            seen = scans.oriented(values.array[row.time], orientation(scan, wanted))
            seen = seen if row.slice is None else seen[row.slice]
            if seen.dtype.kind == "f" and not np.isfinite(seen).all():
                note("pixels that are no finite numbers taken as the least")
            return prepared(seen, scale, wanted, colour=seen.ndim > wanted.axes, note=note)
        except images.READ_ERRORS as error:
            raise BrokenImage(name, reason(error)) from error

    def notes(self) -> list[str]:
        """As `of_scans`, and what was done to images so far."""
        return [*self.of_scans, *self._notes.lines()]

    def _values(self, index: int) -> tuple[Values, Scale | None]:
        scan = self.scans[index]

        def read() -> tuple[Values, Scale | None]:
            values = scan.read(self.wanted.channels or 1)
            single, asked = scan.shape is None, self.wanted.intensity
            return values, intensity.scale(values.array, values.units, asked, single=single)

        return read() if scan.shape is None else self._kept(index, read)


class Kept:
    """The last few results of functions, by number; threads that want one wait for the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: OrderedDict[int, Future[Any]] = OrderedDict()

    def __call__(self, number: int, make: Callable[[], Any]) -> Any:
        with self._lock:
            future = self._futures.get(number)
            first = future is None
            if future is None:
                future = self._futures[number] = Future()
                while len(self._futures) > KEPT:
                    self._futures.popitem(last=False)
        if first:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
        return future.result()


def orientation(scan: Scan, wanted: Wanted) -> scans.Orientation:
    """How a scan's axes become those of its records.

    Raises:
        ValueError: as of `scans.orientation`.
    """
    if scan.shape is None:
        return scans.AS_STORED
    if not wanted.volumes:
        return scans.orientation(scan, wanted.slicing.plane)
    return scans.AS_STORED if scan.affine is None else scans.towards(scan, "RAS")


def _rows(scan: Scan, wanted: Wanted) -> list[int | None]:
    """The slices of each of its volumes that have a record; one of a file that is broken."""
    if scan.fault:
        return [None]
    if wanted.volumes:
        return [None] if scan.is_volume else []
    if scan.shape is None:
        return [0]
    count = _count(scan, wanted)
    return list(range(count)) if count == 1 else list(range(count)[wanted.slicing.range])


def _why_none(scan: Scan, wanted: Wanted) -> str:
    """Why a scan has no record."""
    if not wanted.volumes:
        return "none of its slices is asked for"
    return f"no stack of slices: {scan.alone}" if scan.alone else "a picture, no volume"


def _count(scan: Scan, wanted: Wanted) -> int:
    """Slices of one volume."""
    if scan.shape is None:
        return 1
    try:
        return scans.oriented_shape(scan, orientation(scan, wanted))[0]
    except ValueError:  # told when one is read
        return 1


def check_one_size(found: list[Scan], wanted: Wanted) -> None:
    """Raises where images of several sizes would be given to a network as they are.

    Raises:
        ValueError: so; it names the sizes.
    """
    sizes: Counter[tuple[int, ...]] = Counter()
    for scan in found:
        try:
            shape = () if scan.fault else _shape(scan, wanted)
        except images.READ_ERRORS:  # told when it is read
            continue
        if shape:
            sizes[shape] += 1
    if len(sizes) > 1:
        told = [f"{'x'.join(map(str, s))} ({n})" for s, n in sizes.most_common(5)]
        raise ValueError(
            f"images: of {len(sizes)} sizes, {', '.join(told)}; a network takes one: say "
            "--image-size N, to which all are made square and resized"
        )


def _shape(scan: Scan, wanted: Wanted) -> tuple[int, ...]:
    """Height and width of its slices, or the lengths of a volume's axes."""
    if scan.shape is None:
        return scan.size() if scan.size else ()
    shape = scans.oriented_shape(scan, orientation(scan, wanted))
    return shape if wanted.volumes else shape[1:]


def reason(error: Exception) -> str:
    """Why an image cannot be read, on one line."""
    text = " ".join(str(error).split())
    return text[:300] if type(error) is ValueError else f"{type(error).__name__}: {text}"[:200]
