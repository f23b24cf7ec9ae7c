"""Which image files are masks, and of which images: by their names, or in a folder beside them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import NamedTuple

from jaxsal.data.listing import stem

WORD = "(?:mask|seg|segm|segmentation|label|annotation|annot|gt|ground[ _-]?truth)s?"
BESIDE = re.compile(rf"(.+?)[\s_.\-]+{WORD}(?:[\s_.\-]*\d+)?", re.IGNORECASE)
"""`x_mask`, `x_mask_1`, `x_seg`, `x_label`: the first group is the image's name."""
BEFORE = re.compile(rf"{WORD}[\s_.\-]+(.+)", re.IGNORECASE)
"""`mask_x`, in a folder of masks."""
FOLDER = re.compile(rf"(?:(.+?)[\s_.\-]+)?{WORD}(?:Tr|Ts)?", re.IGNORECASE)
"""`masks`, `annotations`, `labelsTr`, `<class>_masks`: the first group is the class's folder."""
HOMES = (
    *("images", "image", "imgs", "img", "originals", "original", "inputs", "scans", "slices"),
    *("volumes", "imagestr", "imagests"),
)
"""What the folder of the images themselves is called."""
VOLUMES = (".nii", ".nii.gz", ".mgh", ".mgz", ".mnc", ".mha", ".mhd", ".nrrd")
"""Of a volume: the scans of one case may share a mask, named as the case."""

WORDED = re.compile(r"[^\W\d_]+[\s_.\-]+(.+)")
"""`bus_0001`: the first group is what the word is before."""
OWN_WORD = "* "
"""Stands for the word that the images of a folder begin with."""

Folders = tuple[str, ...]


class Apart(NamedTuple):
    """Image files, told apart.

    Attributes:
        images: those that are no masks, in the order given.
        masks: of each image that has some, its masks, in the order given.
        alone: masks of no image.
    """

    images: tuple[PurePath, ...]
    masks: dict[PurePath, tuple[PurePath, ...]]
    alone: tuple[PurePath, ...]


def apart(paths: Sequence[PurePath]) -> Apart:
    """Tells masks from images by their paths alone.

    A file is a mask if its name is that of an image beside it (of a volume, or that which several
    begin with: `x_seg.nii` beside `x_t1.nii`) and a word for a mask, or if it lies in a folder of
    masks: one with a name for it that stands beside a folder called `images`, or
    mirrors another, at least half of its files being named as images there. A class called
    `with_mask` mirrors nothing.

    Args:
        paths: relative to the directory that is read.
    """
    there = _by_place(paths)
    owners = {path: beside for path in paths if (beside := _beside(path, there))}
    images = [path for path in paths if path not in owners]
    owners |= _mirrored(images, _by_place(images))
    masks = defaultdict(list)
    for path in paths:
        for owner in owners.get(path, ()):
            masks[owner].append(path)
    return Apart(
        tuple(path for path in paths if path not in owners),
        {path: tuple(found) for path, found in masks.items()},
        tuple(path for path in paths if path in owners and not owners[path]),
    )


Place = tuple[Folders, str]
There = dict[Place, list[PurePath]]


def _folders(path: PurePath) -> Folders:
    return tuple(part.lower() for part in path.parts[:-1])


def _cases(path: PurePath) -> list[str]:
    """What the name of a volume begins with, the longest first: `x_01_t1` with `x_01` and `x`."""
    name = stem(path)
    if not path.name.lower().endswith(VOLUMES) or BESIDE.fullmatch(name):
        return []
    return [name[: mark.start()] for mark in re.finditer(r"[\s_.\-]+", name) if mark.start()][::-1]


def _worded(path: PurePath) -> list[str]:
    """What an image `bus_0001` is to a mask `mask_0001`, whose word stands in place of its own."""
    match = WORDED.fullmatch(stem(path))
    return [OWN_WORD + match[1]] if match else []


def _by_place(paths: Iterable[PurePath]) -> There:
    """The files of each folder and name; of a name that none has, the volumes that begin so."""
    there: There = defaultdict(list)
    for path in paths:
        there[_folders(path), stem(path)].append(path)
    cases: There = defaultdict(list)
    worded: There = defaultdict(list)
    for path in paths:
        for name in _cases(path):
            cases[_folders(path), name].append(path)
        for name in _worded(path):
            worded[_folders(path), name].append(path)
    return {**cases, **there, **{at: found for at, found in worded.items() if len(found) == 1}}


def _beside(path: PurePath, there: There) -> list[PurePath]:
    """The images beside a mask that it is named as; none of a file that is no mask."""
    match = BESIDE.fullmatch(stem(path))
    return there.get((_folders(path), match[1]), []) if match else []


def _mirrored(paths: list[PurePath], there: There) -> dict[PurePath, list[PurePath]]:
    """The files in folders of masks, and the images of each: none for a mask alone."""
    names = {folders[: k + 1] for folders, _ in there for k in range(len(folders))}
    below: dict[Folders, list[PurePath]] = defaultdict(list)
    for path in paths:
        folders = _folders(path)
        for k, name in enumerate(folders):
            if FOLDER.fullmatch(name):
                below[folders[: k + 1]].append(path)
    found: dict[PurePath, list[PurePath]] = {}
    for place, files in sorted(below.items()):
        own = {path: _owners(path, len(place) - 1, there) for path in files if path not in found}
        hits = sum(map(bool, own.values()))
        if _beside_images(place, names) or 0 < len(own) <= 2 * hits:
            found |= own
    return found


def _beside_images(place: Folders, names: set[Folders]) -> bool:
    """Whether a folder of masks stands beside a folder called as that of images."""
    named = FOLDER.fullmatch(place[-1])
    apart = named is not None and named[1] is None
    return apart and any((*place[:-1], word) in names for word in HOMES)


def _owners(path: PurePath, level: int, there: There) -> list[PurePath]:
    """The images that a file mirrors, were its folder at this level one of masks."""
    folders = _folders(path)
    before, word, after = folders[:level], folders[level], folders[level + 1 :]
    of = FOLDER.fullmatch(word)
    base = of[1] if of else None
    places = [(base,)] if base else [(), *((home,) for home in HOMES)]
    places += [(f"{base}{mark}{home}",) for home in HOMES for mark in "_ -"] if base else []
    for middle in places:
        for name in _names(path):
            if owners := there.get(((*before, *middle, *after), name)):
                return owners
    return []


def of_names(
    images: Sequence[PurePath], masks: Sequence[PurePath]
) -> dict[PurePath, tuple[PurePath, ...]]:
    """The masks of images in two folders: by the same path, else by a name that only one has."""
    by_path, by_name = defaultdict(list), defaultdict(list)
    for mask in masks:
        for name in _names(mask):
            by_path[mask.with_name(name)].append(mask)
            by_name[name].append(mask)
    alike = Counter(name for image in images for name in (stem(image), *_worded(image)))
    found = {}
    for image in images:
        stems = [stem(image), *_cases(image), *(n for n in _worded(image) if alike[n] == 1)]
        places = (by_path[place] for n in stems if (place := image.with_name(n)) in by_path)
        alone = (by_name[n] for n in stems if n in by_name and alike[stem(image)] == 1)
        if own := next(places, None) or next(alone, None):
            found[image] = tuple(own)
    return found


def _names(mask: PurePath) -> list[str]:
    """What the image of a mask may be called: as it, or with no or its own word for the mask's."""
    beside, before = (pattern.fullmatch(stem(mask)) for pattern in (BESIDE, BEFORE))
    plain = [match[1] for match in (beside, before) if match]
    return [stem(mask), *plain, *([OWN_WORD + before[1]] if before else [])]
