"""Cheng's figshare set as a directory: its original files, or PNG folders with a table."""

import csv
from functools import partial
from pathlib import Path

from jaxsal.common.words import counted
from jaxsal.data import figshare_matlab
from jaxsal.data.listing import Item, Listing, read_pair

TABLE = "labels.csv"


def listing(root: Path) -> Listing:
    """Lists whichever of the two forms a directory holds.

    Raises:
        ValueError: if it holds neither.
    """
    if (root / TABLE).is_file():
        return of_table(root)
    try:
        return figshare_matlab.listing(root)
    except figshare_matlab.NoSlices as error:
        raise ValueError(
            f"data_dir={str(root)!r} holds neither {TABLE} with images/<class>/*.png nor the"
            f" original N.mat files or zips"
        ) from error


def of_table(root: Path) -> Listing:
    """Lists `images/<class>/N.png`, `masks/<class>/N.png` and the folds of `labels.csv`.

    Raises:
        ValueError: if the table lacks a column, or holds something that is no fold.
    """
    rows = _rows(root / TABLE)
    items, files, notes = [], [root / TABLE], []
    for line, (file, label, fold) in enumerate(rows, 2):
        image, outline = root / "images" / label / file, root / "masks" / label / file
        masks = [outline] if outline.exists() else []
        items.append(
            Item(f"{label}/{file}", _fold(fold, line), partial(read_pair, image, masks, label))
        )
        files += [image, *masks]
    bare = 1 + 2 * len(items) - len(files)
    if bare:
        notes.append(counted(bare, "images without a mask"))
    classes = tuple(sorted({label for _, label, _ in rows}))
    return Listing(classes, tuple(items), tuple(files), tuple(notes))


def _rows(table: Path) -> list[tuple[str, str, str]]:
    try:
        reader = csv.DictReader(table.read_text("utf-8-sig").splitlines())
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} cannot be read: {error}") from error
    missing = {"file", "class", "author_fold"} - set(reader.fieldnames or ())
    if missing:
        raise ValueError(f"{table} lacks the columns {sorted(missing)}: {reader.fieldnames}")
    return [(row["file"], row["class"] or "", row["author_fold"] or "") for row in rows]


def _fold(text: str, line: int) -> int:
    if not text.isdecimal():
        raise ValueError(f"{TABLE}, line {line}: author_fold={text!r}, expected 1, 2, ...")
    return int(text)
