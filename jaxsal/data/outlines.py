"""Masks of pictures and scans, each on the pixels or voxels of the record that it belongs to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image

from jaxsal.common.words import counted
from jaxsal.data import formats, images, records, scans
from jaxsal.data.packages import package
from jaxsal.data.records import Files, Kept
from jaxsal.data.scans import AS_STORED, Orientation, Scan

APART = 0.1
"""By how much of a voxel's side the corners of a mask's grid may lie beside its scan's."""

AWAY = "a mask that does not lie on its scan"

NEAREST = Image.Resampling.NEAREST


class Mask(NamedTuple):
    """A mask file that fits, not read yet.

    Attributes:
        scan: the file as a scan; of a picture's mask that is a picture, the picture's.
        slice: of its scan's slices the one that it is of, counted through all volumes; None: it is
            of a whole volume.
        turned: how its axes become its scan's.
    """

    path: Path
    scan: Scan
    slice: int | None
    turned: Orientation = AS_STORED


class Unused(NamedTuple):
    """Masks that images were to have, and do not.

    Attributes:
        pairs: an image file's name and a mask of it, with the reason.
        left: the mask files that no image has, each with the reason.
    """

    pairs: Mapping[tuple[str, Path], str] = MappingProxyType({})
    left: Mapping[Path, str] = MappingProxyType({})

    def notes(self) -> list[str]:
        """Of masks that other images have, whose they are not, and why."""
        found: dict[str, list[str]] = defaultdict(list)
        for (image, path), reason in self.pairs.items():
            if path not in self.left:
                found[reason].append(image)
        return [
            f"a mask that others share left out of {counted(len(names), 'images')}, as of "
            f"{names[0]}: {reason}"
            for reason, names in found.items()
        ]


class Outlines:
    """The masks of a source's records; where one has several they are merged.

    Attributes:
        unused: those that do not lie on their images, and of images that are not used.
        empty: those without a pixel, of the ones that were read.
    """

    def __init__(self, source: Files, masks: Mapping[str, Sequence[Path]]) -> None:
        """Reads headers alone.

        Args:
            masks: of each image file that has some, by its name.
        """
        self.source, pairs = source, dict[tuple[str, Path], str]()
        self._own = [_fitting(scan, masks, pairs) for scan in source.scans]
        used = {mask.path for own in self._own for mask in own}
        for pair in ((name, path) for name, own in masks.items() for path in own):
            if pair[1] not in used:
                pairs.setdefault(pair, "a mask of an image that is not used")
        left = {path: reason for (_, path), reason in pairs.items() if path not in used}
        self.unused = Unused(pairs, left)
        self.empty: set[Path] = set()
        self._kept = Kept()

    def files(self, number: int) -> tuple[Path, ...]:
        """The mask files of a record's picture, or of its scan."""
        return tuple(mask.path for mask in self._own[self.source.row(number).scan])

    def encoded(self, number: int, size: tuple[int, int]) -> bytes:
        """The mask of a picture or a slice of that (width, height), a 1-bit PNG.

        Raises:
            one of images.READ_ERRORS: for a broken file.
        """
        row = self.source.row(number)
        own = self._own[row.scan]
        if not own:
            return images.empty_mask(size)
        if self.source.scans[row.scan].shape is None:
            planes = [_plane(mask, size) for mask in own]
            covers = (images.outline(plane).any() for plane in planes)
            self.empty |= {mask.path for mask, any in zip(own, covers, strict=True) if not any}
            return images.merged(planes, size)
        image = Image.fromarray(self.array(number))
        return images.png(image if image.size == size else image.resize(size, NEAREST))

    def array(self, number: int) -> Bool[np.ndarray, "*space"]:
        """The mask of a slice [H, W] or of a volume [X, Y, Z] of a scan that has one.

        Raises:
            one of images.READ_ERRORS: for a broken file.
        """
        row = self.source.row(number)
        scan, own = self.source.scans[row.scan], self._own[row.scan]
        mask = self._kept(row.scan, lambda: _on_grid(scan, own, self.empty))
        time = row.time if len(mask) > 1 else 0
        seen = scans.oriented(mask[time], records.orientation(scan, self.source.wanted))
        return seen if row.slice is None else seen[row.slice]


def _fitting(
    scan: Scan, masks: Mapping[str, Sequence[Path]], unused: dict[tuple[str, Path], str]
) -> list[Mask]:
    """The masks of a scan that lie on it; the others, with the reason, are put into `unused`."""
    found = []
    for number, name in enumerate(scan.names or (scan.name,)):
        for path in masks.get(name, ()):
            try:
                found.append(_fitted(scan, number if scan.names else None, path))
            except ValueError as error:
                unused[name, path] = str(error)
    return found


def _fitted(scan: Scan, number: int | None, path: Path) -> Mask:
    """A mask of a scan, or of the slice of it that is a file of its own.

    Raises:
        ValueError: it does not lie there, or is broken.
    """
    if scan.shape is None and _is_picture(path):
        _check_picture(path, scan)
        return Mask(path, scan, 0)
    found, without = formats.scans([(path, path.name)])
    if len(found) != 1 or found[0].fault:
        why = found[0].fault if found else without[0][1] if without else "nothing in it"
        raise ValueError(f"a mask that cannot be read: {why}")
    mask = found[0]
    slices = 1 if scan.shape is None else scan.times * _count(scan)
    if number is not None or slices == 1:
        _check_plane(path, mask, scan)
        return Mask(path, mask, number or 0)
    if mask.shape is None:
        raise ValueError(f"{AWAY}: a picture, its scan has {slices} slices")
    return Mask(path, mask, None, _turned(scan, mask))


def _check_picture(path: Path, scan: Scan) -> None:
    """Raises where a picture is of another shape than the slices of a scan.

    Raises:
        ValueError: so.
    """
    if scan.fault:
        return
    try:
        size, others = _plane_size(scan), images.sizes(path)
    except images.READ_ERRORS:  # told when it is read
        return
    images.check_mask(others[0], size)


def _check_plane(path: Path, mask: Scan, scan: Scan) -> None:
    """As `_check_picture`; a mask that is no picture is of the very size.

    Raises:
        ValueError: so.
    """
    if _is_picture(path):
        return _check_picture(path, scan)
    if scan.fault:
        return None
    one, other = _plane_size(mask), _plane_size(scan)
    if one != other:
        texts = (f"{width}x{height}" for height, width in (one, other))
        raise ValueError(f"{AWAY}: {next(texts)} pixels, its scan has {next(texts)}")


def _plane_size(scan: Scan) -> tuple[int, int]:
    """Height and width of a picture, or of a scan's slices as they are stored."""
    if scan.shape is None:
        assert scan.size is not None
        return scan.size()
    _, height, width = scans.oriented_shape(scan, scans.orientation(scan, None))
    return height, width


def _is_picture(path: Path) -> bool:
    """Whether Pillow reads it, as it is to be seen."""
    return formats.ending(path) in formats.PICTURES


def _count(scan: Scan) -> int:
    """Slices of a volume, as it is stored."""
    return scans.oriented_shape(scan, scans.orientation(scan, None))[0]


def _turned(scan: Scan, mask: Scan) -> Orientation:
    """How a mask's axes become those of the scan whose grid it has.

    Raises:
        ValueError: it has another.
    """
    assert scan.shape is not None and mask.shape is not None
    if scan.affine is None or mask.affine is None:
        turned, off = AS_STORED, 0.0
    else:
        orientations = package("nibabel").orientations
        found = [orientations.io_orientation(each.affine) for each in (mask, scan)]
        if not np.isfinite(found).all():
            raise ValueError(f"{AWAY}: an affine is degenerate")
        turned = orientations.ornt_transform(*found).astype(int)
        affine = mask.affine @ orientations.inv_ornt_aff(turned, mask.shape)
        off = _apart(scan.affine, affine, scan.shape)
    shape = scans.oriented_shape(mask, turned)
    if shape != scan.shape:
        one, other = ("x".join(map(str, each)) for each in (shape, scan.shape))
        raise ValueError(f"{AWAY}: {one} voxels, its scan has {other}")
    if off > 0:
        raise ValueError(f"{AWAY}: by its affine up to {off:.2g} mm beside it")
    return turned


def _apart(
    one: Shaped[np.ndarray, "4 4"], other: Shaped[np.ndarray, "4 4"], shape: tuple[int, ...]
) -> float:
    """The largest distance of the corners of two grids in mm, 0 where it is within `APART`."""
    corners = np.stack(np.meshgrid(*([0, length - 1] for length in shape), [1]), -1).reshape(-1, 4)
    off = float(np.linalg.norm(corners @ (one - other)[:3].T, axis=1).max())
    side = float(np.linalg.norm(one[:3, :3], axis=0).min())
    return off if off > APART * side else 0.0


def _on_grid(
    scan: Scan, masks: Sequence[Mask], empty: set[Path]
) -> Bool[np.ndarray, "times X Y Z"]:
    """What any of the masks of a scan covers, on the scan's grid as it is stored.

    One volume where the masks are the same at all times; masks without a voxel are put into
    `empty`.
    """
    assert scan.shape is not None
    slices = [mask for mask in masks if mask.slice is not None]
    whole = {mask.path: _volumes(scan, mask) for mask in masks if mask.slice is None}
    empty |= {path for path, inside in whole.items() if not inside.any()}
    volumes = whole.values()
    times = max([scan.times if slices else 1, *map(len, volumes)])
    grid = np.zeros((times, *scan.shape), bool)
    for volume in volumes:
        grid |= volume
    stored = scans.orientation(scan, None)
    for mask in slices:
        time, number = divmod(mask.slice or 0, _count(scan))
        place = scans.oriented(grid[time], stored)[number]
        inside = images.outline(_plane(mask, place.shape[::-1]))
        empty |= set() if inside.any() else {mask.path}
        place |= inside
    return grid


def _volumes(scan: Scan, mask: Mask) -> Bool[np.ndarray, "times X Y Z"]:
    """A mask's volumes on its scan's grid: as many as the scan has, else all of them as one."""
    inside = _inside(mask)
    inside = inside if len(inside) == scan.times else inside.any(0, keepdims=True)
    return np.stack([scans.oriented(volume, mask.turned) for volume in inside])


def _inside(mask: Mask) -> Bool[np.ndarray, "times X Y Z"]:
    """Where a mask's values are above zero, in any channel of a coloured one."""
    values = mask.scan.read(1).array
    inside = values > 0
    return inside.any(-1) if values.ndim == 5 else inside


def _plane(mask: Mask, size: tuple[int, int]) -> bytes:
    """The mask of a picture or of one slice of that (width, height), encoded.

    Raises:
        one of images.READ_ERRORS: for a broken file. ValueError: of another size, where it is no
            picture.
    """
    if _is_picture(mask.path):
        return images.mask(mask.path, size)
    grid = _inside(mask).any(0)
    flat = mask.scan.shape is None
    seen = grid if flat else scans.oriented(grid, scans.orientation(mask.scan, None))
    if seen.shape != (1, size[1], size[0]):
        one, other = ("x".join(map(str, each)) for each in (seen.shape, (1, size[1], size[0])))
        raise ValueError(f"{AWAY}: {one} pixels, expected {other}")
    return images.png(Image.fromarray(seen[0]))
