"""From TFDS to arrays: whole sets read with Grain, split by patient or fold."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import grain.python as grain
import numpy as np

from jaxsal.data import brain_mri, images, listing
from jaxsal.data import figshare as figshare_source
from jaxsal.data.augment import augment
from jaxsal.data.batches import Batch, batches, draw, in_order, on_device
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.splits import split, take

__all__ = [
    "Batch",
    "Dataset",
    "Examples",
    "augment",
    "batches",
    "draw",
    "figshare",
    "in_order",
    "load",
    "on_device",
    "records",
    "split",
    "take",
]

Record = dict[str, Any]


def figshare(
    data_dir: Path | str,
    *,
    image_size: int,
    cache: Path | str | None = None,
    strict: bool = False,
) -> Dataset:
    """Reads Cheng's figshare set (doi 10.6084/m9.figshare.1512427).

    Args:
      data_dir: `images/<class>/N.png`, `masks/<class>/N.png` and `labels.csv`.
      image_size: the side of the images, in pixels.
      cache: where TFDS prepares the set; default $JAXSAL_CACHE, else ~/.cache/jaxsal.
      strict: raise where a file is broken, instead of leaving it out.

    Raises:
      ValueError: if the directory cannot be read or holds no such set.
    """
    root = listing.directory(data_dir)
    found = figshare_source.listing(root)
    builder = brain_mri.prepare(brain_mri.Figshare, found, root, cache)
    return load(builder, image_size=image_size, source=f"figshare set in {root}", strict=strict)


def load(builder: Any, *, image_size: int, source: str, strict: bool = False) -> Dataset:
    """Reads a prepared set whole, with Grain: decoded, resized, in the source's order.

    Raises:
      ValueError: with `strict`, if a file was broken; if fewer than two classes are left.
    """
    classes = tuple(builder.info.features["label"].names)
    about = builder.info.metadata
    if strict and about["skipped"]:
        raise ValueError(f"strict: {len(about['skipped'])} broken files: {about['skipped'][:5]}")
    examples = stack(records(builder, image_size=image_size), image_size)
    seen = np.unique(examples.labels)
    if len(seen) < 2:
        raise ValueError(f"{source}: only {[classes[i] for i in seen]} can be read; two needed")
    notes = (*about["notes"], *_resized(about["sizes"], image_size))
    return Dataset(examples, classes, source, tuple(about["skipped"]), notes)


def records(builder: Any, *, image_size: int) -> grain.MapDataset:
    """The prepared set as Grain's random-access dataset of decoded examples."""
    raw = builder.as_data_source(brain_mri.SPLIT, decoders=brain_mri.RAW)
    return grain.MapDataset.source(raw).map(partial(_decode, size=image_size))


def stack(rows: grain.MapDataset, size: int) -> Examples:
    """Reads every row, several at a time, into arrays."""
    count = len(rows)
    pictures = np.empty((count, size, size, 1), np.float32)
    outlines = np.empty((count, size, size), bool)
    labels, folds = np.empty(count, np.int32), np.empty(count, np.int32)
    patients, names = [], []
    options = grain.ReadOptions(num_threads=min(16, os.cpu_count() or 1), prefetch_buffer_size=64)
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
    if sizes == [[size, size]]:
        return []
    first, last = sizes[0], sizes[-1]
    span = f"{first[0]}x{first[1]}" + (f" to {last[0]}x{last[1]}" if first != last else "")
    return [f"images of {span} pixels resized to {size}x{size}, antialiased"]
