"""Maps back on the voxels of the scans that they explain, as NIfTI files, with a JSON beside."""

import gzip
import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsal.commands.overlays import free_name
from jaxsal.common import files, results
from jaxsal.common.results import NIFTI
from jaxsal.compiler.program import Explanation
from jaxsal.data import nifti, patients, scans
from jaxsal.data.records import Files, orientation
from jaxsal.data.wanted import unsized
from jaxsal.engine import Explainer
from jaxsal.store.layout import EXPLAINED, NOT_FINITE, SKIPPED, Layout
from jaxsal.store.source import Source
from jaxsal.store.stream import Chunk, Progress, Stored, Stream, unsound
from jaxsal.types import Key, Params, SpatialAxes
from jaxsal.viz.inputs import channels_last

CHUNK = 32

STATUSES = {EXPLAINED: "explained", SKIPPED: "skipped", NOT_FINITE: "not finite"}


def is_nifti(out: Path) -> bool:
    return out.name.lower().endswith(NIFTI)


def stem(out: Path) -> Path:
    """Without the ending.

    Raises:
        ValueError: nothing is left.
    """
    ending = next(ending for ending in NIFTI if out.name.lower().endswith(ending))
    if out.name == ending:
        raise ValueError(f"out: expected NAME.nii.gz, got {out.name!r}")
    return out.with_name(out.name[: -len(ending)])


def places(out: Path) -> tuple[Path, Path]:
    """What may be written beside `out`: a folder, and the JSON file."""
    return stem(out), stem(out).with_name(f"{stem(out).name}.json")


def check_place(out: Path) -> None:
    """Raises where what is there would be replaced, and is not a run's.

    Raises:
        ValueError: the record's name is another's, as of a BIDS sidecar; or `out`, or a file in its
            folder, is no map.
    """
    folder, record = places(out)
    listed = results.maps(record)
    if listed is None and os.path.lexists(record):
        raise ValueError(
            f"out: {record} is there, no record of a run's maps; expected another name"
        )
    inside = sorted(filter(is_nifti, folder.rglob("*"))) if folder.is_dir() else []
    for path in [*([out] if os.path.lexists(out) else []), *inside]:
        if path.relative_to(out.parent).as_posix() in (listed or ()) or nifti.is_map(path):
            continue
        why = f"has no {record.name}" if listed is None else f"{record.name} does not list it"
        raise ValueError(f"out: {path} is there and {why}: not a run's maps")


def check(source: object, out: Path) -> Files:
    """The source, where maps of it can lie in space.

    Raises:
        ValueError: one of no scans, or one of a scan that does not say where its voxels lie; a scan
            in the place of the maps.
    """
    if jax.process_count() > 1:
        raise ValueError("out: NIfTI is written by one process; several write a store NAME.zarr")
    if not isinstance(source, Files):
        raise ValueError("out: arrays and TFDS sets do not lie in space; expected NAME.zarr")
    for path in source.paths:
        if any(path.resolve().is_relative_to(place.resolve()) for place in (out, *places(out))):
            raise ValueError(
                f"out: {path} is one of the files that are read; expected another name"
            )
    for scan in source.scans:
        if not scan.fault and (scan.affine is None or scan.even):
            why = scan.even or "does not say where its pixels lie"
            raise ValueError(f"out: {scan.name} {why}; expected NAME.zarr, or a folder of pictures")
    return source


def explain_scans(
    explain: Explainer,
    params: Params,
    source: object,
    lies: Files,
    out: Path,
    *,
    targets: int | str | None,
    key: Key | None,
    classes: tuple[str, ...],
    names: tuple[str, ...],
    strict: bool,
    on_progress: Callable[[Progress], None],
) -> Stored:
    """Writes the maps of each scan at its own voxels; a JSON file lists what became of each image.

    One scan, method and class: the file `out`. Of several, `out` without its ending is a folder
    with a file for each. Voxels of slices that were not explained are NaN. Maps of colour are
    added up over the channels, those of another size than the slices brought to it.

    Args:
        explain, params, targets, key, strict, on_progress: as of `explain_dataset`.
        source: records with an image each. lies: says of which slice each is, see `check`.
        classes: their names. names: of the methods, in order.

    Raises:
        ValueError: as of `explain_dataset`.
        OSError: it cannot be written.
    """
    stream = Stream(explain, params, source, targets=targets, key=key, strict=strict)
    axes = _axes(explain.spatial_axes(params, stream.image), stream.image.shape[1:], lies)
    with files.writable(out.parent):
        sink = ScanSink(lies, out, names, classes, explain.output.plural, axes)
        stream.run(sink, (0, 1), on_progress)
        return sink.stored()


def _axes(known: SpatialAxes | None, shape: tuple[int, ...], lies: Files) -> SpatialAxes:
    """Along which axes of a model's image and its map the slices or volumes of scans lie.

    Args:
        known: what the model's program says. shape: of an image as the model takes it.

    Raises:
        ValueError: the image is another part of the scan than was read.
    """
    given = Source(lies, transform=None, count=None).peek().shape
    space, count = given[: lies.wanted.axes], lies.wanted.axes
    choices = [known] if known else [tuple(range(count)), tuple(range(1, count + 1))]
    for axes in choices:
        if axes[-1] < len(shape) and tuple(shape[axis] for axis in axes) == space:
            return axes
    one, other = ("x".join(map(str, each)) for each in (shape, given))
    raise ValueError(
        f"out: --preprocess makes images {one} of those read, {other}: where their pixels lie is "
        "not known; expected NAME.zarr, or a folder of pictures"
    )


class ScanSink:
    """NIfTI files as a stream writes into them, see `jaxsal.store.stream.Sink`."""

    threads = 1
    """Chunks come in order: a scan is written when its last slice has come."""

    def __init__(
        self,
        source: Files,
        out: Path,
        methods: tuple[str, ...],
        classes: tuple[str, ...],
        outputs: str,
        axes: SpatialAxes,
    ) -> None:
        """Takes the scans, where to write, names, and the axes that are spatial."""
        self.source, self.out, self.methods, self.axes = source, out, methods, axes
        self.patients = patients.numbered([scan.patient for scan in source.scans])
        self.classes, self.outputs = classes, outputs
        self.layout = Layout((), CHUNK, len(source))
        self.total: int | None = len(source)
        self.entries: list[dict[str, Any]] = []
        self.written: list[str] = []
        self._taken = set[str]()
        self._scan, self._maps = -1, dict[str, np.ndarray]()
        self._panels = 0

    def finished(self) -> set[int]:
        return set()

    def status(self) -> np.ndarray:
        return np.zeros(self.layout.count or 0, np.uint8)

    def write(self, chunk: Chunk, results: Explanation | None) -> None:
        wrong = [""] * len(chunk.examples) if results is None else unsound(results)
        for row, example in enumerate(chunk.examples):
            number = chunk.first + row
            fault = example.fault or wrong[row]
            status = SKIPPED if example.fault else NOT_FINITE if fault else EXPLAINED
            entry: dict[str, Any] = {"source": example.name, "number": number}
            entry |= {"status": STATUSES[status]} | ({"fault": fault} if fault else {})
            patient = self.patients[self.source.row(number).scan]
            entry |= {"patient": patient} if patient else {}
            self.entries.append(entry)
            self._turn_to(self.source.row(number).scan)
            if results is None or example.fault:
                continue
            own = jax.tree.map(operator.itemgetter(row), results._asdict())
            entry["target"] = np.asarray(own["targets"]).tolist()
            entry[self.outputs] = np.asarray(own["logits"], float).tolist()
            if not fault:
                self._put(number, self._named(own))

    def stored(self) -> Stored:
        """Writes the last scan and the JSON file; returns what became of the images."""
        self._turn_to(-1)
        about = {"files": self.written, "images": self.entries}
        files.write_json(places(self.out)[1], about)

        def of(status: int) -> list[dict[str, Any]]:
            return [entry for entry in self.entries if entry["status"] == STATUSES[status]]

        faults = [(e["source"], e["fault"]) for e in self.entries if "fault" in e]
        several = len(self.written) > 1 or not self.out.exists()
        return Stored(
            path=stem(self.out) if several else self.out,
            explained=len(of(EXPLAINED)),
            skipped=len(of(SKIPPED)),
            resumed=0,
            complete=len(self.entries) == self.layout.count,
            faults=tuple(faults),
            not_finite=tuple((e["source"], e["fault"]) for e in of(NOT_FINITE)),
        )

    def _named(self, own: dict[str, Any]) -> dict[str, np.ndarray]:
        """The maps of one image by method and, where there are several, class."""
        maps = own["maps"] if isinstance(own["maps"], dict) else {self.methods[0]: own["maps"]}
        if not np.ndim(own["targets"]):
            return {method: np.asarray(map) for method, map in maps.items()}
        return {
            f"{method}-{self.classes[k] if self.classes else k}": np.asarray(every[k])
            for method, every in maps.items()
            for k in own["targets"].tolist()
        }

    def _put(self, number: int, maps: dict[str, np.ndarray]) -> None:
        """Lays the maps of a slice or of a volume over the scan's voxels."""
        row, wanted = self.source.row(number), self.source.wanted
        scan = self.source.scans[row.scan]
        assert scan.shape is not None
        for name, map in maps.items():
            if name not in self._maps:
                self._maps[name] = np.full((scan.times, *scan.shape), np.nan, np.float32)
            voxels = scans.oriented(self._maps[name][row.time], orientation(scan, wanted))
            place = voxels if row.slice is None else voxels[row.slice]
            whole = channels_last(map, self.axes)
            flat = whole.sum(tuple(range(wanted.axes, whole.ndim)))
            place[...] = unsized(flat, place.shape, wanted)

    def _turn_to(self, number: int) -> None:
        """Writes the maps of the scan so far, where another one begins."""
        if number == self._scan:
            return
        for name, maps in self._maps.items():
            path = self._place(self.source.scans[self._scan].name, name, len(self._maps))
            content = nifti.encoded(self.source.scans[self._scan], maps)
            small = gzip.compress(content, 6, mtime=0) if path.suffix == ".gz" else content
            files.write_result(path, small)
            self.written.append(path.relative_to(self.out.parent).as_posix())
        self._scan, self._maps = number, {}

    def _place(self, scan: str, label: str, panels: int) -> Path:
        several = len(self.source.scans) > 1
        parts = [_plain(scan)] if several else []
        parts += [label] if panels > 1 else []
        if not parts:
            return self.out
        name = free_name("/".join(parts), self._taken).removesuffix(".png")
        return stem(self.out) / f"{name}{self.out.name[len(stem(self.out).name) :]}"


def _plain(name: str) -> str:
    """A scan's name without the ending that its maps' file has again."""
    return next((name[: -len(e)] for e in NIFTI if name.lower().endswith(e)), name)
