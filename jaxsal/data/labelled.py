"""The labelled images of a directory as its names and tables tell them, before one is opened."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import NamedTuple

from jaxsal.data import formats, table_masks
from jaxsal.data import layout as layouts
from jaxsal.data import masks as mask_files
from jaxsal.data import patients as people
from jaxsal.data import table as tables
from jaxsal.data.listing import directory, natural, stem, visible
from jaxsal.data.pictures import SUFFIXES, masks_elsewhere
from jaxsal.data.reading import Reading
from jaxsal.data.written import WRITTEN, written

TEST = "--test-images"
"""What names of the images of a test folder of its own begin with."""
IDLE = "a mask of a row that is left out"
NO_PART = "in no part of the split"


class Found(NamedTuple):
    """One image as it is understood, not read yet; "" or 0 where unknown.

    Attributes:
        how: its patient is known, in words.
    """

    path: Path
    name: str
    label: str
    patient: str
    part: str
    fold: int
    masks: tuple[Path, ...]
    how: str = ""


class Understood(NamedTuple):
    """A directory as it is understood: its labelled images, and every file that is left out.

    Attributes:
        guesses: notes on what was taken for no patient.
    """

    images: tuple[Found, ...]
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    guesses: tuple[str, ...] = ()


def labelled(
    root: Path,
    reading: Reading,
    *,
    least: int = 2,
    known: Sequence[str] = (),
    argument: str = "data_dir",
) -> tuple[tuple[str, ...], Understood]:
    """The names of the classes, and the labelled images of a directory and of its test folder.

    Args:
        known: names of the classes, where they are known: a folder of one is no wrapper.

    Raises:
        ValueError: fewer classes than `least`, a second test folder; as of `understood`.
    """
    found = understood(root, reading, known=known)
    if reading.test_images is not None:
        found = _with_test(
            found, understood(directory(reading.test_images, "test_images"), reading, TEST), root
        )
    found = _one_case(found)
    classes = tuple(sorted({image.label for image in found.images}, key=natural))
    if len(classes) < least:
        raise ValueError(f"{argument}={_too_few(root, classes, found, reading, least)}")
    return classes, found


def understood(
    root: Path, reading: Reading, prefix: str = "", *, known: Sequence[str] = ()
) -> Understood:
    """A directory as it is understood, without opening an image.

    Args:
        prefix: put before the names of images. known: as of `labelled`.

    Raises:
        ValueError: folders beside those of a split, a table or masks that cannot be used.
    """
    pictures, left_out = _pictures(root, reading)
    images, masks, alone = mask_files.apart(pictures)
    left_out += [(path.as_posix(), "a mask of no image") for path in alone]
    names = {name.casefold() for name in known}
    layout = layouts.layout(images, classes=reading.labels is None, known=names)
    left_out += [(path.as_posix(), "in a folder that is there twice") for path in layout.copies]
    images = tuple(path for path in images if path in layout.folders)
    named = table_masks.Named({})
    if reading.labels is None:
        table = tables.Table(_by_folder(layout), (), (), False)
    else:
        others = [PurePath(name) for name, _ in left_out]
        table = tables.read(reading.labels, images, reading.columns, root=root, others=others)
        named = table_masks.named(reading.labels, table.entries, root, pictures, reading.masks)
    beside = {image: tuple(root / mask for mask in own) for image, own in masks.items()}
    outlines = beside | _elsewhere(root, images, reading, named)
    if reading.labels is not None:
        used = {mask for own in outlines.values() for mask in own}
        absent = (path for path in images if root / path not in used)
        left_out = [(name, why) for name, why in left_out if root / name not in used]
        left_out += _not_listed(absent, table, reading.labels.name)
    found, lost = _labelled(images, table, layout.parts)
    whose = _whose(found, table, layout, reading)
    images_found = tuple(
        image._replace(
            path=root / image.path,
            name=f"{prefix}/{image.name}" if prefix else image.name,
            patient=patient,
            masks=outlines.get(image.path, ()),
            how=whose.how,
        )
        for image, patient in zip(found, whose.of, strict=True)
    )
    left_out += [*table.left_out, *named.left_out, *lost]
    idle = [p for p in reading.exclude if not any(fnmatch(name, p) for name, _ in left_out)]
    unmatched = [f"no file is excluded by {pattern!r}" for pattern in idle]
    told = tuple((f"{prefix}/{n}" if prefix else n, reason) for n, reason in left_out)
    notes = (*layout.notes, *table.notes, *named.notes, *unmatched)
    return Understood(images_found, told, notes, whose.notes)


def _pictures(root: Path, reading: Reading) -> tuple[list[PurePath], list[tuple[str, str]]]:
    """The files that are pictures, and the others with their reasons."""
    apart = [place.resolve() for place in (reading.masks, reading.test_images) if place]
    apart = [place for place in apart if not root.resolve().is_relative_to(place)]
    table = reading.labels.resolve() if reading.labels else None
    pictures: list[PurePath] = []
    left_out: list[tuple[str, str]] = []
    every = visible(root)
    results = written(root, every)
    for file in every:
        path = file.relative_to(root)
        name, suffix = path.as_posix(), path.suffix.lower()
        if file.resolve() == table or any(file.resolve().is_relative_to(p) for p in apart):
            continue
        if any(fnmatch(name, pattern) for pattern in reading.exclude):
            left_out.append((name, "excluded"))
        elif file in results:
            left_out.append((name, WRITTEN))
        elif formats.may_hold_images(file):
            pictures.append(path)
        else:
            why = formats.OTHERS.get(formats.ending(file), f"no image ({suffix or 'no suffix'})")
            left_out.append((name, why))
    return pictures, left_out


def _elsewhere(
    root: Path, images: Sequence[PurePath], reading: Reading, named: table_masks.Named
) -> dict[PurePath, tuple[Path, ...]]:
    """The masks in a folder of their own by their names, and those that a table names instead.

    Raises:
        ValueError: the folder holds none by either.
    """
    if reading.masks is None:
        return dict(named.masks)
    there = directory(reading.masks, "masks")
    needed = not any(mask.is_relative_to(there) for own in named.masks.values() for mask in own)
    return masks_elsewhere(images, reading.masks, root, needed=needed) | dict(named.masks)


def _by_folder(layout: layouts.Layout) -> dict[PurePath, tables.Entry]:
    """What folders say of images, in a table's words."""
    return {
        path: tables.Entry(layouts.class_folder(folders), "", "", ())
        for path, folders in layout.folders.items()
    }


def _not_listed(
    images: Iterable[PurePath], table: tables.Table, name: str
) -> list[tuple[str, str]]:
    """Images without a row, and masks of rows that are left out."""
    known = {row for row, _ in table.left_out}
    rest = [p for p in images if p not in table.entries and p.as_posix() not in known]
    named = tables.by_names(rest)
    idle = {path for cell in table.idle for path in tables.find(cell, named)}
    return [(p.as_posix(), IDLE if p in idle else f"not in {name}") for p in rest]


def _labelled(
    images: Sequence[PurePath], table: tables.Table, by_folder: Mapping[PurePath, str]
) -> tuple[list[Found], list[tuple[str, str]]]:
    """The images that have a label, with their part or fold: the table's word, else the folder's.

    Also the images that are left out, with the reason.
    """
    entries = {path: table.entries[path] for path in images if path in table.entries}
    folds = [int(entry.split) for entry in entries.values() if entry.split.isdecimal()]
    first = int(0 in folds)  # folds may be counted from 0
    found, left_out = [], []
    for path, entry in entries.items():
        name, word = path.as_posix(), entry.split
        part = layouts.part(word) if word else by_folder[path]
        fold = int(word) + first if word.isdecimal() else 0
        if not entry.label:
            left_out.append((name, "in no class folder"))
        elif word and not part and not word.isdecimal():
            left_out.append((name, f"{NO_PART}, but {word!r}"))
        else:
            found.append(Found(Path(path), name, entry.label, "", part, fold, ()))
    return found, left_out


def _whose(
    images: Sequence[Found], table: tables.Table, layout: layouts.Layout, reading: Reading
) -> people.Patients:
    """The patient of each image: as --group says, else the table, else folders and names."""
    if reading.group is not None:
        if reading.group.lower() == "none":
            return people.Patients([""] * len(images), "", ("no patients, by --group none",))
        return people.by_pattern([image.name for image in images], reading.group)
    if table.patients:
        groups = [table.entries[image.path].patient for image in images]
        return people.Patients(groups, people.BY_TABLE)
    before = [] if reading.labels is None else [""]  # where the class's folder would stand
    folders = [[*before, *layout.folders[image.path]] for image in images]
    return people.guessed([stem(i.path) for i in images], folders, [i.label for i in images])


def _with_test(found: Understood, test: Understood, root: Path) -> Understood:
    """Images to train on, and those of another folder to test on.

    Raises:
        ValueError: the first has a test folder of its own.
    """
    if any(image.part == "test" for image in found.images):
        raise ValueError(
            f"test_images: {str(root)!r} has a test folder of its own; expected the folder to "
            "train on, or no --test-images"
        )
    training = [image._replace(part=image.part or "train") for image in found.images]
    tested = [image._replace(part="test") for image in test.images]
    notes, guesses = (
        tuple(dict.fromkeys((*own, *(f"{TEST}: {note}" for note in others))))
        for own, others in ((found.notes, test.notes), (found.guesses, test.guesses))
    )
    rows = [{n for n, why in own.left_out if why == tables.NO_FILE} for own in (found, test)]
    left_out = tuple(
        (name, why)
        for name, why in (*found.left_out, *test.left_out)
        if why != tables.NO_FILE or (name in rows[0] and f"{TEST}/{name}" in rows[1])
    )
    return Understood((*training, *tested), left_out, notes, guesses)


def _one_case(found: Understood) -> Understood:
    """Classes whose names differ in case alone are one: `train/Glioma` and `test/glioma`."""
    names: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(image.label for image in found.images):
        names[label.casefold()].append(label)
    notes = [f"classes {same} taken as one" for same in names.values() if len(same) > 1]
    images = [i._replace(label=names[i.label.casefold()][0]) for i in found.images]
    return found._replace(images=tuple(images), notes=(*found.notes, *notes))


def _too_few(
    root: Path, classes: tuple[str, ...], found: Understood, reading: Reading, least: int
) -> str:
    reasons = Counter(reason for _, reason in found.left_out)
    left = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
    told = f"; left out: {left}" if left else ""
    if reading.labels is not None:
        gives = f"{reading.labels} gives the classes {list(classes)}, {least} needed"
        other = any(reason.startswith(NO_PART) for reason in reasons)
        hint = "; of a column that is no split say --columns split=none" if other else ""
        return f"{str(root)!r}: {gives}{told}{hint}"
    csvs = [name for name, _ in found.left_out if name.lower().endswith((".csv", ".tsv"))]
    hint = f"; {csvs[0]} lies there: --labels reads labels from a table" if csvs else ""
    more = "two or more folders" if least > 1 else "folders"
    have = f"images in the class folders {list(classes)}" if classes else "no class folders"
    return (
        f"{str(root)!r}: {have}, expected {more} "
        f"<class>/*.{{{','.join(s[1:] for s in (*SUFFIXES, '.dcm', '.nii.gz', '...'))}}}, or "
        f"--labels FILE.csv with a row an image{told}{hint}"
    )
