"""What a model takes, and what a source makes of its images to give it that."""

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from jaxsal.common.words import counted
from jaxsal.data.fit import fitted, resampled, unfitted
from jaxsal.data.images import channelled
from jaxsal.data.intensity import Intensity, Scale, scaled
from jaxsal.data.scans import Slicing

TOLERANCE = 1e-3
"""By how much of its range a value may pass it: a resampled picture rings."""

MOST_CHANNELS = 4
"""A first or last axis as short as this is one of channels."""


class Wanted(NamedTuple):
    """What a model takes, as far as it is known, and which part of the scans is asked for.

    Attributes:
        size: side in pixels that images are made square and resized to; None leaves them.
        channels: 1 for grey, 3 for colour; None: files grey, arrays as they are.
        range: that the values of the model's images lie in; None: not known.
        intensity: how values become that.
        slicing: which slices of scans.
        volumes: whole scans instead.
    """

    size: int | None = None
    channels: int | None = None
    range: tuple[float, float] | None = None
    intensity: Intensity = Intensity()
    slicing: Slicing = Slicing()
    volumes: bool = False

    @property
    def axes(self) -> int:
        """How many are spatial."""
        return 3 if self.volumes else 2

    def text(self) -> str:
        """Says how images are read: other words, other images."""
        rule, window = self.intensity
        how = rule if window is None else f"window {window[0]:g} {window[1]:g}"
        plane, part = self.slicing
        if self.volumes:
            return f"{how} volumes"
        return f"{how} slices {plane} {part.start}:{part.stop}:{part.step}"


Note = Callable[[str], None]
"""Says what was done to an image."""


class Notes:
    """What was done to images, and to how many of them: each image counts once."""

    def __init__(self, count: int) -> None:
        self._count, self._lock = count, threading.Lock()
        self._done: dict[str, np.ndarray] = {}

    def _add(self, number: int, what: str) -> None:
        with self._lock:
            rows = self._done.get(what)
            if rows is None:
                rows = self._done[what] = np.zeros(self._count, bool)
            rows[number] = True

    def of(self, number: int) -> Note:
        """Adds what is done to one image."""
        return lambda what: self._add(number, what)

    def lines(self) -> list[str]:
        """`12 images: resized from 20x24`, the most frequent first; of sizes the first few."""
        with self._lock:
            counts = sorted(((int(rows.sum()), what) for what, rows in self._done.items()))
        return [f"{counted(count, 'images')}: {what}" for count, what in reversed(counts)]


def prepared(
    values: Shaped[np.ndarray, "*space"],
    scale: Scale | None,
    wanted: Wanted,
    *,
    colour: bool,
    note: Note,
) -> Float[np.ndarray, "*image"]:
    """A page or a volume, perhaps with channels last, as the model takes it.

    Raises:
        ValueError: values out of the model's range.
    """
    note("intensities as they are" if scale is None else f"intensities: {scale.how}")
    found = scaled(values, scale)
    if scale is None:
        check_range(found, wanted.range)
    channels = wanted.channels or 1
    if colour and channels == 1:
        note("colour made grey")
    elif channels == 3 and not colour:
        note("grey given as colour")
    found = channelled(found, channels, colour=colour)
    return sized(found, wanted, note)


def sized(
    values: Float[np.ndarray, "*space"], wanted: Wanted, note: Note
) -> Float[np.ndarray, "*image"]:
    """The values, channels last, at the wanted size."""
    shape, size = values.shape[: wanted.axes], wanted.size
    if size is None or shape == (size,) * wanted.axes:
        return values
    square = "" if len(set(shape)) == 1 else "made square with zeros and "
    note(f"{square}resized to {'x'.join([str(size)] * wanted.axes)}, antialiased")
    return fitted(values, size, wanted.axes)


def unsized(
    map: Float[np.ndarray, "*image"], shape: tuple[int, ...], wanted: Wanted
) -> Float[np.ndarray, "*space"]:
    """A map of an image that was `sized`, at the `shape` that the image had before."""
    return resampled(map, shape) if wanted.size is None else unfitted(map, shape)


def check_range(values: np.ndarray, expected: tuple[float, float] | None) -> None:
    """Raises where values lie outside those that a model takes.

    Raises:
        ValueError: so; it says what can be done.
    """
    if expected is None or not values.size:
        return
    low, high = expected
    slack = TOLERANCE * (high - low)
    least, largest = float(values.min()), float(values.max())
    if least < low - slack or largest > high + slack:
        raise ValueError(
            f"values from {least:.4g} to {largest:.4g}, the network takes {low:g} to {high:g}; "
            "scale them, or say how: --intensity stretch or --window CENTER WIDTH"
        )
