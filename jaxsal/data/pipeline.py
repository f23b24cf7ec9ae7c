"""The front door of the data: sets read and split."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jaxsal.data import figshare as figshare_files
from jaxsal.data import folder as folder_files
from jaxsal.data import table, tfds_builders
from jaxsal.data.dealing import with_split
from jaxsal.data.examples import Dataset as Dataset
from jaxsal.data.examples import Examples as Examples
from jaxsal.data.listing import directory
from jaxsal.data.loader import load
from jaxsal.data.reading import Reading
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
    reading: Reading = Reading(),  # noqa: B008
    least: int = 2,
    known: Sequence[str] = (),
    channels: int | None = 1,
    argument: str = "data_dir",
) -> Dataset:
    """Reads any directory of labelled images, as `folder.listing` understands it.

    Where neither folders nor a table split them, patients (of unknown ones, images) are dealt to
    folds 1..5, those with identical images together. Patients are `patients.numbered`: their own
    names reach no output.

    Args:
        reading: what is not to be guessed from names.
        least: how many classes there must be. known: their names, as of `labelled.labelled`.
        channels: 1 for grey, 3 for colour, None: what the images are.
        argument: what the directory is called in an error.

    Other arguments and errors as for `figshare`.
    """
    root = directory(data_dir, argument)
    listing = folder_files.listing(
        root, reading, least=least, known=known, channels=channels, argument=argument
    )
    table.check(listing.left_out, strict=strict)
    builder = tfds_builders.prepare(tfds_builders.Folder, listing, root, cache, least=least)
    source = f"folders in {data_dir}"
    dataset = load(builder, image_size=image_size, source=source, strict=strict, least=least)
    guessed = reading.group is None and reading.labels is None
    read = replace(dataset, left_out=listing.left_out, guessed=guessed)
    return with_split(read, {tfds_builders.text(item.name): item.part for item in listing.items})
