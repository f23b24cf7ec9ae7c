"""A source streamed through an explainer into a sink: read, explain and write at the same time."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.compiler.program import Explanation
from jaxsal.engine import Explainer
from jaxsal.store.calls import Calls, chunks_a_call
from jaxsal.store.layout import UNSOUND, Layout
from jaxsal.store.source import Example, Source, stacked
from jaxsal.store.targets import ExampleTargets
from jaxsal.types import ArrayValues, Key, Params, Targets, Tree

READERS = 8
"""Threads that read and decode."""

IN_FLIGHT = 2
"""Calls that are computed or written while the next is read: the device never waits for them."""

Item = TypeVar("Item")


class Progress(NamedTuple):
    """How far a sink is: examples finished, by any process, of how many; None where unknown."""

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
        not_finite: the faults of images whose values are not finite, neither explained nor skipped.
        undrawn: `(source, reason)` of what is explained, but of which no picture could be drawn.
    """

    path: Path
    explained: int
    skipped: int
    resumed: int
    complete: bool
    faults: tuple[tuple[str, str], ...]
    not_finite: tuple[tuple[str, str], ...]
    undrawn: tuple[tuple[str, str], ...] = ()


class Chunk(NamedTuple):
    """A chunk that was read.

    Attributes:
        number: of the chunk. first: the number of its first example.
        examples: its examples, without their images.
        images: [B, ...], black where an example has none. good: bool [B].
    """

    number: int
    first: int
    examples: list[Example]
    images: np.ndarray
    good: np.ndarray


@runtime_checkable
class Sink(Protocol):
    """Where explained chunks are written: a Zarr store, or a folder of pictures.

    Attributes:
        layout: how examples are divided into chunks.
        threads: how many chunks it writes at a time.
        total: examples that it is to have from this process and those before; None where unknown.
    """

    layout: Layout
    threads: int
    total: int | None

    def finished(self) -> set[int]:
        """The numbers of the chunks that it has already."""
        ...

    def status(self) -> np.ndarray:
        """The status of each example, as far as their number is known, uint8 [N]."""
        ...

    def write(self, chunk: Chunk, results: Explanation | None) -> None:
        """Writes a chunk; its results are None where none of its images can be used."""
        ...


class Stream:
    """The examples of a source on their way through an explainer.

    Attributes:
        image: a batch of one image, by shape.
        layers: the values that class activation maps are made of, see `Explainer.layers`.
        example: maps, target and logits of one example, by shape.
    """

    def __init__(
        self,
        explain: Explainer,
        params: Params,
        source: object,
        *,
        targets: Targets,
        key: Any,
        strict: bool,
        transform: Callable[[Any], Any] | None = None,
        count: int | None = None,
    ) -> None:
        self.explain, self.key, self.strict = explain, key, strict
        self.source = Source(source, transform=transform, count=count)
        self.spec = self.source.peek()
        self.targets = ExampleTargets(targets, self.source.count)
        self.targets.check_labelled(self.spec.labelled)
        self.image = jax.ShapeDtypeStruct((1, *self.spec.shape), self.spec.dtype)
        # Before anything else looks at the key and the parameters: its errors name them.
        self.layers = explain.layers(params, self.image, self.targets.abstract, key=key)
        self.params = to_jax(params)
        self.example = shapes(explain, params, self.image, self.targets.abstract, key)
        self.targets.set_classes(explain.output.classes(self.example.logits.shape[-1]))

    def check_classes(self, names: Sequence[str]) -> None:
        """Raises unless there is a name for each class, or none at all.

        Raises:
            ValueError: another number of them.
        """
        count = self.targets.classes
        if names and len(names) != count:
            raise ValueError(
                f"classes: expected {count} names, as many as the model's classes; got "
                f"{', '.join(names)}"
            )

    def run(
        self, sink: Sink, process: tuple[int, int], on_progress: Callable[[Progress], None]
    ) -> int:
        """Explains what this process, `(index, of how many)`, has to and the sink has not.

        Returns how many examples the sink had already.
        """
        status, done = sink.status(), sink.finished()
        resumed = finished = int((status > 0).sum())
        on_progress(Progress(finished, sink.total))
        calls = Calls(sink.layout, self._chunks_a_call(sink.layout.chunk), *process)
        writing: deque[list[Future[int]]] = deque()

        def write(chunk: Chunk, results: Future[Explanation | None], rows: slice) -> int:
            found = results.result() if chunk.good.any() else None
            sink.write(chunk, jax.tree.map(lambda x: x[rows], found))
            return len(chunk.examples)

        def settle(call: list[Future[int]]) -> None:
            nonlocal finished
            for chunk in call:
                finished += chunk.result()
                on_progress(Progress(finished, sink.total))

        with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(sink.threads) as writers:
            try:
                for read in prefetch(self._calls(calls, done, len(status), readers)):
                    blanks = [n for n in calls.chunks(calls.of(read[0].number)) if n in done]
                    whole = self._with_blanks(read, blanks, sink.layout, len(status))
                    # Once from the device, and queued before the chunks, which wait for it.
                    results = writers.submit(jax.device_get, self._dispatch(whole))
                    rows = spans(whole)
                    writing.append(
                        [writers.submit(write, each, results, rows[each.number]) for each in read]
                    )
                    while len(writing) > IN_FLIGHT:
                        settle(writing.popleft())
                while writing:
                    settle(writing.popleft())
            except BaseException:
                writers.shutdown(cancel_futures=True)  # what is not begun is left
                raise
        return resumed

    def _chunks_a_call(self, chunk: int) -> int:
        maps = jax.tree.leaves(self.example.maps)
        size = sum(math.prod(x.shape) * x.dtype.itemsize for x in maps)
        placement = self.explain.placement(self.params)
        return chunks_a_call(chunk, size, placement.local, placement.platform)

    def _calls(
        self, calls: Calls, done: set[int], size: int, readers: Executor
    ) -> Iterator[list[Chunk]]:
        """The chunks that are not finished, those of a call at a time."""
        chunks = self._chunks(calls, done, size, readers)
        for _, read in itertools.groupby(chunks, lambda chunk: calls.of(chunk.number)):
            yield list(read)

    def _chunks(
        self, calls: Calls, done: set[int], size: int, readers: Executor
    ) -> Iterator[Chunk]:
        layout = calls.layout
        numbers: Iterable[int] = range(calls.index, layout.chunks or 2**53, calls.processes)
        mine = (n for n in numbers if n not in done)
        wanted = ((n, *layout.span(n)) for n in mine)
        for number, examples in self.source.chunks(wanted, self.spec, readers):
            first, last = layout.span(number)
            if layout.count is not None and len(examples) < last - first:
                raise ValueError(
                    f"source: ended after {self.source.passed()} records, expected {layout.count}"
                )
            # Of an unknown number, a chunk that is not full was the last: nothing may follow it.
            if layout.count is None and size % layout.chunk and self.source.passed() > size:
                raise ValueError(
                    f"source: has more than the {size} records that the store was finished with"
                )
            if examples:
                yield self._chunk(number, first, examples)
            if len(examples) < last - first:
                break

    def _chunk(self, number: int, first: int, examples: list[Example]) -> Chunk:
        examples = self.targets.usable(examples, strict=self.strict)
        images = stacked(examples, self.spec)
        good = np.array([example.image is not None for example in examples])
        return Chunk(number, first, [e._replace(image=None) for e in examples], images, good)

    def _with_blanks(
        self, read: list[Chunk], numbers: Iterable[int], layout: Layout, size: int
    ) -> list[Chunk]:
        """The chunks of a call in order, black ones in the place of those that are finished.

        So a chunk's maps are the same to the last bit, whatever an earlier run had finished.

        Args:
            numbers: of the finished ones. size: how many examples an earlier run had seen.
        """
        blanks = []
        for number in numbers:
            first, last = layout.span(number)
            examples = [Example("", None)] * (min(last, size) - first)
            blanks.append(self._chunk(number, first, examples))
        return sorted([*read, *blanks], key=lambda chunk: chunk.number)

    def _dispatch(self, chunks: list[Chunk]) -> Explanation | None:
        """The maps of the chunks of a call, on their way: nothing is waited for."""
        if not any(chunk.good.any() for chunk in chunks):
            return None
        targets = [self.targets.of(chunk.first, chunk.examples) for chunk in chunks]
        numbers = [chunk.first + np.arange(len(chunk.examples)) for chunk in chunks]
        keys = None if self.key is None else fold(self.key, joined(numbers))
        return self.explain.dispatch(
            self.params, joined([chunk.images for chunk in chunks]), joined(targets), key=keys
        )


def joined(parts: Sequence[Any]) -> Any:
    """Arrays one after the other; what is no array is the same for all, and stays."""
    one = len(parts) == 1 or not isinstance(parts[0], np.ndarray)
    return parts[0] if one else np.concatenate(parts)


def spans(chunks: Sequence[Chunk]) -> dict[int, slice]:
    """Where the examples of each chunk, by its number, lie among those of all."""
    ends = itertools.accumulate((len(chunk.examples) for chunk in chunks), initial=0)
    numbers = [chunk.number for chunk in chunks]
    return dict(zip(numbers, itertools.starmap(slice, itertools.pairwise(ends)), strict=True))


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one being made while this one is used."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item


def to_jax(params: Params) -> Params:
    """The parameters as JAX's arrays, which an explainer brings to its devices once for all calls.

    NumPy's may change between calls, so that each would bring them there again.
    """
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, params)


def shapes(
    explain: Explainer,
    params: Params,
    image: jax.ShapeDtypeStruct,
    targets: jax.ShapeDtypeStruct | str | None,
    key: Key | None,
) -> Explanation:
    """Maps, targets and logits of one example by their shapes alone.

    Args:
        image: a batch of one, by shape. targets: one, by shape; or a word.
    """
    keys = None if key is None else fold(key, np.zeros(1))
    word, numbers = (targets, None) if isinstance(targets, str) else (None, targets)
    leaves, tree = jax.tree.flatten(params)
    arrays = {i: leaf for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")}

    def record(arrays: dict[int, Tree], image: Tree, numbers: Tree, keys: Tree) -> Explanation:
        params = jax.tree.unflatten(tree, [arrays.get(i, leaf) for i, leaf in enumerate(leaves)])
        return explain.record(params, image, numbers if word is None else word, key=keys)

    found: Explanation = jax.eval_shape(record, arrays, image, numbers, keys)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), found)


@jax.jit
def _fold(key: Key, numbers: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)


def fold(key: Key, numbers: np.ndarray) -> jax.Array:
    """`fold_in(key, n)` for each number: a key an example."""
    return _fold(key, numbers.astype(np.uint32))


def unsound(results: Explanation) -> list[str]:
    """What of each image is not finite; "" where all is."""
    maps = np.any([_not_finite(x) for x in jax.tree.leaves(results.maps)], 0)
    rows = zip(maps.tolist(), _not_finite(results.logits).tolist(), strict=True)
    return [UNSOUND.get(row, "") for row in rows]


def _not_finite(values: ArrayValues) -> np.ndarray:
    values = np.asarray(values)
    return ~np.isfinite(values).all(tuple(range(1, values.ndim)))
