"""A scan: pages or voxels not read yet, how they lie in the patient, and which slices are asked."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from jaxsal.common.words import counted
from jaxsal.data.intensity import Units
from jaxsal.data.packages import package

LARGEST = 2**29
"""Voxels of one scan."""

PLANES = {"axial": "SPL", "coronal": "AIL", "sagittal": "RIP"}
"""Where the slices, their rows and their columns lead: as radiologists look at them, the patient's
right on the left, and sagittal ones facing left."""

AXES = ("0", "1", "2")
"""Axes of an array, as it is stored."""

SLICES = re.compile(rf"({'|'.join([*PLANES, *AXES])})?(:-?\d*){{0,3}}")

Orientation = Shaped[np.ndarray, "3 2"]
"""nibabel's: for each axis as stored, which axis of the result it is, and 1 or -1 (flipped)."""

AS_STORED = np.array([[0, 1], [1, 1], [2, 1]])


class Values(NamedTuple):
    """What was read: [times, X, Y, Z] or, in colour, [times, X, Y, Z, 3]; and its units."""

    array: np.ndarray
    units: Units


class Scan(NamedTuple):
    """A picture, a stack of pages, or one or more volumes of one grid.

    Attributes:
        name: where it comes from, without a patient's identity.
        read: reads it; the argument is the channels wanted, 1 or 3, of what is in colour.
        shape: the grid, (X, Y, Z) as stored; None: a picture, whose (height, width) `size` tells.
        times: volumes.
        plane: how slices are seen where nobody asks: a name of `PLANES` or an orientation.
        affine: [4, 4], from a voxel's number to millimetres right, anterior and superior; None:
            nobody says where it lies.
        geometry: how the file said so, for a file that goes back; see `nifti.save`.
        names: of the slices along the plane's first axis, where each is a file of its own.
        patient: a hash; "" where unknown.
        even: "" where the affine holds for all slices, or why it does not.
        alone: why the other files of its series are not part of it; "" where there is none.
        fault: why it cannot be read; "" where nothing is known against it.
    """

    name: str
    read: Callable[[int], Values]
    shape: tuple[int, int, int] | None = None
    size: Callable[[], tuple[int, int]] | None = None
    times: int = 1
    plane: str | Orientation = AS_STORED
    affine: Shaped[np.ndarray, "4 4"] | None = None
    geometry: Any = None
    names: tuple[str, ...] = ()
    patient: str = ""
    even: str = ""
    alone: str = ""
    fault: str = ""

    @property
    def is_volume(self) -> bool:
        return self.shape is not None and min(self.shape) > 1


def notes(found: Sequence[Scan], *, as_stored: bool) -> list[str]:
    """What is to be said of how scans were put together from files.

    Args:
        as_stored: whether each slice is seen by itself, wherever the next one lies.
    """
    told = []
    if alone := [scan for scan in found if scan.alone]:
        files = counted(len(alone), "files taken each as a scan, at its own intensities")
        told.append(f"{files}: no stack of slices ({alone[0].name}'s series: {alone[0].alone})")
    if uneven := [scan for scan in found if scan.even and not as_stored]:
        count = counted(len(uneven), "scans read as though evenly spaced")
        told.append(f"{count} ({uneven[0].name}: {uneven[0].even})")
    return told


class Slicing(NamedTuple):
    """Which slices are asked for: along a plane or an axis (None: as each scan is stored)."""

    plane: str | None = None
    range: slice = slice(None)


def parse(text: str | None) -> Slicing:
    """`axial`, `coronal:10:20`, `0::2`, `:5:-5`: a plane or an axis, from, to, step, as Python's.

    Raises:
        ValueError: no such text.
    """
    if text is None:
        return Slicing()
    if not SLICES.fullmatch(text):
        raise ValueError(
            f"slices: expected axis[:from:to:step], an axis of {', '.join([*PLANES, *AXES])}, "
            f"got {text!r}"
        )
    plane, *numbers = text.split(":")
    bounds = [int(number) if number not in ("", "-") else None for number in numbers]
    if len(bounds) == 3 and bounds[2] is not None and bounds[2] < 1:
        raise ValueError(f"slices: expected a step above 0, got {text!r}")
    first, last, step = [*bounds, None, None, None][:3]
    return Slicing(plane or None, slice(first, last, step))


def orientation(scan: Scan, plane: str | None) -> Orientation:
    """How a scan's axes become slices, rows and columns.

    Raises:
        ValueError: an anatomical plane of a scan that does not say how it lies.
    """
    wanted = scan.plane if plane is None else plane
    if not isinstance(wanted, str):
        return wanted
    if wanted in PLANES:
        return towards(scan, PLANES[wanted])
    axis = int(wanted)
    order = [axis, *(other for other in range(3) if other != axis)]
    return np.stack([np.argsort(order), np.ones(3, int)], -1)


def towards(scan: Scan, codes: str) -> Orientation:
    """How a scan's axes become those that lead where the letters say, such as "RAS".

    Raises:
        ValueError: the scan does not say how it lies.
    """
    if scan.affine is None:
        raise ValueError(f"does not say how it lies: no {codes}; name an axis, --slices 0, 1 or 2")
    orientations = package("nibabel").orientations
    found = orientations.io_orientation(scan.affine)
    if not np.isfinite(found).all():
        raise ValueError("its affine is degenerate: no axes can be told")
    return orientations.ornt_transform(found, orientations.axcodes2ornt(codes)).astype(int)


def oriented(values: np.ndarray, orientation: Orientation) -> np.ndarray:
    """A view of [X, Y, Z, ...] with its axes where the orientation puts them."""
    places, flips = orientation.T.astype(int)
    seen = values[tuple(slice(None, None, flip) for flip in flips)]
    return seen.transpose(*np.argsort(places), *range(3, values.ndim))


def oriented_shape(scan: Scan, orientation: Orientation) -> tuple[int, ...]:
    """The lengths of the axes of `oriented`."""
    assert scan.shape is not None
    return tuple(scan.shape[axis] for axis in np.argsort(orientation[:, 0]))


def three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The first three lengths, those that are missing 1."""
    first, second, third, *_ = (*map(int, shape), 1, 1, 1)
    return first, second, third


def check_size(shape: tuple[int, ...]) -> None:
    """Raises where a scan has no voxels, or more than can be meant.

    Raises:
        ValueError: so.
    """
    count = 1
    for length in shape:
        count *= int(length)
    if not 0 < count <= LARGEST or min(shape) < 1:
        text = "x".join(map(str, shape))
        raise ValueError(f"{text} voxels, expected 1 to 2^29 in all")
