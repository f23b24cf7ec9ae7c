"""What the axes of images, of their maps and masks are, as far as shapes alone say it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from jaxsal.types import FEW, axes_by_shape
from jaxsal.viz import inputs

FLAT, DEEP, LAST = (0, 1), (0, 1, 2), (1, 2)
"""Spatial axes of one image: of one with channels last, of a volume, of one with channels first."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Reading:
    """One way to read the axes of images, and of the maps and masks that belong to them.

    Attributes:
        batched: whether the first axis counts images; else it is one image without that axis.
        axes: the spatial axes of ONE image; what it has beside them is channels.
    """

    batched: bool
    axes: tuple[int, ...]

    def images(self, values: np.ndarray) -> np.ndarray:
        """Images as `[N, *space, C]`, with one channel where they have none.

        Raises:
            ValueError: they have other axes.
        """
        own = values.ndim - self.batched
        if own - len(self.axes) not in (0, 1) or self.axes[-1] >= own:
            raise ValueError(
                f"images: expected of one image the spatial axes {self.axes} and at most one of "
                f"channels, got {values.shape}"
            )
        images = self._channels_last(self._batch(values))
        return images if own > len(self.axes) else images[..., None]

    def maps(self, name: str, values: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
        """Maps `[N, *space]` or coarser of such images, by name, each class's where there are more.

        Channels, which are summed, are one, or as many as of images of the maps' own shape: a map
        that is coarser has none. Where channels come first they stand where classes would: the
        name says that they were summed.

        Raises:
            ValueError: they are of other images, or may be read in two ways.
        """
        batch = self._batch(values)
        if (flat := self._flat(batch, images)) is not None:
            return {self._told(name, batch, images): flat}
        classes = self._classes(batch, images)
        if not classes:
            raise ValueError(self._other(name, values, images))
        if self._doubtful(batch, images):
            raise ValueError(
                f"maps: {name} {values.shape} may be of {batch.shape[-1]} channels, which are to "
                f"be summed first, or of {len(classes)} classes, which have names in a dict, "
                "{'class 0': maps[:, 0]}"
            )
        before = "" if name == "map" else f"{name}, "
        many = len(classes) > 1
        return {f"{before}class {k}" if many else name: each for k, each in enumerate(classes)}

    def masks(self, values: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Masks of such images, bool `[N, *space]`; an axis of one among theirs is left out.

        Raises:
            ValueError: they are of other images.
        """
        batch, space = self._batch(values), images.shape[:-1]
        dropped = [
            batch.shape[:axis] + batch.shape[axis + 1 :]
            for axis in range(1, batch.ndim)
            if batch.shape[axis] == 1
        ]
        if space not in (batch.shape, *dropped):
            raise ValueError(
                f"masks: expected {self._own(images)}, the images', got {values.shape}"
            )
        return batch.reshape(space).astype(bool)

    def _batch(self, values: np.ndarray) -> np.ndarray:
        return values if self.batched else values[None]

    def _channels_last(self, batch: np.ndarray) -> np.ndarray:
        return np.stack([inputs.channels_last(each, self.axes) for each in batch])

    def _own(self, images: np.ndarray) -> tuple[int, ...]:
        """The shape that was given of images `[N, *space, C]`, without channels."""
        return images.shape[0 if self.batched else 1 : -1]

    def _flat(self, maps: np.ndarray, images: np.ndarray) -> np.ndarray | None:
        """Maps of one class without channels; None: they are none of such images.

        Of volumes they are of the images' own size, as slices are cut of them.
        """
        if maps.ndim == images.ndim and maps.size:
            maps = self._channels_last(maps)
            if maps.shape[-1] > 1 and maps.shape[1:] != images.shape[1:]:
                return None
            maps = maps.sum(-1)
        own, space = maps.shape[1:], images.shape[1:-1]
        if maps.ndim != 1 + len(space) or len(maps) != len(images) or not maps.size:
            return None
        coarser = len(space) == 2 and all(a <= b for a, b in zip(own, space, strict=True))
        return maps if own == space or coarser else None

    def _classes(self, maps: np.ndarray, images: np.ndarray) -> list[np.ndarray]:
        """The maps of each class, `[N, K, ...]`; none where they are no such maps."""
        if not self.batched or maps.ndim < images.ndim:
            return []
        flat = [self._flat(maps[:, k], images) for k in range(maps.shape[1])]
        return [each for each in flat if each is not None]

    def _doubtful(self, maps: np.ndarray, images: np.ndarray) -> bool:
        """Whether coarse maps of each class may as well have channels last, as a layer has them."""
        space = images.shape[1:-1]
        last = 0 in self.axes and maps.ndim == images.ndim and maps.shape[2:] != space
        return last and (_scaled(maps.shape[1:-1], space) or maps.shape[-1] == images.shape[-1] > 1)

    def _told(self, name: str, maps: np.ndarray, images: np.ndarray) -> str:
        """The name of maps; with it that channels were summed, where classes look the same."""
        summed = 0 not in self.axes and maps.ndim == images.ndim and maps.shape[1] > 1
        return f"{name}, {maps.shape[1]} channels summed" if summed else name

    def _other(self, name: str, values: np.ndarray, images: np.ndarray) -> str:
        channels = images.shape[-1]
        whose = f"{self._own(images)}{f' of {channels} channels' if channels > 1 else ''}"
        return (
            f"maps: expected those of images {whose}, got {name} {values.shape}; "
            "spatial_axes=(0, 1) says which axes of ONE image are height and width, three are a "
            "volume's"
        )


def _scaled(coarse: tuple[int, ...], space: tuple[int, ...]) -> bool:
    """Whether `coarse` is `space` divided by one number, up to rounding, and 2 an axis at least."""
    least, most = (
        [size / (each + half) for each, size in zip(coarse, space, strict=True)]
        for half in (0.5, -0.5)
    )
    return min(coarse) > 1 and max(least) < min(most)


def readings(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[Reading]:
    """The ways to read images of that shape, the likeliest first.

    Args:
        axes: the spatial axes of one image, where somebody says which they are.
    """
    rank, few = len(shape), bool(shape) and shape[-1] <= FEW
    if axes:  # a last axis that is short is channels
        return [Reading(batched, axes) for batched in ((False, True) if few else (True, False))]
    if rank == 3 and few:
        return [Reading(False, FLAT), Reading(True, FLAT), Reading(False, DEEP)]
    if rank == 3:  # [N, H, W] is likelier than [C, H, W]
        return [Reading(True, FLAT), Reading(False, LAST), Reading(False, DEEP)]
    if rank == 4:
        own = axes_by_shape(shape[1:])
        images = Reading(True, own if len(own) == 2 else FLAT)
        volume, volumes = Reading(False, DEEP), Reading(True, DEEP)
        return [images, volume, volumes] if few or own else [volumes, volume, images]
    return [Reading(True, DEEP) if rank == 5 else Reading(False, FLAT)]


def fitting(ways: Iterable[Reading], read: Callable[[Reading], Found]) -> dict[Reading, Found]:
    """What is found by those readings that raise nothing, in their order.

    Raises:
        ValueError: of the first reading, where each raises one.
    """
    found: dict[Reading, Found] = {}
    errors = []
    for way in ways:
        try:
            found[way] = read(way)
        except ValueError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found
