"""A folder of pictures: an image beside its maps, one PNG each."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np

from jaxsal import render
from jaxsal.engine import Explainer
from jaxsal.store.records import Record, Source
from jaxsal.store.stream import READERS, Progress, Stored, ahead, fold
from jaxsal.store.targets import Targets

CHUNK = 32
INDEX = "index.json"


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

    Args:
        explain, params, source, targets, key, strict, shard, on_progress: as of `explain_dataset`.
        out: the folder; nothing is written outside it, whatever the images are called.
        classes: their names. names: of the methods, in order.

    Raises:
        ValueError: as of `explain_dataset`.
        OSError: it cannot be written.
    """
    records = Source(source, transform=None, count=None)
    expected = records.peek()
    wanted = Targets(targets, records.count)
    total = records.count or 0
    explain.identity(params, jax.ShapeDtypeStruct((1, *expected.shape), expected.dtype))
    index, process = [], shard[0]
    spans = [(n, n * CHUNK, min((n + 1) * CHUNK, total)) for n in range(-(-total // CHUNK))]
    mine = [span for span in spans if span[0] % shard[1] == process]
    taken: set[str] = set()
    on_progress(Progress(0, total))
    with ThreadPoolExecutor(READERS) as pool:
        for number, chunk in ahead(records.chunks(mine, expected, pool)):
            first = number * CHUNK
            chunk = [r._replace(fault=r.fault or wanted.fault(r)) for r in chunk]
            for record in chunk:
                if strict and record.fault:
                    raise ValueError(f"strict: {record.name}: {record.fault}")
            drawn = _explained(explain, params, chunk, first, wanted, key, expected)
            for i, record, maps, target, logits in drawn:
                place = free_name(record.name, taken)
                picture = _draw(record, maps, target, logits, names, classes)
                _write(out / place, picture)
                index.append(
                    {
                        "file": place,
                        "source": record.name,
                        "number": i,
                        "target": np.asarray(target).tolist(),
                        "logits": np.asarray(logits, float).tolist(),
                    }
                )
                on_progress(Progress(len(index), total))
            index += [
                {"source": r.name, "number": first + i, "fault": r.fault}
                for i, r in enumerate(chunk)
                if r.fault
            ]
            on_progress(Progress(len(index), total))
    index.sort(key=lambda entry: entry["number"])
    name = INDEX if shard[1] == 1 else f"index-{process}.json"
    _write(out / name, (json.dumps(index, indent=1) + "\n").encode())
    faults = tuple((e["source"], e["fault"]) for e in index if "fault" in e)
    return Stored(out, len(index) - len(faults), len(faults), 0, shard[1] == 1, faults)


def free_name(name: str, taken: set[str]) -> str:
    """A path below a folder for the picture of a source, unlike those taken; it is taken then.

    What could lead out of the folder (`..`, a leading slash, a drive) is dropped.
    """
    parts = [
        "".join(c if c.isprintable() and c not in '\\:*?"<>|' else "_" for c in part)[:120]
        for part in PurePosixPath(name.replace("\\", "/")).parts
        if part not in ("/", "..", ".")
    ]
    stem = "/".join(part for part in parts if part) or "image"
    stem = stem[:-4] if stem.lower().endswith(".png") else stem
    for ending in ("", *(f"-{n}" for n in range(2, len(taken) + 3))):
        if (place := f"{stem}{ending}.png") not in taken and place != INDEX:
            break
    taken.add(place)
    return place


def _explained(
    explain: Explainer,
    params: Any,
    chunk: list[Record],
    first: int,
    wanted: Targets,
    key: Any,
    expected: Any,
) -> Iterator[tuple[int, Record, dict[str, Any] | Any, Any, Any]]:
    images = np.zeros((len(chunk), *expected.shape), expected.dtype)
    for i, record in enumerate(chunk):
        if record.image is not None:
            images[i] = record.image
    if all(record.fault for record in chunk):
        return
    numbers = np.arange(first, first + len(chunk))
    keys = None if key is None else fold(key, numbers)
    found = jax.device_get(
        explain.record(params, images, wanted.of(first, chunk), key=keys)._asdict()
    )
    for i, record in enumerate(chunk):
        if not record.fault:
            maps = jax.tree.map(lambda x, i=i: x[i], found["maps"])
            yield first + i, record, maps, found["targets"][i], found["logits"][i]


def _draw(
    record: Record,
    maps: Any,
    target: Any,
    logits: Any,
    names: tuple[str, ...],
    classes: tuple[str, ...],
) -> bytes:
    panels = dict(maps) if isinstance(maps, dict) else {names[0]: maps}
    if np.ndim(target):
        panels = {
            f"{name}, {_class(k, classes)}": every[k]
            for name, every in panels.items()
            for k in target
        }
        title = record.name
    else:
        title = f"{record.name}: {_class(int(target), classes)}"
    return render.png(render.explanation(record.image, panels, title=title))


def _class(number: int, classes: tuple[str, ...]) -> str:
    return classes[number] if number < len(classes) else f"class {number}"


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"out: {path} cannot be written: {error.strerror}") from error
