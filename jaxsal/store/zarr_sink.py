"""Explained chunks as entries of a Zarr store."""

from collections.abc import Sequence

import numpy as np

from jaxsal.common.words import counted
from jaxsal.compiler.outputs import Output
from jaxsal.compiler.program import Explanation
from jaxsal.store.answers import answers
from jaxsal.store.layout import (
    EXPLAINED,
    IMAGES,
    LABELS,
    NOT_FINITE,
    PREDICTED,
    PROBABILITIES,
    SKIPPED,
    STATUS,
)
from jaxsal.store.stream import IN_FLIGHT, Chunk, Stored, unsound
from jaxsal.store.zarr import Store
from jaxsal.types import Tree

FEW = 3
"""Skipped images that an error names."""


class ZarrSink:
    """A store as a stream writes into it, see `jaxsal.store.stream.Sink`."""

    def __init__(self, store: Store, output: Output) -> None:
        """Takes the store, and what the model's outputs are."""
        self.store, self.layout, self.output = store, store.layout, output
        self.threads, self.total = IN_FLIGHT, store.layout.count

    def finished(self) -> set[int]:
        return self.store.finished()

    def status(self) -> np.ndarray:
        return self.store.status()

    def check_none_skipped(self) -> None:
        """Raises where a finished chunk has a skipped image.

        Raises:
            ValueError: it names the first ones.
        """
        skipped = self.status() == SKIPPED
        if not skipped.any():
            return
        faults = [fault for n, fault in self.store.faults().items() if skipped[n]]
        first = "; ".join(f"{name}: {why}" for name, why in faults[:FEW])
        raise ValueError(
            f"strict: {self.store.path} has {counted(len(faults), 'skipped images')} of an earlier "
            f"run, {first}; mend or leave out the images and name another folder or remove this "
            "one, or go on without strict"
        )

    def write(self, chunk: Chunk, results: Explanation | None) -> None:
        count, missing = len(chunk.examples), ~chunk.good
        wrong = [""] * count if results is None else unsound(results)
        fine = np.array([not why for why in wrong])
        values: dict[str, np.ndarray | Sequence[str]] = {
            "source": [example.name for example in chunk.examples],
            "fault": [e.fault or why for e, why in zip(chunk.examples, wrong, strict=True)],
            STATUS: np.select([missing, fine], [SKIPPED, EXPLAINED], NOT_FINITE).astype(np.uint8),
            LABELS: np.array(
                [-1 if e.label is None else e.label for e in chunk.examples], np.int32
            ),
        }
        found = {} if results is None else {**self._named(results), IMAGES: chunk.images}
        for column in self.layout.columns:
            if column.name in values:
                continue
            fill = np.nan if column.fill == "NaN" else column.fill
            if results is None:
                values[column.name] = np.full((count, *column.shape), fill, column.dtype)
                continue
            stored = np.asarray(found[column.name])
            if missing.any():  # before it is narrowed: the map of a black image is nobody's
                stored = stored.copy()
                stored[missing] = fill
            values[column.name] = _narrow(stored, column.dtype)
        self.store.write(chunk.number, values)

    def _named(self, results: Explanation) -> dict[str, Tree]:
        maps = results.maps
        by_name = {f"maps/{k}": v for k, v in maps.items()} if isinstance(maps, dict) else {}
        named = by_name or {"maps": maps}
        said = answers(self.output, results.logits)
        own = {PREDICTED: said.predicted, PROBABILITIES: said.probabilities}
        return {**named, **own, "targets": results.targets, self.output.plural: results.logits}

    def stored(self, resumed: int) -> Stored:
        """What the store holds when the last process is done."""
        status = self.store.status()
        complete = bool((status > 0).all())
        if complete:
            self.store.remove_locks()
        faults = self.store.faults() if (status > EXPLAINED).any() else {}
        return Stored(
            path=self.store.path,
            explained=int((status == EXPLAINED).sum()),
            skipped=int((status == SKIPPED).sum()),
            resumed=resumed,
            complete=complete,
            faults=tuple(faults.values()),
            not_finite=tuple(f for n, f in faults.items() if status[n] == NOT_FINITE),
        )


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
