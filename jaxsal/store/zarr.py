"""A Zarr 3 store on the disk: created once, opened again, written by whole chunks."""

import json
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from jaxsal.common.results import GROUP, KEY
from jaxsal.store.layout import STATUS, Column, Layout, as_json

CLASSES = "classes"
"""Names, which decide no map either: a store without any is given them later, and keeps them."""

NOT_COMPARED = ("versions", "spatial_axes", "layers", CLASSES)
"""Facts that decide no map: where axes do, the method's fingerprint holds them."""

PATIENCE = 60.0
"""Seconds that other processes wait for the first to create the store."""


class Store:
    """An open store; every write is of one chunk, and the chunk is there or it is not.

    TensorStore writes each file aside, syncs it and renames it. A chunk is a file in each column;
    that of `status` is written when the others are on the disk, and finishes the chunk.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self._files = _open_folder(path)
        self._count = layout.count or 0
        self._growing = threading.Lock()
        self._arrays: dict[str, ts.TensorStore] = {}
        for column in layout.columns:
            self._create(column)
        if layout.count is None:
            self._count = int(self._arrays[STATUS].shape[0])

    @classmethod
    def create(
        cls, path: Path, layout: Layout, identity: Mapping[str, Any], *, first: bool = True
    ) -> "Store":
        """The store at `path`: a new one, or the one that is there if it is of this identity.

        Args:
            path: a folder that does not exist, is empty, or holds a store.
            layout: of the store.
            identity: JSON-able facts, in the order in which differences are named.
            first: whether this process creates it; the others wait for it.

        Raises:
            ValueError: another store or one of other classes, or a folder that holds something
                else.
            OSError: it cannot be written; or the first process did not create it in time.
        """
        facts = json.loads(json.dumps(dict(identity)))
        group = {"zarr_format": 3, "node_type": "group"}
        about = {**group, "attributes": {KEY: facts}}
        found = read_about(path)
        if found is None and first:
            _check_empty(path)
            with _named(path):
                _open_folder(path).write(GROUP, as_json(about)).result()
        deadline = time.monotonic() + PATIENCE
        while (found := read_about(path)) is None:
            if time.monotonic() > deadline:
                raise OSError(
                    f"out: no store appeared at {path} within {PATIENCE:.0f} s; every process must "
                    "see the same folder"
                )
            time.sleep(0.05)
        _refuse_another(path, found, facts)
        _refuse_other_names(path, found, facts)
        with _named(path):
            store = cls(path, layout)
            if first and facts.get(CLASSES) and not found.get(CLASSES):
                named = {KEY: {**found, CLASSES: facts[CLASSES]}}
                store._files.write(GROUP, as_json({**group, "attributes": named})).result()
            if first:  # a kill may have come before any of them
                store._write_groups(group)
            return store

    def _write_groups(self, group: Mapping[str, Any]) -> None:
        for folder in sorted({c.name.rpartition("/")[0] for c in self.layout.columns} - {""}):
            if not (self.path / folder / "zarr.json").exists():
                self._files.write(f"{folder}/zarr.json", as_json(group)).result()

    def finished(self) -> set[int]:
        """The numbers of the chunks that are on the disk."""
        prefix = f"{STATUS}/c/"
        listed = self._files.list(ts.KvStore.KeyRange(prefix, prefix + "\xff")).result()
        keys = [key.decode()[len(prefix) :] for key in listed]
        return {int(key) for key in keys if key.isdecimal()}

    def status(self) -> np.ndarray:
        """The status of every example, uint8 [N].

        Raises:
            OSError: a chunk of it cannot be read.
        """
        with _named(self.path, "read"):
            return np.asarray(self._arrays[STATUS].read().result())

    def faults(self) -> dict[int, tuple[str, str]]:
        """`(source, fault)` of each example that was skipped or is not finite, by its number.

        Raises:
            OSError: they cannot be read.
        """
        found: dict[int, tuple[str, str]] = {}
        for number in sorted(self.finished()):
            first, _ = self.layout.span(number)
            with _named(self.path, "read", f"source/c/{number} or fault/c/{number}: "):
                names, faults = (self._read_text(each, number) for each in ("source", "fault"))
            pairs = enumerate(zip(names, faults, strict=True), first)
            found |= {example: (name, fault) for example, (name, fault) in pairs if fault}
        return found

    def write(self, number: int, values: Mapping[str, np.ndarray | Sequence[str]]) -> None:
        """Writes a chunk, and returns when it is on the disk.

        Raises:
            OSError: it cannot be written; what is finished stays so.
        """
        first, _ = self.layout.span(number)
        last = first + len(values[STATUS])
        with _named(self.path):
            with self._growing:  # several chunks are written at a time
                if last > self._count:
                    self._grow(last)
            writes: list[ts.Future | ts.WriteFutures] = []
            try:
                for column in self.layout.columns:
                    if (name := column.name) != STATUS:
                        writes.append(self._write(column, number, first, last, values[name]))
            finally:  # where one fails, the others are not left writing behind the caller's back
                failed = [error for write in writes if (error := write.exception())]
            if failed:
                raise failed[0]
            self._arrays[STATUS][first:last].write(values[STATUS]).result()

    def remove_locks(self) -> None:
        """Removes what a killed process left of files that it was writing."""
        for left in self.path.rglob("*.__lock"):
            left.unlink(missing_ok=True)

    def _write(
        self, column: Column, number: int, first: int, last: int, values: np.ndarray | Sequence[str]
    ) -> ts.Future | ts.WriteFutures:
        if column.dtype == "string":
            padded = [*values, *[""] * (self.layout.chunk - len(values))]
            return self._files.write(f"{column.name}/c/{number}", _encode(padded))
        return self._arrays[column.name][first:last].write(np.asarray(values))

    def _create(self, column: Column) -> None:
        metadata = column.metadata(self._count, self.layout.chunk)
        key = f"{column.name}/zarr.json"
        if column.dtype == "string":
            if not self._files.read(key).result().value:
                self._files.write(key, as_json(metadata)).result()
            return
        growing = self.layout.count is None and self._files.read(key).result().value
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{self.path.absolute()}/{column.name}/"},
            **({} if growing else {"metadata": metadata}),
        }
        self._arrays[column.name] = ts.open(spec, create=not growing, open=True).result()

    def _grow(self, count: int) -> None:
        """Of an unknown number of examples: the arrays become as long as what is written."""
        for column in self.layout.columns:
            if column.dtype == "string":
                metadata = column.metadata(count, self.layout.chunk)
                self._files.write(f"{column.name}/zarr.json", as_json(metadata)).result()
                continue
            array = self._arrays[column.name]
            bound = [count, *[None] * len(column.shape)]
            self._arrays[column.name] = array.resize(exclusive_max=bound, expand_only=True).result()
        self._count = count

    def _read_text(self, column: str, number: int) -> list[str]:
        return _decode(self._files.read(f"{column}/c/{number}").result().value)


def read_about(path: Path) -> dict[str, Any] | None:
    """What a store says it was made of; None where there is none.

    Raises:
        ValueError: a `zarr.json` that is not of a store of jaxsal.
    """
    try:
        text = (path / GROUP).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"out: {path} cannot be read ({error})") from error
    try:
        return dict(json.loads(text)["attributes"][KEY])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"out: {path} is a Zarr store, but not one of jaxsal") from error


def _check_empty(path: Path) -> None:
    if path.is_dir():
        other = next((child.name for child in path.iterdir()), None)
        if other is not None and other != "zarr.json.__lock":
            raise ValueError(
                f"out: {path} is no store and not empty (it holds {other!r}); name another"
            )
    elif path.exists():
        raise ValueError(f"out: {path} is a file; expected a folder, or a name that is free")


def _refuse_another(path: Path, found: dict[str, Any], identity: dict[str, Any]) -> None:
    for name in (*identity, *found):
        if found.get(name) != identity.get(name) and name not in NOT_COMPARED:
            made = found.get("versions", {})
            raise ValueError(
                f"out: {path} holds maps of another {name}: {found.get(name)!r}, this run has "
                f"{identity.get(name)!r} (made with {made}); name another folder or remove it"
            )


def _refuse_other_names(path: Path, found: dict[str, Any], identity: dict[str, Any]) -> None:
    there, came = found.get(CLASSES), identity.get(CLASSES)
    if there and came and there != came:
        raise ValueError(
            f"classes: {path} has {', '.join(there)}, this run has {', '.join(came)}; leave them "
            "out, name another folder or remove it"
        )


def _open_folder(path: Path) -> ts.KvStore:
    return ts.KvStore.open({"driver": "file", "path": f"{path.absolute()}/"}).result()


@contextmanager
def _named(path: Path, done: str = "written", what: str = "") -> Iterator[None]:
    """What TensorStore raises becomes an OSError of one line that names the store."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()).split(" [source locations")[0]
        raise OSError(f"out: {path} cannot be {done}: {what}{reason[:300]}") from error


def _encode(texts: Sequence[str]) -> bytes:
    """Zarr's `vlen-utf8`: the number of texts, then each with its length before it."""
    parts = [text.encode(errors="backslashreplace") for text in texts]
    lengths = [struct.pack("<I", len(part)) for part in parts]
    return struct.pack("<I", len(parts)) + b"".join(
        piece for pair in zip(lengths, parts, strict=True) for piece in pair
    )


def _decode(content: bytes) -> list[str]:
    (count,), at, texts = struct.unpack_from("<I", content), 4, []
    for _ in range(count):
        (length,) = struct.unpack_from("<I", content, at)
        texts.append(content[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return texts
