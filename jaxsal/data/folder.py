"""A directory with one folder a class, as Kaggle's sets come."""

import re
from collections import Counter
from functools import partial
from pathlib import Path

from jaxsal.data.listing import Item, Listing, read_pair, visible
from jaxsal.data.splits import deal

IMAGES = (".png", ".jpg", ".jpeg")
SLICE = re.compile(r"(.*\d.*?)[\s_.\-]+[a-z]*\d+", re.IGNORECASE)
"""`patient12_slice3`: what precedes the last separator holds a digit, what follows is a number."""

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def listing(root: Path) -> Listing:
    """Lists `<class>/**/*.png|jpg|jpeg`, with masks if there are any.

    Masks have the image's path, any of the three suffixes, perhaps with `_mask` after the name:

        <class>/a.png           and  <class>_masks/a.png  or  masks/<class>/a.png
        images/<class>/a.png    and  masks/<class>/a.png

    Folds 1..5 are dealt by a hash of the name, groups of slices kept whole. Slices are one group
    in a folder below the class's, or if their names are equal up to a last number and what is equal
    holds a digit: `patient12_slice3` and `patient12_slice4`, but not `glioma_3` and `glioma_4`.
    Hidden files and folders are ignored, and a folder that holds the class folders once more.

    Raises:
      ValueError: if there are fewer than two classes, or sets in place of classes.
    """
    home = root / "images" if (root / "images").is_dir() else root
    paths = [path.relative_to(home) for path in visible(home) if path.suffix.lower() in IMAGES]
    paths = [path for path in paths if len(path.parts) > 1 and not _is_mask(path.parts[0])]
    again = _copies(paths)
    paths = [path for path in paths if path.parts[0] not in again]
    labels = [path.parts[0] for path in paths]
    classes = tuple(sorted(set(labels)))
    if classes and {name.lower() for name in classes} <= SPLITS:
        raise ValueError(f"data_dir={str(root)!r} holds {list(classes)}, each a set: name one")
    if len(classes) < 2:
        raise ValueError(
            f"data_dir={str(root)!r}: images in the class folders {list(classes)}, expected two or"
            f" more folders <class>/*.{{png,jpg,jpeg}}"
        )
    groups = [_group(path) for path in paths]
    masks = [_mask(root, path) for path in paths]
    items = [
        Item(path.as_posix(), fold, partial(read_pair, home / path, mask, path.parts[0]))
        for path, mask, fold in zip(paths, masks, deal(groups, labels), strict=True)
    ]
    files = [home / path for path in paths] + [mask for mask in masks if mask]
    return Listing(classes, tuple(items), tuple(files), _notes(groups, masks, again))


def _is_mask(folder: str) -> bool:
    return folder.lower() == "masks" or folder.lower().endswith("_masks")


def _copies(paths: list[Path]) -> set[str]:
    """Folders that hold class folders: Kaggle's yes/no set comes with itself inside."""
    direct = {path.parts[0] for path in paths if len(path.parts) == 2}
    return {path.parts[0] for path in paths if len(path.parts) > 2 and path.parts[1] in direct}


def _group(path: Path) -> str:
    if len(path.parts) > 2:
        return "/".join(path.parts[:2])
    named = SLICE.fullmatch(path.stem)
    return named[1] if named else f"{path.parts[0]}/{path.stem}"


def _mask(root: Path, path: Path) -> Path | None:
    label, rest = path.parts[0], Path(*path.parts[1:])
    for folder in (root / f"{label}_masks", root / "masks" / label):
        for ending in ("", "_mask"):
            for suffix in (path.suffix, *IMAGES):
                candidate = folder / rest.with_name(f"{rest.stem}{ending}{suffix}")
                if candidate.is_file():
                    return candidate
    return None


def _notes(groups: list[str], masks: list[Path | None], again: set[str]) -> tuple[str, ...]:
    largest, size = Counter(groups).most_common(1)[0]
    notes = ["patients unknown: folds dealt by a hash of the name, a patient may be in several"]
    if size > 1:
        count = len(set(groups))
        notes.append(f"{count} groups of slices by name or folder, the largest {largest!r}: {size}")
    missing = masks.count(None)
    if 0 < missing < len(masks):
        notes.append(f"{missing} images without a mask")
    notes += [f"{folder!r} ignored: it holds the class folders once more" for folder in again]
    return tuple(notes)
