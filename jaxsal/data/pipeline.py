"""The front door of the data: sets read and split."""

from pathlib import Path

from jaxsal.data import figshare as figshare_files
from jaxsal.data import folder as folder_files
from jaxsal.data import tfds_builders
from jaxsal.data.examples import Dataset as Dataset
from jaxsal.data.examples import Examples as Examples
from jaxsal.data.listing import directory
from jaxsal.data.loader import load
from jaxsal.data.splits import split as split


def figshare(
    data_dir: Path | str | None = None,
    *,
    image_size: int,
    cache: Path | str | None = None,
    strict: bool = False,
) -> Dataset:
    """Reads Cheng's figshare set (doi 10.6084/m9.figshare.1512427).

    Args:
        data_dir: the original `.mat` files or zips, or `images/<class>/N.png`,
            `masks/<class>/N.png` and `labels.csv`; None downloads the originals (880 MB).
        image_size: the side of the images, in pixels.
        cache: where TFDS prepares the set; default $JAXSAL_CACHE, else ~/.cache/jaxsal.
        strict: raise where a file is broken, instead of leaving it out and naming it.

    Raises:
        ValueError: if the directory cannot be read or holds no such set.
    """
    if data_dir is None:
        builder, where = tfds_builders.download(cache), "downloaded"
    else:
        root, where = directory(data_dir), f"from {data_dir}"
        found = figshare_files.listing(root)
        builder = tfds_builders.prepare(tfds_builders.Figshare, found, root, cache)
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
    root = directory(data_dir)
    builder = tfds_builders.prepare(tfds_builders.Folder, folder_files.listing(root), root, cache)
    return load(builder, image_size=image_size, source=f"folders in {data_dir}", strict=strict)
