"""A folder of pictures: an image beside its maps, one PNG each."""

import json
import operator
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np

from jaxsal.common import files
from jaxsal.compiler import processes
from jaxsal.compiler.program import Explanation
from jaxsal.data import pictures
from jaxsal.engine import Explainer
from jaxsal.store.layout import EXPLAINED, NOT_FINITE, SKIPPED, Layout
from jaxsal.store.stream import Chunk, Progress, Stored, Stream, unsound
from jaxsal.types import Key, Params, SpatialAxes
from jaxsal.viz import figures

CHUNK = 32
INDEX = "index.json"
STATUSES = {EXPLAINED: "explained", SKIPPED: "skipped", NOT_FINITE: "not finite"}
PART = ".index-{}.json"
"""Of one process, until the last is done."""

Entry = dict[str, Any]
"""What `index.json` says of an image."""


def explain_folder(
    explain: Explainer,
    params: Params,
    source: pictures.Pictures | np.ndarray,
    out: Path,
    *,
    targets: int | str | None,
    key: Key | None,
    classes: tuple[str, ...],
    names: tuple[str, ...],
    strict: bool,
    shard: tuple[int, int],
    on_progress: Callable[[Progress], None],
) -> Stored:
    """Draws the maps of every image into `out/<its name>.png`; `index.json` lists them.

    An entry's `status` is explained, skipped, or not finite: then there is no picture.

    Args:
        explain, params, source, targets, key, strict, on_progress: as of `explain_dataset`.
        shard: `(this process, of how many)`; every process returns what became of all images.
        out: the folder; nothing is written outside it, whatever the images are called.
        classes: their names. names: of the methods, in order.

    Raises:
        ValueError: as of `explain_dataset`.
        OSError: it cannot be written.
    """
    stream = Stream(explain, params, source, targets=targets, key=key, strict=strict)
    axes = explain.spatial_axes(params, stream.image)
    axes = axes if axes is not None and len(axes) in (2, 3) else None  # a signal is no picture
    named = _class_names(classes, explain.output.noun)

    def draw(image: np.ndarray, found: Entry, title: str) -> bytes:
        return figures.png(_figure(image, found, title, names, named, axes))

    sink = PictureSink(out, stream.source.count or 0, shard, draw, explain.output.plural)
    stream.run(sink, shard, on_progress)
    return sink.stored()


class PictureSink:
    """A folder of pictures as a stream writes into it, see `jaxsal.store.stream.Sink`."""

    threads = 1
    """matplotlib's settings are the whole process's."""

    def __init__(
        self,
        out: Path,
        count: int,
        shard: tuple[int, int],
        draw: Callable[[np.ndarray, Entry, str], bytes],
        outputs: str,
    ) -> None:
        """Takes `draw(image, results of one image, name)`, and what the outputs are called."""
        self.out, self.shard, self.draw, self.outputs = out, shard, draw, outputs
        self.layout = Layout((), CHUNK, count)
        index, number = shard
        spans = (self.layout.span(n) for n in range(index, self.layout.chunks or 0, number))
        self.total: int | None = sum(last - first for first, last in spans)
        self.entries: list[Entry] = []
        self.taken = set[str]()

    def finished(self) -> set[int]:
        return set()

    def status(self) -> np.ndarray:
        return np.zeros(self.layout.count or 0, np.uint8)

    def write(self, chunk: Chunk, results: Explanation | None) -> None:
        wrong = [""] * len(chunk.examples) if results is None else unsound(results)
        for row, example in enumerate(chunk.examples):
            entry: Entry = {"source": example.name, "number": chunk.first + row}
            self.entries.append(entry)
            if results is None or example.fault:
                entry |= {"status": STATUSES[SKIPPED], "fault": example.fault}
                continue
            own = jax.tree.map(operator.itemgetter(row), results._asdict())
            target, outputs = np.asarray(own["targets"]), np.asarray(own["logits"], float)
            entry |= {"status": STATUSES[EXPLAINED]}
            entry |= {"target": target.tolist(), self.outputs: outputs.tolist()}
            if wrong[row]:  # a picture would show zeros for no number
                entry |= {"status": STATUSES[NOT_FINITE], "fault": wrong[row]}
                continue
            # What another process has taken is not known here.
            mark = f"-{entry['number']}" if self.shard[1] > 1 else ""
            entry["file"] = free_name(example.name, self.taken, mark)
            files.write_result(
                self.out / entry["file"], self.draw(chunk.images[row], own, example.name)
            )

    def stored(self) -> Stored:
        """Writes `index.json`; returns what became of the images of all processes."""
        entries = _indexed(self.out, self.entries, self.shard)

        def of(status: int) -> list[Entry]:
            return [entry for entry in entries if entry["status"] == STATUSES[status]]

        return Stored(
            path=self.out,
            explained=len(of(EXPLAINED)),
            skipped=len(of(SKIPPED)),
            resumed=0,
            complete=len(entries) == self.layout.count,
            faults=tuple((e["source"], e["fault"]) for e in entries if "fault" in e),
            not_finite=tuple((e["source"], e["fault"]) for e in of(NOT_FINITE)),
        )


def _indexed(out: Path, entries: list[Entry], shard: tuple[int, int]) -> list[Entry]:
    """Writes `index.json`; returns the entries of all processes, by number."""
    process, count = shard
    part = out / PART.format(process)
    if count > 1:
        files.write_json(part, entries)
        processes.wait("drawn")
        parts = [out / PART.format(p) for p in range(count)]
        entries = [entry for part in parts for entry in json.loads(part.read_text())]
    entries = sorted(entries, key=operator.itemgetter("number"))
    if not process:
        files.write_json(out / INDEX, entries)
    processes.wait("indexed")
    part.unlink(missing_ok=True)
    return entries


def free_name(name: str, taken: set[str], mark: str = "") -> str:
    """A path below a folder for the picture of a source, unlike those taken; it is taken then.

    What could lead out of the folder (`..`, a leading slash, a drive) is dropped.

    Args:
        mark: put behind the name.
    """
    parts = [
        _short("".join(c if c.isprintable() and c not in '\\:*?"<>|' else "_" for c in part))
        for part in PurePosixPath(name.replace("\\", "/")).parts
        if part not in ("/", "..", ".")
    ]
    stem = "/".join(part for part in parts if part) or "image"
    stem = stem[:-4] if stem.lower().endswith(".png") else stem
    for ending in ("", *(f"-{n}" for n in range(2, len(taken) + 3))):
        if (place := f"{stem}{mark}{ending}.png") not in taken:
            break
    taken.add(place)
    return place


def _short(part: str) -> str:
    """A name that leaves room for endings: file systems take 255 bytes."""
    return part.encode(errors="backslashreplace")[:200].decode(errors="ignore")


def _figure(
    image: np.ndarray,
    found: Entry,
    name: str,
    methods: tuple[str, ...],
    class_name: Callable[[int], str],
    axes: SpatialAxes | None,
) -> figures.Figure:
    """An image beside its maps; with several targets a panel for each."""
    maps, target = found["maps"], found["targets"]
    panels = dict(maps) if isinstance(maps, dict) else {methods[0]: maps}
    if np.ndim(target):
        panels = {
            f"{method}, {class_name(k)}": every[k]
            for method, every in panels.items()
            for k in target
        }
        title = name
    else:
        title = f"{name}: {class_name(int(target))}"
    return figures.explanation(image, panels, title=title, spatial_axes=axes)


def _class_names(classes: tuple[str, ...], noun: str) -> Callable[[int], str]:
    """From a target to its name, or its number where it has none; -1 is no target."""
    names = {-1: f"no {noun}", **dict(enumerate(classes))}
    return lambda number: names.get(number, f"{noun} {number}")
