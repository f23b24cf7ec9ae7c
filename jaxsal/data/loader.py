"""Prepared sets read with Grain: whole into memory, or as a stream of batches."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import grain.python as grain
import numpy as np
from jaxtyping import Int

from jaxsal.data import images, tfds_builders
from jaxsal.data.batches import batches
from jaxsal.data.examples import Dataset, Examples

Record = dict[str, Any]
THREADS = min(16, os.cpu_count() or 1)

_order = lru_cache(maxsize=4)(batches)


def load(builder: Any, *, image_size: int, source: str, strict: bool = False) -> Dataset:
    """Reads a prepared set whole: decoded, made square, resized, in the source's order.

    Args:
      builder: a prepared TFDS builder of `brain_mri`.
      image_size: the side of the images, in pixels; 0 leaves the pixels out, for a set that is
        to be split, then streamed.
      source: one line about where it comes from.
      strict: raise where a file was broken.

    Raises:
      TypeError: if `image_size` is no integer.
      ValueError: if `image_size` is negative; with `strict`, if a file was broken; if fewer than
        two classes can be read.
    """
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        raise TypeError(f"image_size={image_size!r}, expected a number of pixels")
    if image_size < 0:
        raise ValueError(f"image_size={image_size}, expected at least 1 pixel")
    classes = tuple(builder.info.features["label"].names)
    about = builder.info.metadata
    skipped = tuple(about["skipped"])
    if strict and skipped:
        raise ValueError(f"strict: {len(skipped)} broken files: {'; '.join(skipped[:5])}")
    examples = _stack(records(builder, image_size=image_size), image_size)
    seen = [classes[label] for label in np.unique(examples.labels)]
    if len(seen) < 2:
        raise ValueError(f"{source}: only {seen} of {list(classes)} can be read; two needed")
    notes = (*about["notes"], *_resized(about["sizes"], image_size))
    return Dataset(examples, classes, source, skipped, notes)


def records(builder: Any, *, image_size: int) -> grain.MapDataset:
    """A prepared set as Grain's random-access dataset, each record decoded when it is asked for.

    Returns:
      records with `image` [size, size, 1], `mask` [size, size], `label`, `fold`, `patient`, `name`.
    """
    raw = builder.as_data_source(tfds_builders.SPLIT, decoders=tfds_builders.RAW)
    return grain.MapDataset.source(raw).map(partial(_decode, size=image_size))


def stream(
    rows: Sequence[Record] | grain.MapDataset,
    batch_size: int,
    *,
    seed: int,
    epochs: int,
    start: int = 0,
    chosen: Int[np.ndarray, " M"] | None = None,
    shard: grain.ShardOptions | None = None,
) -> grain.IterDataset:
    """Batches of a set too large for memory, in the very order of `batches`.

    Every process reads its own rows of each batch, in the order of the processes: together they
    read what one process alone would.

    Args:
      rows: `records(...)`, or anything with a length and items.
      batch_size: rows a step, over all processes.
      seed: of the order, as in `batches`.
      epochs: passes over the set.
      start: steps already done, counted over all epochs.
      chosen: the rows to use, such as those of the training folds; default all.
      shard: which part is this process's; default by JAX's process index and count.

    Returns:
      Grain's dataset of one record of arrays a step, `[batch_size / processes, ...]`.

    Raises:
      ValueError: if the processes do not divide the batch.
    """
    shard = grain.ShardByJaxProcess() if shard is None else shard
    local, rest = divmod(batch_size, shard.shard_count)
    if rest:
        raise ValueError(f"batch_size={batch_size} is no multiple of {shard.shard_count} processes")
    chosen = np.arange(len(rows)) if chosen is None else chosen
    find = _finder(chosen, batch_size, seed, local, shard.shard_index)
    steps = epochs * -(-len(chosen) // batch_size)
    numbers = grain.MapDataset.range(start * local, steps * local)
    found = numbers.map(lambda number: rows[find(int(number))])
    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=2 * local)
    return found.to_iter_dataset(options).batch(local)


def _finder(
    chosen: Int[np.ndarray, " M"], batch_size: int, seed: int, local: int, part: int
) -> Callable[[int], int]:
    """A function from the n-th row that this process reads to the set's row."""
    steps = -(-len(chosen) // batch_size)

    def find(number: int) -> int:
        done, row = divmod(number, local)
        epoch, step = divmod(done, steps)
        order = _order(len(chosen), batch_size, seed=seed, epoch=epoch)
        return int(chosen[order[step, part * local + row]])

    return find


def _stack(rows: grain.MapDataset, size: int) -> Examples:
    """Reads every row, several at a time, straight into the arrays."""
    count = len(rows)
    pictures = np.empty((count, size, size, 1), np.float32)
    outlines = np.empty((count, size, size), bool)
    labels, folds = np.empty(count, np.int32), np.empty(count, np.int32)
    patients, names = [], []
    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=4 * THREADS)
    for i, row in enumerate(rows.to_iter_dataset(options)):
        pictures[i], outlines[i] = row["image"], row["mask"]
        labels[i], folds[i] = row["label"], row["fold"]
        patients.append(row["patient"])
        names.append(row["name"])
    return Examples(pictures, labels, outlines, folds, np.array(patients), np.array(names))


def _decode(row: Record, size: int) -> Record:
    text = {key: row[key].decode() for key in ("patient", "name")}
    picture, outline = images.decode(row["image"], size), images.decode_mask(row["mask"], size)
    return row | text | {"image": picture, "mask": outline}


def _resized(sizes: list[list[int]], size: int) -> list[str]:
    if not size or sizes == [[size, size]]:
        return []
    first, last = ("x".join(map(str, pair)) for pair in (sizes[0], sizes[-1]))
    span = first if first == last else f"{len(sizes)} sizes from {first} to {last}"
    return [f"images of {span} pixels resized to {size}x{size}, antialiased"]
