"""A folder of pictures: an image beside its maps, one PNG each, and a page of them all."""

import itertools
import json
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np

from jaxsal.commands.drawing import Pen
from jaxsal.commands.pages import PAGE, Entry, write_page, write_sheet
from jaxsal.commands.preparing import Images
from jaxsal.common import files
from jaxsal.common.errors import one_line
from jaxsal.common.results import INDEX, SHEET, THUMBNAILS
from jaxsal.compiler import processes
from jaxsal.compiler.outputs import Output
from jaxsal.compiler.program import Explanation
from jaxsal.data.pictures import SUFFIXES
from jaxsal.engine import Explainer
from jaxsal.store.answers import Answers, answers
from jaxsal.store.layout import EXPLAINED, NOT_FINITE, SKIPPED, Layout
from jaxsal.store.stream import Chunk, Progress, Stored, Stream, unsound
from jaxsal.types import Key, Params
from jaxsal.viz.maps import Look

CHUNK = 32
STATUSES = {EXPLAINED: "explained", SKIPPED: "skipped", NOT_FINITE: "not finite"}
PART = ".index-{}.json"
"""Of one process, until the last is done."""
ENDINGS = re.compile(f"({'|'.join(map(re.escape, (*SUFFIXES, '.nii.gz', '.nii', '.dcm')))})$", re.I)
"""What a picture's name drops: the suffix of its image."""


def explain_folder(
    explain: Explainer,
    params: Params,
    source: Images,
    out: Path,
    *,
    targets: int | str | None,
    key: Key | None,
    classes: tuple[str, ...],
    names: tuple[str, ...],
    look: Look,
    strict: bool,
    shard: tuple[int, int],
    on_progress: Callable[[Progress], None],
    warnings: Sequence[str] = (),
) -> Stored:
    """Draws the maps of every image into `out/<its name>.png`.

    `index.json` lists them, `index.html` shows them, `contact_sheet.png` some of them. An entry's
    `status` is explained, skipped, or not finite: then there is no picture. One that cannot be
    drawn says so as `no_picture`, and ends no run.

    Args:
        explain, params, source, targets, key, strict, on_progress: as of `explain_dataset`.
        shard: `(this process, of how many)`; every process returns what became of all images.
        out: the folder; nothing is written outside it, whatever the images are called.
        classes: their names. names: of the methods, in order. look: how maps are drawn.
        warnings: what speaks against the model; the page has them above all pictures.

    Raises:
        ValueError: as of `explain_dataset`.
        OSError: it cannot be written.
    """
    stream = Stream(explain, params, source, targets=targets, key=key, strict=strict)
    stream.check_classes(classes)
    axes = explain.spatial_axes(params, stream.image)
    axes = axes if axes is not None and len(axes) in (2, 3) else None  # a signal is no picture
    pen = Pen(source, names, look, axes)
    sink = PictureSink(out, stream.source.count or 0, shard, pen, explain.output, classes, warnings)
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
        pen: Pen,
        output: Output,
        classes: tuple[str, ...],
        warnings: Sequence[str] = (),
    ) -> None:
        """Takes what draws, the model's outputs, the names of the classes, and warnings of it."""
        self.warnings = warnings
        self.out, self.shard, self.pen, self.output, self.classes = out, shard, pen, output, classes
        self.layout = Layout((), CHUNK, count)
        index, number = shard
        spans = (self.layout.span(n) for n in range(index, self.layout.chunks or 0, number))
        self.total: int | None = sum(last - first for first, last in spans)
        self.entries: list[Entry] = []
        self.taken = {SHEET}

    def finished(self) -> set[int]:
        return set()

    def status(self) -> np.ndarray:
        return np.zeros(self.layout.count or 0, np.uint8)

    def write(self, chunk: Chunk, results: Explanation | None) -> None:
        wrong = [""] * len(chunk.examples) if results is None else unsound(results)
        said = None if results is None else answers(self.output, results.logits)
        for row, example in enumerate(chunk.examples):
            entry: Entry = {"source": example.name, "number": chunk.first + row}
            self.entries.append(entry)
            if example.label is not None:
                entry |= {"label": example.label, "class": self.named(example.label)}
            if results is None or said is None or example.fault:
                entry |= {"status": STATUSES[SKIPPED], "fault": example.fault}
                continue
            own = jax.tree.map(operator.itemgetter(row), results._asdict())
            entry |= {"status": STATUSES[EXPLAINED], **self.answer(own, said, row)}
            if wrong[row]:  # a picture would show zeros for no number
                entry |= {"status": STATUSES[NOT_FINITE], "fault": wrong[row]}
                continue
            self.draw(chunk.images[row], own["maps"], entry)

    def answer(self, own: Entry, said: Answers, row: int) -> Entry:
        """What the model says of one image, by number and by name."""
        target, outputs = np.asarray(own["targets"]), np.asarray(own["logits"], float)
        told: Entry = {"target": target.tolist(), self.output.plural: outputs.tolist()}
        if said.probabilities is None:
            return told
        predicted = int(said.predicted[row])
        if target.ndim == 0 and target != predicted:
            told["target_class"] = self.named(int(target))
        shares = said.probabilities[row].astype(float).tolist()
        return told | {
            "predicted": predicted,
            "predicted_class": self.named(predicted),
            "probability": shares[predicted] if predicted >= 0 else None,
            "probabilities": shares,
        }

    def named(self, number: int) -> str:
        """A target's name, or its number where it has none; -1 is no target."""
        if number < 0:
            return f"no {self.output.noun}"
        known = number < len(self.classes)
        return self.classes[number] if known else f"{self.output.noun} {number}"

    def draw(self, image: np.ndarray, maps: Any, entry: Entry) -> None:
        """Writes the picture of an image and its thumbnail, and their names into its entry."""
        try:
            drawn = self.pen.draw(image, maps, entry, self.named)
        except Exception as error:  # of one image: the others have theirs
            entry["no_picture"] = one_line(error)[:300]
            return
        mark = _mark(entry["number"], self.shard[1])
        entry["file"] = free_name(entry["source"], self.taken, mark)
        entry["thumbnail"] = f"{THUMBNAILS}/{entry['number']}.png"
        entry["outlined"] = drawn.outlined
        # First what tells that a run has written here: it may be interrupted.
        files.write_result(self.out / entry["thumbnail"], drawn.thumbnail)
        files.write_result(self.out / entry["file"], drawn.picture)

    def stored(self) -> Stored:
        """Writes the indices; returns what became of the images of all processes."""
        entries = _indexed(self.out, self.entries, self.shard, self.pen, self.warnings)

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
            undrawn=tuple((e["source"], e["no_picture"]) for e in entries if "no_picture" in e),
        )


def _indexed(
    out: Path,
    entries: list[Entry],
    shard: tuple[int, int],
    pen: Pen,
    warnings: Sequence[str],
) -> list[Entry]:
    """Writes `index.json`, page and sheet; returns the entries of all processes, by number."""
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
        write_page(out, entries, pen.about, warnings, pen.source.has_stacks)
        write_sheet(out, entries)
    processes.wait("indexed")
    part.unlink(missing_ok=True)
    return entries


def file_names(sources: Sequence[str], processes: int = 1) -> set[str]:
    """What is written below a folder, were every image drawn, but for the thumbnails.

    Args:
        sources: the names of the images, in order. processes: how many draw them.
    """
    taken = {SHEET}
    for number, name in enumerate(sources):
        free_name(name, taken, _mark(number, processes))
    return {INDEX, PAGE, *taken}


def _mark(number: int, processes: int) -> str:
    """Behind the names of several processes, none of which knows what another has taken."""
    return f"-{number}" if processes > 1 else ""


def free_name(name: str, taken: set[str], mark: str = "") -> str:
    """A path below a folder for the picture of a source, unlike those taken; it is taken then.

    It is the image's own name, the suffix of its kind replaced. What could lead out of the folder
    (`..`, a leading slash, a drive) is dropped.

    Args:
        mark: put behind the name.
    """
    parts = [
        _short("".join(c if c.isprintable() and c not in '\\:*?"<>|' else "_" for c in part))
        for part in PurePosixPath(name.replace("\\", "/")).parts
        if part not in ("/", "..", ".")
    ]
    stem = "/".join(part for part in parts if part) or "image"
    kept = ENDINGS.sub("", stem) if PurePosixPath(ENDINGS.sub("", stem)).name else stem
    kept = f"_{kept}" if kept.startswith(f"{THUMBNAILS}/") else kept
    for ending in itertools.chain([""], (f"-{n}" for n in range(2, len(taken) + 3))):
        place = f"{kept}{mark}{ending}.png"
        if place not in taken:
            break
    taken.add(place)
    return place


def _short(part: str) -> str:
    """A name that leaves room for endings: file systems take 255 bytes."""
    return part.encode(errors="backslashreplace")[:200].decode(errors="ignore")
