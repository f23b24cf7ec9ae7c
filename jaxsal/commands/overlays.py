"""A folder of pictures: an image beside its maps, one PNG each."""

import json
import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np

from jaxsal.common import files
from jaxsal.compiler import processes
from jaxsal.engine import Explainer
from jaxsal.store.layout import EXPLAINED, NOT_FINITE, SKIPPED
from jaxsal.store.records import Record, Source, stacked
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
from jaxsal.viz import figures

CHUNK = 32
INDEX = "index.json"
STATUSES = {EXPLAINED: "explained", SKIPPED: "skipped", NOT_FINITE: "not finite"}
PART = ".index-{}.json"
"""Of one process, until the last is done."""


def explain_folder(
    explain: Explainer,
    params: Any,
    source: Any,
    out: Path,
    *,
    targets: Any,
    key: Any,
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
    mine, taken = sum(last - first for _, first, last in spans), set[str]()
    entries: list[dict[str, Any]] = []
    params, called = held(params), _called(classes, explain.output.noun)
    axes = explain.spatial_axes(params, one)
    axes = axes if axes is not None and len(axes) in (2, 3) else None  # a signal is no picture
    on_progress(Progress(0, mine))
    with ThreadPoolExecutor(READERS) as pool:
        for number, read in ahead(records.chunks(spans, expected, pool)):
            chunk, first = wanted.usable(read, strict=strict), number * CHUNK
            found = _explained(explain, params, chunk, first, wanted, key, expected)
            wrong = [""] * len(chunk) if found is None else unsound(found)
            for row, record in enumerate(chunk):
                entry: dict[str, Any] = {"source": record.name, "number": first + row}
                if record.fault:
                    entry |= {"status": STATUSES[SKIPPED], "fault": record.fault}
                else:
                    own = jax.tree.map(operator.itemgetter(row), found._asdict())
                    entry |= {"status": STATUSES[EXPLAINED], **_said(own, explain.output.plural)}
                if not record.fault and wrong[row]:  # a picture would show zeros for no number
                    entry |= {"status": STATUSES[NOT_FINITE], "fault": wrong[row]}
                elif not record.fault:
                    # What another process has taken is not known here.
                    mark = f"-{first + row}" if shard[1] > 1 else ""
                    entry["file"] = free_name(record.name, taken, mark)
                    _write(out / entry["file"], _draw(record, own, names, called, axes))
                entries.append(entry)
                on_progress(Progress(len(entries), mine))
    return _stored(out, _indexed(out, entries, shard), records.count)


def _stored(out: Path, entries: list[dict[str, Any]], count: int | None) -> Stored:
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


def _indexed(
    out: Path, entries: list[dict[str, Any]], shard: tuple[int, int]
) -> list[dict[str, Any]]:
    """Writes `index.json`; returns the entries of all processes, by number."""
    process, count = shard
    part = out / PART.format(process)
    if count > 1:
        _write_index(part, entries)
        processes.wait("drawn")
        parts = [out / PART.format(p) for p in range(count)]
        entries = [entry for part in parts for entry in json.loads(part.read_text())]
    entries = sorted(entries, key=lambda entry: entry["number"])
    if not process:
        _write_index(out / INDEX, entries)
    processes.wait("indexed")
    part.unlink(missing_ok=True)
    return entries


def _write_index(path: Path, entries: list[dict[str, Any]]) -> None:
    files.write_json(path, entries)


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


def _explained(
    explain: Explainer,
    params: Any,
    chunk: list[Record],
    first: int,
    wanted: Targets,
    key: Any,
    expected: Any,
) -> Any:
    """Maps, targets and logits of a chunk; None where none of its images can be used."""
    if all(record.fault for record in chunk):
        return None
    images = stacked(chunk, expected)
    keys = None if key is None else fold(key, np.arange(first, first + len(chunk)))
    return jax.device_get(explain.dispatch(params, images, wanted.of(first, chunk), key=keys))


def _draw(
    record: Record,
    found: dict[str, Any],
    names: tuple[str, ...],
    called: Callable[[int], str],
    axes: tuple[int, ...] | None,
) -> bytes:
    maps, target = found["maps"], found["targets"]
    panels = dict(maps) if isinstance(maps, dict) else {names[0]: maps}
    if np.ndim(target):
        panels = {
            f"{name}, {called(k)}": every[k] for name, every in panels.items() for k in target
        }
        title = record.name
    else:
        title = f"{record.name}: {called(int(target))}"
    return figures.png(figures.explanation(record.image, panels, title=title, spatial_axes=axes))


def _said(found: dict[str, Any], plural: str) -> dict[str, Any]:
    target, outputs = np.asarray(found["targets"]), np.asarray(found["logits"], float)
    return {"target": target.tolist(), plural: outputs.tolist()}


def _called(classes: tuple[str, ...], noun: str) -> Callable[[int], str]:
    """From a target to its name, or its number where it has none; -1 is no target."""
    names = {-1: f"no {noun}", **dict(enumerate(classes))}
    return lambda number: names.get(number, f"{noun} {number}")


def _write(path: Path, content: bytes) -> None:
    with files.write_atomically(path) as partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
