"""The front door of the data: sets read, split, drawn and augmented."""

from pathlib import Path

from jaxsal.data import figshare as figshare_files
from jaxsal.data import folder as folder_files
from jaxsal.data import tfds_builders
from jaxsal.data.augment import augment, augment_with_mask
from jaxsal.data.batches import Batch, batches, draw, in_order, on_device
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.listing import directory
from jaxsal.data.loader import load, records, stream
from jaxsal.data.splits import sides, split, take

__all__ = [
    "Batch",
    "Dataset",
    "Examples",
    "augment",
    "augment_with_mask",
    "batches",
    "draw",
    "figshare",
    "folder",
    "in_order",
    "load",
    "on_device",
    "prepare_figshare",
    "prepare_folder",
    "records",
    "sides",
    "split",
    "stream",
    "take",
]


def figshare(
    data_dir: Path | str | None = None,
    *,
    image_size: int,
    cache: Path | str | None = None,
    strict: bool = False,
) -> Dataset:
    """Reads Cheng's figshare set (doi 10.6084/m9.figshare.1512427).

    Args:
      data_dir: the original `.mat` files or zips, or `images/<class>/N.png`, `masks/<class>/N.png`
        and `labels.csv`; None downloads the originals (880 MB).
      image_size: the side of the images, in pixels; 0 leaves the pixels out.
      cache: where TFDS prepares the set; default $JAXSAL_CACHE, else ~/.cache/jaxsal.
      strict: raise where a file is broken, instead of leaving it out and naming it.

    Raises:
      ValueError: if the directory cannot be read or holds no such set.
    """
    builder = prepare_figshare(data_dir, cache=cache)
    where = "downloaded" if data_dir is None else f"from {data_dir}"
    return load(builder, image_size=image_size, source=f"figshare set, {where}", strict=strict)


def folder(
    data_dir: Path | str,
    *,
    image_size: int,
    cache: Path | str | None = None,
    strict: bool = False,
) -> Dataset:
    """Reads any directory with one folder of images a class; masks as in `folder.listing`.

    Arguments and errors as for `figshare`.
    """
    builder = prepare_folder(data_dir, cache=cache)
    return load(builder, image_size=image_size, source=f"folders in {data_dir}", strict=strict)


def prepare_figshare(
    data_dir: Path | str | None = None, *, cache: Path | str | None = None
) -> tfds_builders.Slices:
    """Prepares what `figshare` reads; for `records` and `stream`."""
    if data_dir is None:
        return tfds_builders.download(cache)
    root = directory(data_dir)
    return tfds_builders.prepare(tfds_builders.Figshare, figshare_files.listing(root), root, cache)


def prepare_folder(
    data_dir: Path | str, *, cache: Path | str | None = None
) -> tfds_builders.Slices:
    """Prepares what `folder` reads; for `records` and `stream`."""
    root = directory(data_dir)
    return tfds_builders.prepare(tfds_builders.Folder, folder_files.listing(root), root, cache)
