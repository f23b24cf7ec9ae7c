"""Where DICOM slices lie in the patient, in which order, and the affine of a stack of them."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
"""DICOM's axes lead left, posterior and superior; an affine's lead right, anterior, superior."""

NEAR = 1e-3
"""Millimetres, or a share of a slice's distance."""


class Place(NamedTuple):
    """Where slices lie, in DICOM's coordinates.

    Attributes:
        directions: [2, 3], where columns (along a row) and rows (down a column) lead.
        spacing: between rows, between columns.
        positions: [K, 3], of the first pixel of each slice.
        thickness: of one slice, in the place of a distance.
    """

    directions: Float[np.ndarray, "2 3"]
    spacing: tuple[float, float]
    positions: Float[np.ndarray, "K 3"]
    thickness: float

    @property
    def kind(self) -> str:
        """What slices of one stack have in common, to a hundredth."""
        return str(np.round([*self.directions.ravel(), *self.spacing], 2) + 0.0)

    @property
    def normal(self) -> Float[np.ndarray, " 3"]:
        return np.cross(*self.directions)

    def affine(self) -> tuple[Float[np.ndarray, "4 4"], str]:
        """From (column, row, slice) to millimetres; and why it does not hold, "" where it does."""
        count = len(self.positions)
        step = self.normal * self.thickness
        even = ""
        if count > 1:
            step = (self.positions[-1] - self.positions[0]) / (count - 1)
            line = self.positions[0] + np.arange(count)[:, None] * step
            away = float(np.abs(self.positions - line).max())
            if away > NEAR + 0.02 * float(np.linalg.norm(step)):
                even = f"its slices are not evenly spaced, by up to {away:.2g} mm"
        affine = np.eye(4)
        columns = np.stack(
            [self.directions[0] * self.spacing[1], self.directions[1] * self.spacing[0], step], 1
        )
        affine[:3, :3] = LPS_TO_RAS @ columns
        affine[:3, 3] = LPS_TO_RAS @ self.positions[0]
        return affine, even


def place(header: Any, frames: int) -> Place | None:
    """Where the frames of a file lie, as they are stored; None where it does not say so.

    The same goes for frames that lie in several directions.
    """
    known = groups(header, frames)

    def of(own: list[Any], name: str, count: int) -> np.ndarray | None:
        found = next((group[name].value for group in own if name in group), None)
        values = [] if found is None else np.ravel(np.asarray(found, float)).tolist()
        return np.array(values) if len(values) == count and np.isfinite(values).all() else None

    directions = [of(own, "ImageOrientationPatient", 6) for own in known]
    positions = [of(own, "ImagePositionPatient", 3) for own in known]
    spacing = of(known[0], "PixelSpacing", 2)
    if spacing is None or any(x is None for x in (*directions, *positions)):
        return None
    axes, first = np.array(directions), np.array(positions)
    if np.ptp(axes, axis=0).max() > 1e-3 or not (spacing > 0).all():
        return None
    axes = axes[0].reshape(2, 3)
    normal = np.cross(*axes)
    if abs(np.linalg.norm(normal) - 1) > 0.01:
        return None
    offsets = np.ravel(np.asarray(header.get("GridFrameOffsetVector") or [], float))
    if len(offsets) == frames:  # of doses
        first = first + (offsets - offsets[0])[:, None] * normal
    sizes = [of(known[0], name, 1) for name in ("SpacingBetweenSlices", "SliceThickness")]
    thickness = next((float(size[0]) for size in sizes if size is not None and size[0] > 0), 1.0)
    return Place(axes, (float(spacing[0]), float(spacing[1])), first, thickness)


def frame_order(header: Any, where: Place) -> list[list[int]] | None:
    """The numbers of a file's frames by time, and by position within it; None: they are no stack.

    As they are stored where they lie one behind the other. Else as of `stack`, times by the
    frames' own index where they have one.
    """
    count = len(where.positions)
    steps = np.diff(where.positions @ where.normal)
    if (steps > NEAR).all() or (steps < -NEAR).all():
        return [list(range(count))]

    def time(own: list[Any]) -> int:
        indices = (g["TemporalPositionIndex"].value for g in own if "TemporalPositionIndex" in g)
        return int(next(indices, None) or 0)

    times = [time(own) for own in groups(header, count)]
    frames = [where._replace(positions=where.positions[n : n + 1]) for n in range(count)]
    return stack(frames, [(times[n], n) for n in range(count)])


def groups(header: Any, frames: int) -> list[list[Any]]:
    """For each frame the data sets that may speak of it, its own first."""
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    own = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    rest = [*(inner for group in shared for inner in _inner(group)), header]
    if len(own) != frames:
        return [rest] * frames
    return [[*_inner(group), *rest] for group in own]


def _inner(group: Any) -> list[Any]:
    return [item for element in group if element.VR == "SQ" for item in element.value]


def stack(places: list[Place], orders: list[tuple[int, ...]]) -> list[list[int]] | None:
    """Numbers of single slices by time, and by position within it; None: they are no stack.

    Where every position comes several times, those are times, in the order of `orders`.
    """
    positions = by_position(places, orders)
    return None if no_stack(positions) else [list(time) for time in zip(*positions, strict=True)]


def by_position(places: list[Place], orders: list[tuple[int, ...]]) -> list[list[int]]:
    """Numbers of single slices by position along their normal; within one by `orders`."""
    along = np.array([where.positions[0] @ places[0].normal for where in places])
    positions: list[list[int]] = []
    last = -np.inf
    for number in sorted(range(len(places)), key=lambda n: (along[n], orders[n])):
        if along[number] - last > NEAR:
            positions.append([])
            last = along[number]
        positions[-1].append(number)
    return [sorted(found, key=lambda n: orders[n]) for found in positions]


def no_stack(positions: list[list[int]]) -> str:
    """Why slices at these positions are no stack, in words; "" where they are one."""
    counts = {len(found) for found in positions}
    if len(positions) < 2:
        return f"all {max(counts)} lie at one place"
    if len(counts) > 1:
        return f"{min(counts)} to {max(counts)} of them lie at a place, expected as many at each"
    return ""
