"""What the folders around images say: wrappers, copies, the split, the class and what is in it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from pathlib import PurePath
from typing import NamedTuple

from jaxsal.data.masks import HOMES

PARTS = {
    "train": "train(?:ing)?",
    "validation": "val(?:id(?:ation)?)?|dev",
    "test": "test(?:ing)?|hold[ _-]?out",
}
"""The parts of a split, and what their folders and values are called, in any case."""
SET = r"(?:[\s_.\-]*(?:set|data|dataset|images?|imgs?))?"


class Layout(NamedTuple):
    """What the folders of images say.

    Attributes:
        parts: of each image "train", "validation", "test", or "" where no folder says so.
        folders: of each image what is left of its folders: its class, then what is in the class.
        copies: images in a folder that holds the folders beside it once more.
        notes: in words, what was opened and left out.
    """

    parts: dict[PurePath, str]
    folders: dict[PurePath, list[str]]
    copies: tuple[PurePath, ...]
    notes: tuple[str, ...]


def part(name: str) -> str:
    """The part of a split that a folder or a value names: "train", ...; "" for another word."""
    named = (p for p, word in PARTS.items() if re.fullmatch(f"(?:{word}){SET}", name, re.I))
    return next(named, "")


def class_folder(folders: Sequence[str], known: Set[str] | None = None) -> str:
    """The folder, of what is left of an image's, that its class is named after; "" without one.

    It is the outermost: those in a class are patients', whatever they are called.

    Args:
        known: the classes' names in small letters, where they are known: other folders are none.
    """
    named = (name for name in folders if known is None or name.casefold() in known)
    return next(named, "")


def layout(
    images: Sequence[PurePath],
    *,
    classes: bool = True,
    known: Set[str] = frozenset(),
) -> Layout:
    """Reads the folders of images, masks left out: wrapping folders, copies, then the split.

    Args:
        classes: whether folders are classes; else other folders may stand beside those of a split.
        known: the classes' names in small letters, where they are known.

    Raises:
        ValueError: they do.
    """
    folders = {path: list(path.parts[:-1]) for path in images}
    parts = dict.fromkeys(images, "")
    copies: list[PurePath] = []
    notes: list[str] = []
    while True:
        again = _copies(folders)
        copies += [path for path, names in folders.items() if names and names[0] in again]
        folders = {p: names for p, names in folders.items() if not names or names[0] not in again}
        notes += [f"{name!r} ignored: it holds the class folders once more" for name in again]
        if wrapper := _wrapper(folders.values(), known):
            notes += [] if wrapper.lower() in HOMES else [f"opened the folder {wrapper!r}"]
            _drop(folders, 0)
        elif (
            not any(parts.values())
            and (level := _split_level(folders.values(), classes)) is not None
        ):
            parts |= {p: part(names[level]) for p, names in folders.items() if len(names) > level}
            _drop(folders, level)
        else:
            break
    for names in folders.values():
        names[1:2] = [name for name in names[1:2] if name.lower() not in HOMES]
    return Layout(parts, folders, tuple(copies), tuple(notes))


def _drop(folders: dict[PurePath, list[str]], level: int) -> None:
    for names in folders.values():
        del names[level : level + 1]


def _children(folders: Iterable[list[str]]) -> dict[str, set[str]]:
    """The folders at the top, and those in each."""
    found: dict[str, set[str]] = defaultdict(set)
    for names in folders:
        if names:
            found[names[0]].update(names[1:2])
    return found


def _copies(folders: dict[PurePath, list[str]]) -> list[str]:
    """Folders whose folders, and a file of them, lie beside them: sets zipped with themselves.

    Patients in a class may be called as the classes beside it are; their files lie there alone.
    """
    tops = _children(folders.values())
    alike = [name for name, inner in tops.items() if inner and inner <= tops.keys() - {name}]
    there = {(*names, path.name) for path, names in folders.items()} if alike else set()
    again = {n[0] for p, n in folders.items() if n and (*n[1:], p.name) in there}
    return [name for name in alike if name in again]


def _wrapper(folders: Iterable[list[str]], known: Set[str]) -> str:
    """The one folder that all others lie in; "" where there is none.

    One called as a class is the class's, unless there are several in it, classes' or a split's.
    """
    tops = _children(folders)
    name, inner = next(iter(tops.items())) if len(tops) == 1 else ("", set())
    if name.casefold() in known:
        several = len(inner) > 1 and all(each.casefold() in known or part(each) for each in inner)
        return name if several else ""
    return name if inner else ""


def _split_level(folders: Iterable[list[str]], classes: bool) -> int | None:
    """At which level the folders are a split's: the first, or the second, inside each class."""
    deep = [names for names in folders if names]
    first = {name: part(name) for name in sorted({names[0] for names in deep})}
    if {"train"} < set(first.values()) - {""}:
        odd = [name for name, known in first.items() if not known]
        if odd and classes:
            split = [name for name, known in first.items() if known]
            raise ValueError(
                f"images: {odd} beside {split}, which are a split; expected classes inside each "
                f"alone; leave others out with --exclude '{odd[0]}/*'"
            )
        return 0
    second = {part(names[1]) for names in deep if len(names) > 1}
    whole = deep and all(len(names) > 1 for names in deep)
    return 1 if whole and "" not in second and {"train"} < second else None
