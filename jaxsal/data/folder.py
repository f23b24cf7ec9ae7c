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

HOMES = ("images", "image")

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def listing(root: Path) -> Listing:
    """Lists `<class>/**/*.png|jpg|jpeg`, with masks if there are any.

    Masks have the image's path, any of the three suffixes, perhaps with `_mask` after the name:

        <class>/a.png           and  <class>_masks/a.png  or  masks/<class>/a.png
        images/<class>/a.png    and  masks/<class>/a.png
        <class>/a.png           and  <class>/a_mask.png

    (`mask` and `image` as well as `masks` and `images`). Folds 1..5 are dealt by a hash of the
    name, patients kept whole. Slices are one patient's in a folder below the class's, which is the
    same patient's in every class if its name holds a digit; or if their names are equal up to a
    last number and what is equal holds a digit: `patient12_slice3` and `patient12_slice4`, but not
    `glioma_3` and `glioma_4`. Hidden files and folders are ignored, and a folder that holds the
    class folders once more.

    Raises:
        ValueError: if there are fewer than two classes, or sets in place of classes.
    """
    home = next((root / name for name in HOMES if (root / name).is_dir()), root)
    paths = [path.relative_to(home) for path in visible(home) if path.suffix.lower() in IMAGES]
    there = {path.with_suffix("") for path in paths}
    paths = [path for path in paths if not _is_mask_beside(path, there)]
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
    patients = [_patient(path) for path in paths]
    groups = [p or f"{path.parts[0]}/{path.stem}" for p, path in zip(patients, paths, strict=True)]
    masks = [_mask(root, home, path) for path in paths]
    items = [
        Item(path.as_posix(), fold, partial(read_pair, home / path, mask, path.parts[0], patient))
        for path, mask, patient, fold in zip(
            paths, masks, patients, deal(groups, labels), strict=True
        )
    ]
    files = [home / path for path in paths] + [mask for mask in masks if mask]
    return Listing(classes, tuple(items), tuple(files), _notes(patients, masks, again))


def _is_mask(folder: str) -> bool:
    return folder.lower().endswith(("_mask", "_masks")) or folder.lower() in ("mask", "masks")


def _is_mask_beside(path: Path, there: set[Path]) -> bool:
    """Whether a file is the mask of one that lies beside it."""
    name = path.stem
    return name.lower().endswith("_mask") and path.with_name(name[: -len("_mask")]) in there


def _copies(paths: list[Path]) -> set[str]:
    """Folders that hold class folders: Kaggle's yes/no set comes with itself inside."""
    direct = {path.parts[0] for path in paths if len(path.parts) == 2}
    return {path.parts[0] for path in paths if len(path.parts) > 2 and path.parts[1] in direct}


def _patient(path: Path) -> str:
    """Whose slice it is, as a folder or a name tells; "" where neither does."""
    if len(path.parts) > 2:
        folder = path.parts[1]
        return folder if any(c.isdigit() for c in folder) else f"{path.parts[0]}/{folder}"
    named = SLICE.fullmatch(path.stem)
    return named[1] if named else ""


def _mask(root: Path, home: Path, path: Path) -> Path | None:
    label, rest = path.parts[0], Path(*path.parts[1:])
    apart = [root / f"{label}_mask", root / "mask" / label]
    apart += [root / f"{label}_masks", root / "masks" / label]
    names = [(folder / rest, ending) for folder in apart for ending in ("", "_mask")]
    for name, ending in [*names, (home / path, "_mask")]:
        for suffix in (path.suffix, *IMAGES):
            candidate = name.with_name(f"{name.stem}{ending}{suffix}")
            if candidate.is_file():
                return candidate
    return None


def _notes(patients: list[str], masks: list[Path | None], again: set[str]) -> tuple[str, ...]:
    known = Counter(patient for patient in patients if patient)
    notes = []
    if known.total() < len(patients):
        notes.append("patients unknown: folds dealt by a hash of the name, one may be in several")
    if known:
        largest, size = known.most_common(1)[0]
        notes.append(f"{len(known)} patients by name or folder, the largest {largest!r}: {size}")
    missing = masks.count(None)
    if 0 < missing < len(masks):
        notes.append(f"{missing} images without a mask")
    notes += [f"{folder!r} ignored: it holds the class folders once more" for folder in again]
    return tuple(notes)
