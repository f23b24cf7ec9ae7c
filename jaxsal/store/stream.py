"""A source streamed through an explainer into a store: read, explain and write at the same time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.engine import Explainer
from jaxsal.store.layout import EXPLAINED, NOT_FINITE, SKIPPED, STATUS, UNSOUND
from jaxsal.store.records import Record, Shape, Source, stacked
from jaxsal.store.targets import Targets
from jaxsal.store.zarr import Store

READERS = 8
"""Threads that read and decode."""

IN_FLIGHT = 2
"""Chunks that are computed or written while the next is read: the device never waits for them."""

Item = TypeVar("Item")


class Progress(NamedTuple):
    """How far the store is: examples finished, by whomever, of how many; None where unknown."""

    finished: int
    total: int | None


class Stored(NamedTuple):
    """What became of a stream.

    Attributes:
        path: of the store.
        explained, skipped: examples in the store as it is now, of all processes.
        resumed: examples that an earlier run had finished.
        complete: whether no chunk of the source is missing.
        faults: `(source, reason)` of what was skipped, and of what is not finite.
    """

    path: Path
    explained: int
    skipped: int
    resumed: int
    complete: bool
    faults: tuple[tuple[str, str], ...]

    @property
    def not_finite(self) -> tuple[tuple[str, str], ...]:
        """The faults of images that are neither explained nor skipped: values are not finite."""
        return tuple(fault for fault in self.faults if fault[1] in UNSOUND.values())


class Block(NamedTuple):
    """A chunk that was read.

    Attributes:
        number: of the chunk. records: its records.
        images: [B, ...], black where a record has none. good: bool [B].
    """

    number: int
    records: list[Record]
    images: np.ndarray
    good: np.ndarray


class Stream:
    """An explainer's way from a source to a store."""

    def __init__(
        self,
        explain: Explainer,
        params: Any,
        source: Source,
        store: Store,
        expected: Shape,
        targets: Targets,
        key: Any,
        *,
        strict: bool,
    ) -> None:
        self.explain, self.params, self.source, self.store = explain, held(params), source, store
        self.expected, self.targets, self.key, self.strict = expected, targets, key, strict
        self.layout = store.layout

    def run(self, process: tuple[int, int], on_progress: Callable[[Progress], None]) -> int:
        """Explains what this process, `(index, of how many)`, has to and the store has not.

        Returns how many examples the store had already.
        """
        done = self.store.finished()
        status = self.store.status()
        resumed = int((status > 0).sum())
        progress = Progress(resumed, self.layout.count)
        on_progress(progress)
        writing: deque[Future[int]] = deque()
        with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(IN_FLIGHT) as writers:
            for block in ahead(self._blocks(done, len(status), process, readers)):
                writing.append(writers.submit(self._write, block, self._dispatch(block)))
                while len(writing) > IN_FLIGHT:
                    progress = self._landed(writing, progress, on_progress)
            while writing:
                progress = self._landed(writing, progress, on_progress)
        return resumed

    def _landed(
        self,
        writing: deque[Future[int]],
        progress: Progress,
        on_progress: Callable[[Progress], None],
    ) -> Progress:
        """Waits for the oldest chunk to be on the disk."""
        progress = progress._replace(finished=progress.finished + writing.popleft().result())
        on_progress(progress)
        return progress

    def _blocks(
        self, done: set[int], size: int, process: tuple[int, int], readers: ThreadPoolExecutor
    ) -> Iterator[Block]:
        index, processes = process
        numbers: Iterable[int] = range(self.layout.chunks or 2**53)
        mine = (n for n in numbers if n % processes == index and n not in done)
        wanted = ((n, *self.layout.span(n)) for n in mine)
        for number, records in self.source.chunks(wanted, self.expected, readers):
            first, last = self.layout.span(number)
            if self.layout.count is not None and len(records) < last - first:
                raise ValueError(
                    f"source: ended after {self.source.passed()} records, expected "
                    f"{self.layout.count}"
                )
            # Of an unknown number, a chunk that is not full was the last: nothing may follow it.
            if self.layout.count is None and size % self.layout.chunk:
                if self.source.passed() > size:
                    raise ValueError(
                        f"source: has more than the {size} records that the store was finished with"
                    )
            if records:
                yield self._block(number, records)
            if len(records) < last - first:
                break

    def _block(self, number: int, records: list[Record]) -> Block:
        records = self.targets.usable(records, strict=self.strict)
        images = stacked(records, self.expected)
        good = np.array([record.image is not None for record in records])
        return Block(number, [r._replace(image=None) for r in records], images, good)

    def _dispatch(self, block: Block) -> Any:
        """The maps of a chunk, on their way: nothing is waited for."""
        if not block.good.any():
            return None
        first, _ = self.layout.span(block.number)
        targets = self.targets.of(first, block.records)
        keys = None
        if self.key is not None:
            keys = fold(self.key, np.arange(first, first + len(block.records)))
        return self.explain.dispatch(self.params, block.images, targets, key=keys)

    def _write(self, block: Block, results: Any) -> int:
        count, missing = len(block.records), ~block.good
        results = jax.device_get(results)
        wrong = [""] * count if results is None else unsound(results)
        faults = [r.fault or why for r, why in zip(block.records, wrong, strict=True)]
        fine = np.array([not why for why in wrong])
        values: dict[str, Any] = {
            "source": [record.name for record in block.records],
            "fault": faults,
            STATUS: np.select([missing, fine], [SKIPPED, EXPLAINED], NOT_FINITE).astype(np.uint8),
        }
        found = _named(results, self.explain.output.plural)
        for column in self.layout.columns:
            if column.name in values:
                continue
            fill = np.nan if column.fill == "NaN" else column.fill
            if results is None:
                values[column.name] = np.full((count, *column.shape), fill, column.dtype)
                continue
            stored = _narrow(np.asarray(found[column.name]), column.dtype)
            if missing.any():
                stored = stored.copy() if not stored.flags.writeable else stored
                stored[missing] = fill
            values[column.name] = stored
        self.store.write(block.number, values)
        return count

    def told(self, resumed: int) -> Stored:
        """What the store holds when the last process is done."""
        status = self.store.status()
        complete = bool((status > 0).all())
        if complete:
            self.store.tidy()
        return Stored(
            path=self.store.path,
            explained=int((status == EXPLAINED).sum()),
            skipped=int((status == SKIPPED).sum()),
            resumed=resumed,
            complete=complete,
            faults=tuple(self.store.faults()) if (status > EXPLAINED).any() else (),
        )


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one being made while this one is used."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item


def held(params: Any) -> Any:
    """The parameters as JAX's arrays, which an explainer brings to its devices once for all calls.

    NumPy's may change between calls, so that each would bring them there again.
    """
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, params)


def shapes(explain: Explainer, params: Any, image: Any, targets: Any, key: Any) -> Any:
    """Maps, targets and logits of one example by their shapes alone.

    Args:
        image: a batch of one, by shape. targets: one, by shape; or a word.
    """
    keys = None if key is None else fold(key, np.zeros(1))
    word, numbers = (targets, None) if isinstance(targets, str) else (None, targets)
    leaves, tree = jax.tree.flatten(params)
    arrays = {i: leaf for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")}

    def record(arrays: Any, image: Any, numbers: Any, keys: Any) -> Any:
        params = jax.tree.unflatten(tree, [arrays.get(i, leaf) for i, leaf in enumerate(leaves)])
        return explain.record(params, image, numbers if word is None else word, key=keys)

    found = jax.eval_shape(record, arrays, image, numbers, keys)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), found)


@jax.jit
def _fold(key: Any, numbers: Any) -> Any:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)


def fold(key: Any, numbers: np.ndarray) -> Any:
    """`fold_in(key, n)` for each number: a key an example."""
    return _fold(key, numbers.astype(np.uint32))


def unsound(results: Any) -> list[str]:
    """What of each image's record is not finite; "" where all is."""
    maps = np.any([_not_finite(x) for x in jax.tree.leaves(results.maps)], 0)
    rows = zip(maps.tolist(), _not_finite(results.logits).tolist(), strict=True)
    return [UNSOUND.get(row, "") for row in rows]


def _not_finite(values: Any) -> np.ndarray:
    values = np.asarray(values)
    return ~np.isfinite(values).all(tuple(range(1, values.ndim)))


def _named(results: Any, plural: str) -> dict[str, Any]:
    if results is None:
        return {}
    maps = results.maps
    named = {f"maps/{k}": v for k, v in maps.items()} if isinstance(maps, dict) else {"maps": maps}
    return {**named, "targets": results.targets, plural: results.logits}


def _narrow(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values in the store's dtype.

    Raises:
        ValueError: finite ones that float16 cannot hold, or a map that would be nothing but zeros.
    """
    if dtype != "float16":
        return values.astype(dtype, copy=False)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    if (np.isinf(narrow) & np.isfinite(values)).any():
        raise ValueError(
            f"dtype: maps reach {np.nanmax(np.abs(values)):.3g}, float16 holds up to 65504; "
            'use dtype="float32"'
        )
    rest = tuple(range(1, values.ndim))
    if (values.any(rest) & ~narrow.any(rest)).any():
        raise ValueError(
            'dtype: a map lies below 3e-8 everywhere, which float16 holds as 0; use dtype="float32"'
        )
    return narrow
