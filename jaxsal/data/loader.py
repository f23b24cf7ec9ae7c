"""Prepared sets read whole into memory, with Grain."""

import os
from functools import partial
from typing import Any

import grain.python as grain
import numpy as np

from jaxsal.common.options import count
from jaxsal.data import images, tfds_builders
from jaxsal.data.examples import Dataset, Examples

Row = dict[str, Any]
THREADS = min(16, os.cpu_count() or 1)


def load(
    builder: tfds_builders.Slices,
    *,
    image_size: int,
    source: str,
    strict: bool = False,
    least: int = 2,
) -> Dataset:
    """Reads a prepared set whole: decoded, made square, resized, in the source's order.

    Args:
        builder: a prepared TFDS builder of `brain_mri`.
        image_size: the side of the images, in pixels.
        source: one line about where it comes from.
        strict: raise where a file was broken.
        least: how many classes there must be.

    Raises:
        TypeError: if `image_size` is no integer.
        ValueError: if `image_size` is below 1; with `strict`, if a file was broken; if fewer
            classes can be read.
    """
    image_size = count("image_size", image_size)
    classes = tuple(builder.info.features["label"].names)
    about = builder.info.metadata
    skipped = tuple(about["skipped"])
    if strict and skipped:
        raise ValueError(f"strict: {len(skipped)} broken files: {'; '.join(skipped[:5])}")
    channels = builder.info.features["image"].shape[-1]
    examples = _stack(records(builder, image_size=image_size), image_size, channels)
    seen = [classes[label] for label in np.unique(examples.labels)]
    if len(seen) < least:
        raise ValueError(f"{source}: only {seen} of {list(classes)} can be read; {least} needed")
    notes = (*about["notes"], *_resized(about["sizes"], image_size))
    where = str(builder.data_dir_root)
    return Dataset(examples, classes, source, skipped, notes, cached=where)


def records(builder: tfds_builders.Slices, *, image_size: int) -> grain.MapDataset:
    """A prepared set as Grain's random-access dataset, each record decoded when it is asked for.

    Returns:
        records with `image` [size, size, channels], `mask` [size, size], `label`, `fold`,
            `patient` and `name`.
    """
    raw = builder.as_data_source(tfds_builders.SPLIT, decoders=tfds_builders.RAW)
    return grain.MapDataset.source(raw).map(partial(_decode, size=image_size))


def _stack(rows: grain.MapDataset, size: int, channels: int) -> Examples:
    """Reads every row, several at a time, straight into the arrays."""
    total = len(rows)
    pictures = np.empty((total, size, size, channels), np.float32)
    outlines = np.empty((total, size, size), bool)
    labels, folds = np.empty(total, np.int32), np.empty(total, np.int32)
    patients, names = [], []
    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=4 * THREADS)
    for i, row in enumerate(rows.to_iter_dataset(options)):
        pictures[i], outlines[i] = row["image"], row["mask"]
        labels[i], folds[i] = row["label"], row["fold"]
        patients.append(row["patient"])
        names.append(row["name"])
    return Examples(pictures, labels, outlines, folds, np.array(patients), np.array(names))


def _decode(row: Row, size: int) -> Row:
    text = {key: row[key].decode() for key in ("patient", "name")}
    outline = images.decode_mask(row["mask"], size)
    picture = images.decode(row["image"], size)
    return row | text | {"image": picture, "mask": outline}


def _resized(sizes: list[list[int]], size: int) -> list[str]:
    if sizes == [[size, size]]:
        return []
    first, last = ("x".join(map(str, pair)) for pair in (sizes[0], sizes[-1]))
    span = first if first == last else f"{len(sizes)} sizes from {first} to {last}"
    return [f"images of {span} pixels resized to {size}x{size}, antialiased"]
