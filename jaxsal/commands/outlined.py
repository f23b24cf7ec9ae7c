"""The masks of a source's images, where they lie beside them or in a folder of their own."""

import os
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import Bool

from jaxsal.data import images
from jaxsal.data.array_records import Arrays
from jaxsal.data.outlines import Outlines, Unused
from jaxsal.data.pictures import Files, Pictures, Prepared, masks_elsewhere
from jaxsal.data.wanted import MOST_CHANNELS


class Outlined:
    """Masks by the number of the image.

    Attributes:
        files: every mask file that was found. used: those that are.
        left: files that are not used, the images' own and masks, `(name, reason)`.
        without: how many images have none; None where no image has one.
        notes: of masks that several images share, which do not have them, and why.
    """

    def __init__(self, source: Pictures, folder: Path | None) -> None:
        """Finds them in the folder, else beside the images as `jaxsal train` does.

        Raises:
            ValueError: as of `masks_elsewhere`.
        """
        self.source, self._found = source, dict[str, tuple[Path, ...]]()
        self._outlines: Outlines | None = None
        if isinstance(source, Files):
            self._found = {name: tuple(own) for name, own in source.masks.items()}
            names = [name for scan in source.scans for name in scan.names or (scan.name,)]
        else:
            names = [str(number) for number in range(len(source))]
        if folder is not None:
            root = source.root if isinstance(source, Files) else None
            found = masks_elsewhere([PurePath(name) for name in names], folder, root)
            self._found = {os.fspath(image): own for image, own in found.items()}
        self.files = {path for own in self._found.values() for path in own}
        if isinstance(source, Files):
            self._outlines = Outlines(source, self._found)
            unused = self._outlines.unused
        else:
            unused = self._unlike(source)
        left, self.notes = unused.left, unused.notes()
        self.used = {path for own in self._found.values() for path in own} - {*left}
        self.left = (
            *(each for each in source.left if not self._is(each[0], self.used | {*left})),
            *((path.name, reason) for path, reason in left.items()),
        )
        bare = sum(not self._files(number) for number in range(len(source) if self._found else 0))
        self.without = bare if self._found else None

    @property
    def empty(self) -> set[Path]:
        """Masks without a pixel, of those that were drawn."""
        return set() if self._outlines is None else self._outlines.empty

    def _unlike(self, source: Arrays | Prepared) -> Unused:
        """Takes away the masks that are not shaped as their images, and says why."""
        pairs = {}
        for name, path in [(name, path) for name, own in self._found.items() for path in own]:
            try:
                images.check_mask(images.sizes(path)[0], _plane(source, int(name)))
            except images.READ_ERRORS as error:
                pairs[name, path] = str(error)
        for name, own in self._found.items():
            self._found[name] = tuple(path for path in own if (name, path) not in pairs)
        used = {path for own in self._found.values() for path in own}
        return Unused(pairs, {path: why for (_, path), why in pairs.items() if path not in used})

    def _is(self, name: str, masks: set[Path]) -> bool:
        """Whether a file that is no image is one of the masks."""
        root = self.source.root if isinstance(self.source, Files) else None
        return root is not None and root / name in masks

    def _files(self, number: int) -> tuple[Path, ...]:
        if self._outlines is None:
            return self._found.get(str(number), ())
        return self._outlines.files(number)

    def picture(self, number: int, size: tuple[int, int]) -> Bool[np.ndarray, "H W"] | None:
        """The mask of a picture or a slice of that height and width; None where it has none.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        if not (own := self._files(number)):
            return None
        height, width = size
        if self._outlines is None:
            return images.outline(images.masks(own, (width, height)))
        return images.outline(self._outlines.encoded(number, (width, height)))

    def volume(self, number: int) -> Bool[np.ndarray, "X Y Z"] | None:
        """The mask of a volume at its own voxels; None where it has none.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        if self._outlines is None or not self._outlines.files(number):
            return None
        return self._outlines.array(number)


def _plane(source: Arrays | Prepared, number: int) -> tuple[int, int]:
    """Height and width of an image, before it is resized."""
    shape = np.shape(
        source.values[number] if isinstance(source, Arrays) else source.original(number)
    )
    first = len(shape) == 3 and shape[-1] > MOST_CHANNELS >= shape[0]
    height, width, *_ = shape[1:] if first else shape
    return height, width
