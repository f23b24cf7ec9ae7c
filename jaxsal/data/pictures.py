"""Images from wherever a user has them: a file, a folder, a pattern, an array, a TFDS set."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from jaxsal.common.words import counted
from jaxsal.data import arrays, formats, images, intensity, masks
from jaxsal.data.array_records import Arrays
from jaxsal.data.listing import directory, fingerprint, visible
from jaxsal.data.records import BrokenImage as BrokenImage
from jaxsal.data.records import Files, check_one_size
from jaxsal.data.wanted import Note, Notes, Wanted, prepared
from jaxsal.data.written import WRITTEN, written
from jaxsal.types import RandomAccess

TFDS = "tfds:"

SUFFIXES = formats.PICTURES
"""Of pictures, as they are in folders to train on."""

RESULT = "in the place of the results"
"""Why a file is no image to explain."""

ANYTHING = Wanted()


class Prepared:
    """A TFDS set as records, by the rule of all files, of one size if one is given.

    Attributes:
        classes: the names of its labels; () where it has numbers alone.
    """

    left: tuple[tuple[str, str], ...] = ()

    def __init__(
        self, source: RandomAccess, text: str, wanted: Wanted, classes: tuple[str, ...] = ()
    ) -> None:
        self.source, self.text, self.wanted, self.classes = source, text, wanted, classes
        self._notes = Notes(len(source))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        row = self.source[number]
        return {**row, "image": _given(row["image"], self.wanted, self._notes.of(number))}

    def original(self, number: int) -> np.ndarray:
        """The image at its own size, [H, W, C]."""
        free = self.wanted._replace(size=None, range=None)
        return _given(self.source[number]["image"], free, lambda what: None)

    def notes(self) -> list[str]:
        """What was done to images so far."""
        return self._notes.lines()


def _given(image: Any, wanted: Wanted, note: Note) -> np.ndarray:
    """Pixels [H, W], [H, W, 1] or [H, W, 3] as a model takes them, by the rule of all files.

    Raises:
        ValueError: another shape.
    """
    values = images.flat(np.asarray(image))
    units = intensity.Units(intensity.full_scale(values.dtype))
    scale = intensity.scale(values, units, wanted.intensity, single=True)
    return prepared(values, scale, wanted, colour=values.ndim == 3, note=note)


Pictures = Files | Arrays | Prepared


def find(
    what: str,
    *,
    wanted: Wanted = ANYTHING,
    split: str = "test",
    without: tuple[Path, ...] = (),
    masks: tuple[Path, ...] = (),
) -> Pictures:
    """The images that `what` names, in a fixed order.

    Args:
        what: a file of `formats.ENDINGS`; a folder, searched to any depth; a pattern (`*`, `**`,
            `?`, `[...]`); a `.npy` or `.npz` of [N, H, W], [N, H, W, C] or [N, C, H, W], of volumes
            with an axis more; or `tfds:NAME`.
        wanted: what the images are for.
        split: of a TFDS set.
        without: folders and files of the results, which are no images unless named by themselves.
        masks: folders of masks, which are none either.

    Raises:
        ValueError: nothing is found, or in the place of the results alone; an array is not of
            images; or sizes differ and none is wanted.
    """
    if what.startswith(TFDS):
        return _prepared(what.removeprefix(TFDS), split, wanted)
    if not what or "\0" in what:
        raise ValueError(f"images: expected a file, folder, pattern or tfds:NAME, got {what!r}")
    path = Path(os.path.expanduser(what))  # what is no name of a user or file is none of these
    if os.path.isfile(path) and path.suffix.lower() in arrays.ENDINGS:
        text = f"array {fingerprint(path.parent, [path], ())} {wanted.text()}"
        return Arrays(*arrays.load(path), text, wanted)
    root, paths = _paths(path)
    named, results = (paths, []) if os.path.isfile(path) else _read(root, paths, without, masks)
    paths, beside, hidden = _apart(root, named, whole=os.path.isdir(path))
    scans, left = formats.scans([(file, os.path.relpath(file, root)) for file in paths])
    left = [*((name, "a mask, not an image") for name in hidden), *left]
    left = [*((os.path.relpath(file, root), why) for file, why in results), *left]
    own = [file for file, why in results if why == RESULT]
    if own and not scans:
        raise ValueError(
            f"out: {_holding(own[0], without)!r} holds every image of {what[:200]!r}, "
            f"{counted(len(own), 'images')}: what lies there counts as results; expected a place "
            "apart from the images"
        )
    if not scans:
        raise ValueError(f"images: no image file in {what[:200]}{_instead(left)}")
    text = f"files {fingerprint(root, paths, ())} {wanted.text()}"
    source = Files(scans, tuple(left), text, wanted)
    source.root, source.masks, source.paths = root, beside, named
    if wanted.size is None:
        check_one_size(source.scans, wanted)
    return source


def _paths(path: Path) -> tuple[Path, list[Path]]:
    """The files that are named, and the folder that their names begin at."""
    if os.path.isdir(path):
        return path, visible(path, "images")
    if os.path.isfile(path):
        return path.parent, [path]
    matched = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    matched = [match for match in matched if match.is_file()]
    if not matched:
        raise ValueError(
            f"images: {str(path)[:200]!r} is no file, folder or pattern that matches; "
            "a TFDS set is tfds:NAME"
        )
    return Path(os.path.commonpath([match.parent for match in matched])), matched


def _apart(
    root: Path, paths: list[Path], *, whole: bool
) -> tuple[list[Path], dict[str, tuple[Path, ...]], list[str]]:
    """Files that are no masks, the masks of each by its name, and the names of files that are.

    A mask that is asked for alone is an image: there is none beside it.

    Args:
        whole: whether the paths are all that lie there; else masks may lie beside them.
    """
    images = {path: Path(os.path.relpath(path, root)) for path in paths}
    found = masks.apart([*images.values()])
    kept = {*found.images}
    own = found.masks
    if not whole:
        around = {file for folder in {path.parent for path in paths} for file in folder.iterdir()}
        others = (p for p in sorted(around) if formats.ending(p) in formats.ENDINGS)
        every = [*images.values(), *(Path(os.path.relpath(path, root)) for path in others)]
        own = masks.apart([*dict.fromkeys(every)]).masks
    return (
        [path for path, name in images.items() if name in kept],
        {os.fspath(i): tuple(root / mask for mask in own[i]) for i in kept if i in own},
        [os.fspath(name) for name in images.values() if name not in kept],
    )


def mask_files(folder: Path, argument: str) -> tuple[Path, list[PurePath]]:
    """A folder of masks, and the files in it that may be some, relative to it.

    Raises:
        ValueError: it cannot be read.
    """
    root = directory(folder, argument)
    every = visible(root, argument)
    results = written(root, every)
    may = (path for path in every if path not in results and formats.may_hold_images(path))
    return root, [path.relative_to(root) for path in may]


def masks_elsewhere(
    images: Sequence[PurePath],
    folder: Path,
    home: Path | None,
    argument: str = "masks",
    *,
    needed: bool = True,
) -> dict[PurePath, tuple[Path, ...]]:
    """The masks of images in a folder of their own.

    Args:
        home: the folder of the images, where they have one.
        needed: whether some must be an image's by their names.

    Raises:
        ValueError: it is that of the images, or none is an image's.
    """
    root, files = mask_files(folder, argument)
    if home is not None and root == home.resolve():
        raise ValueError(f"{argument}: expected another folder than the images', got {folder}")
    found = masks.of_names(images, files)
    if needed and not found:
        raise ValueError(
            f"{argument}: none of {len(files)} files in {root} is named as an image: "
            f"{[f.as_posix() for f in files[:2]]}, images are {[str(i) for i in images[:2]]}"
        )
    return {image: tuple(root / mask for mask in own) for image, own in found.items()}


def _read(
    root: Path, paths: list[Path], without: tuple[Path, ...], masks: tuple[Path, ...]
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The files that may be images to explain, and images that are results, with the reason."""
    named, _ = _outside(paths, masks)
    named, own = _outside(named, without)
    before = written(root, named)
    results = [(path, RESULT) for path in own]
    results += [(path, WRITTEN) for path in named if path in before]
    kept = [path for path in named if path not in before]
    return kept, [(path, why) for path, why in results if formats.may_hold_images(path)]


def _outside(paths: list[Path], apart: tuple[Path, ...]) -> tuple[list[Path], list[Path]]:
    """The files that lie in none of the places, and the others."""
    if not apart:
        return paths, []
    places = [place.resolve() for place in apart]
    kept: list[Path] = []
    others: list[Path] = []
    for path in paths:
        real = path.resolve()
        inside = any(real.is_relative_to(place) for place in places)
        (others if inside else kept).append(path)
    return kept, others


def _holding(path: Path, places: tuple[Path, ...]) -> str:
    """The place that a file lies in."""
    real = path.resolve()
    return next(str(p)[:200] for p in places if real.is_relative_to(p.resolve()))


def _instead(left: list[tuple[str, str]]) -> str:
    """What there is where no image is: the first file and how many more."""
    if not left:
        return f" ({', '.join(formats.ENDINGS)})"
    name, reason = left[0]
    return f"; {name}: {reason}" + (f"; {len(left) - 1} more" if len(left) > 1 else "")


def _prepared(name: str, split: str, wanted: Wanted) -> Prepared:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name)
        builder.download_and_prepare(file_format="array_record")
        source = builder.as_data_source(split)
        length = len(source)
    except Exception as error:  # TFDS has many of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"images: tfds:{name} cannot be had ({reason[:300]})") from error
    if not length or "image" not in source[0]:
        raise ValueError(f"images: tfds:{name} has no 'image' in its split {split!r}")
    text = f"tfds {builder.info.full_name} {split} {wanted.text()}"
    return Prepared(source, text, wanted, _classes(builder.info.features))


def _classes(features: Any) -> tuple[str, ...]:
    """The names of a set's labels; () of labels that are called by their numbers or by nothing."""
    names = getattr(features["label"], "names", None) if "label" in features else None
    numbers = [str(number) for number in range(len(names or ()))]
    return () if names is None or names == numbers else tuple(names)
