"""An array of images or volumes as the records that an explainer streams."""

from typing import Any

import numpy as np

from jaxsal.data import intensity, scans
from jaxsal.data.intensity import Units
from jaxsal.data.records import BrokenImage, reason
from jaxsal.data.wanted import MOST_CHANNELS, Note, Notes, Wanted, check_range, prepared, sized


class Arrays:
    """An array of images or volumes as records.

    Integers are scaled by the rule of all files, one scale for the whole array; floating numbers
    are the model's own, unless a rule is named.
    """

    left: tuple[tuple[str, str], ...] = ()

    def __init__(
        self, values: np.ndarray, labels: np.ndarray | None, text: str, wanted: Wanted
    ) -> None:
        """Raises ValueError where the array is not of images, or of volumes."""
        self.labels, self.text, self.wanted = labels, text, wanted
        self.numbers = range(len(values))
        plane, part = wanted.slicing
        if wanted.volumes:
            values = values[None] if values.ndim == 3 else values
        elif plane is not None or part != slice(None):
            values, self.numbers = _sliced(values, plane, part)
            self.labels = labels[part] if labels is not None and plane in (None, "0") else None
        self.values = values
        if values.ndim not in (wanted.axes + 1, wanted.axes + 2):
            kind = (
                "[N, D, H, W] or [N, D, H, W, C]" if wanted.volumes else "[N, H, W] or [N, H, W, C]"
            )
            raise ValueError(f"images: expected {kind}, got {values.dtype} {values.shape}")
        floating = values.dtype.kind == "f"
        own = floating and wanted.intensity == intensity.Intensity()
        units = Units(intensity.full_scale(values.dtype))
        self.scale = None if own else intensity.scale(values, units, wanted.intensity)
        self._notes = Notes(len(values))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, number: int) -> dict[str, Any]:
        name, note = str(self.numbers[number]), self._notes.of(number)
        values = np.asarray(self.values[number])
        try:
            image = self._image(values, note)
        except ValueError as error:
            raise BrokenImage(name, reason(error)) from error
        label = {} if self.labels is None else {"label": self.labels[number]}
        return {"image": image, "name": name, **label}

    def notes(self) -> list[str]:
        """What was done to images so far."""
        return self._notes.lines()

    def _image(self, values: np.ndarray, note: Note) -> np.ndarray:
        wanted, axes = self.wanted, self.wanted.axes
        flat = values.ndim == axes
        first = not flat and values.shape[-1] > MOST_CHANNELS >= values.shape[0]
        if wanted.channels is None:  # a model of one's own: the axes are as it takes them
            found = self._scaled(values, note)
            found = found[..., None] if flat else found
            if wanted.size is None:
                return found
            return (
                np.moveaxis(sized(np.moveaxis(found, 0, -1), wanted, note), -1, 0)
                if first
                else sized(found, wanted, note)
            )
        if first:
            note("channels moved to the end")
            values = np.moveaxis(values, 0, -1)
        if not flat and values.shape[-1] not in (1, 3):
            raise ValueError(f"shape {values.shape}, expected 1 or 3 channels")
        colour = not flat and values.shape[-1] == 3
        values = values if flat or colour else values[..., 0]
        return prepared(values, self.scale, wanted, colour=colour, note=note)

    def _scaled(self, values: np.ndarray, note: Note) -> np.ndarray:
        if self.scale is None:
            found = values.astype(np.float32)
            check_range(found, self.wanted.range)
            return found
        note(f"intensities: {self.scale.how}")
        return intensity.scaled(values, self.scale)


def _sliced(values: np.ndarray, plane: str | None, part: slice) -> tuple[np.ndarray, range]:
    """The wanted slices of a volume [D, H, W], and their numbers.

    Raises:
        ValueError: an array of other axes, or an anatomical plane of one that has none; no slice.
    """
    if values.ndim != 3 or (plane or "0") not in scans.AXES:
        raise ValueError(
            f"slices: of an array expected [D, H, W] and an axis 0, 1 or 2; got {values.shape} and "
            f"{plane!r}"
        )
    moved = np.moveaxis(values, int(plane or 0), 0)
    numbers = range(len(moved))[part]
    if not numbers:
        raise ValueError(f"slices: none of {len(moved)} is asked for")
    return moved[part], numbers
