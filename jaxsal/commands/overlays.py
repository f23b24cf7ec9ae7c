"""A folder of pictures: an image beside its maps, one PNG each."""

import json
import operator
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np

from jaxsal.common import files
from jaxsal.compiler import processes
from jaxsal.compiler.outputs import Output
from jaxsal.data import pictures
from jaxsal.engine import Explainer
from jaxsal.store.layout import EXPLAINED, NOT_FINITE, SKIPPED
from jaxsal.store.records import Record, Shape, Source, stacked
from jaxsal.store.stream import (
    READERS,
    Progress,
    Stored,
    ahead,
    fold,
    held,
    shapes,
    unsound,
)
from jaxsal.store.targets import Targets
from jaxsal.types import Key, Params, SpatialAxes
from jaxsal.viz import figures

CHUNK = 32
INDEX = "index.json"
STATUSES = {EXPLAINED: "explained", SKIPPED: "skipped", NOT_FINITE: "not finite"}
PART = ".index-{}.json"
"""Of one process, until the last is done."""

Entry = dict[str, Any]
"""What `index.json` says of one image."""


def explain_folder(
    explain: Explainer,
    params: Params,
    source: pictures.Source | np.ndarray,
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
    records = Source(source, transform=None, count=None)
    expected = records.peek()
    wanted = Targets(targets, records.count)
    wanted.check_labelled(expected.labelled)
    one = jax.ShapeDtypeStruct((1, *expected.shape), expected.dtype)
    outputs = shapes(explain, params, one, wanted.abstract, key).logits
    wanted.bound(explain.output.classes(outputs.shape[-1]))
    spans = _spans(records.count or 0, shard)
    axes = explain.spatial_axes(params, one)
    folder = _Folder(
        out,
        explain.output,
        classes,
        names,
        spatial_axes=axes if axes is not None and len(axes) in (2, 3) else None,  # no signal's
        numbered=shard[1] > 1,
    )
    mine, params = sum(last - first for _, first, last in spans), held(params)
    entries: list[Entry] = []
    on_progress(Progress(0, mine))
    with ThreadPoolExecutor(READERS) as pool:
        for number, read in ahead(records.chunks(spans, expected, pool)):
            chunk, first = wanted.usable(read, strict=strict), number * CHUNK
            found = _explain(explain, params, chunk, first, wanted, key, expected)
            for entry in folder.write(chunk, first, found):
                entries.append(entry)
                on_progress(Progress(len(entries), mine))
    return _stored(out, _indexed(out, entries, shard), records.count)


def _explain(
    explain: Explainer,
    params: Params,
    chunk: list[Record],
    first: int,
    wanted: Targets,
    key: Key | None,
    expected: Shape,
) -> Any:
    """Maps, targets and logits of a chunk; None where none of its images can be used."""
    if all(record.fault for record in chunk):
        return None
    images = stacked(chunk, expected)
    keys = None if key is None else fold(key, np.arange(first, first + len(chunk)))
    return jax.device_get(explain.dispatch(params, images, wanted.of(first, chunk), key=keys))


@dataclass
class _Folder:
    """The pictures of a folder: names that are taken, and what all of them have in common.

    Attributes:
        numbered: names end with the image's number, for those that other processes have taken are
            not known here.
    """

    out: Path
    output: Output
    classes: tuple[str, ...]
    names: tuple[str, ...]
    spatial_axes: SpatialAxes | None
    numbered: bool
    taken: set[str] = field(default_factory=set)

    def write(self, chunk: list[Record], first: int, found: Any) -> Iterator[Entry]:
        """Draws the pictures of a chunk whose first image has that number."""
        faults = [""] * len(chunk) if found is None else unsound(found)
        for row, record in enumerate(chunk):
            entry: Entry = {"source": record.name, "number": first + row}
            if record.fault or found is None:
                yield entry | {"status": STATUSES[SKIPPED], "fault": record.fault}
                continue
            own = jax.tree.map(operator.itemgetter(row), found._asdict())
            status = STATUSES[NOT_FINITE if faults[row] else EXPLAINED]
            entry |= {"status": status, "target": np.asarray(own["targets"]).tolist()}
            entry |= {self.output.plural: np.asarray(own["logits"], float).tolist()}
            if faults[row]:  # a picture would show zeros where there is no number
                yield entry | {"fault": faults[row]}
                continue
            mark = f"-{first + row}" if self.numbered else ""
            entry["file"] = free_name(record.name, self.taken, mark)
            files.write_result(self.out / entry["file"], self._draw(record, own))
            yield entry

    def _draw(self, record: Record, own: dict[str, Any]) -> bytes:
        maps, target = own["maps"], own["targets"]
        panels = dict(maps) if isinstance(maps, dict) else {self.names[0]: maps}
        if np.ndim(target):
            panels = {
                f"{name}, {self._class(k)}": of_classes[k]
                for name, of_classes in panels.items()
                for k in target
            }
            title = record.name
        else:
            title = f"{record.name}: {self._class(int(target))}"
        return figures.png(
            figures.explanation(record.image, panels, title=title, spatial_axes=self.spatial_axes)
        )

    def _class(self, number: int) -> str:
        """The name of a class, or its number where it has none; -1 is no class."""
        noun = self.output.noun
        if number == -1:
            return f"no {noun}"
        known = 0 <= number < len(self.classes)
        return self.classes[number] if known else f"{noun} {number}"


def _stored(out: Path, entries: list[Entry], count: int | None) -> Stored:
    explained, skipped = (
        sum(entry["status"] == STATUSES[which] for entry in entries)
        for which in (EXPLAINED, SKIPPED)
    )
    faults = tuple((e["source"], e["fault"]) for e in entries if "fault" in e)
    return Stored(out, explained, skipped, 0, len(entries) == count, faults)


def _spans(total: int, shard: tuple[int, int]) -> list[tuple[int, int, int]]:
    """`(chunk, first, last)` of the chunks that are this process's."""
    process, count = shard
    numbers = range(process, -(-total // CHUNK), count)
    return [(n, n * CHUNK, min((n + 1) * CHUNK, total)) for n in numbers]


def _indexed(out: Path, entries: list[Entry], shard: tuple[int, int]) -> list[Entry]:
    """Writes `index.json`; returns the entries of all processes, by number."""
    process, count = shard
    part = out / PART.format(process)
    if count > 1:
        files.write_json(part, entries)
        processes.wait("drawn")
        parts = [out / PART.format(p) for p in range(count)]
        entries = [entry for part in parts for entry in json.loads(part.read_text())]
    entries = sorted(entries, key=lambda entry: entry["number"])
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
