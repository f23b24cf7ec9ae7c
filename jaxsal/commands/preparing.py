"""Images on their way to a model: labelled by their folders, preprocessed, standardised."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from jaxsal.commands import moved_pixels
from jaxsal.commands.folder_labels import FolderLabels
from jaxsal.commands.outlined import Outlined
from jaxsal.commands.preprocessing import Preprocess
from jaxsal.commands.set_labels import SetLabels
from jaxsal.data import images
from jaxsal.data.array_records import Arrays
from jaxsal.data.pictures import Files, Pictures


class Images:
    """A source of records, each as the model takes it, and as it is drawn.

    Attributes:
        text: says what they are, and what was done to them.
    """

    def __init__(
        self,
        source: Pictures,
        *,
        classes: tuple[str, ...] = (),
        preprocess: Preprocess | None = None,
        outlined: Outlined | None = None,
    ) -> None:
        """Takes a source, and what is done to an image of it.

        Args:
            classes: names; an image in a folder of one of them has it as its label, and one of a
                TFDS set of named classes that of the same name.
            outlined: their masks, where they are drawn.
        """
        self.source, self.classes = source, classes
        self.preprocess = preprocess or Preprocess()
        self._folder_labels = FolderLabels(source, classes)
        self._set_labels = SetLabels(source, classes)
        self.text = ", ".join(filter(None, (source.text, self.preprocess.text)))
        self._outlined = outlined

    @property
    def outlined(self) -> Outlined | None:
        """The masks that are drawn: none on images whose pixels a preprocessing moves."""
        return None if self._outlined is None or self.moved else self._outlined

    @cached_property
    def moved(self) -> bool | None:
        """Whether the preprocessing moves pixels; None where no image tells."""
        return self.preprocess.moves(self._some())

    def _some(self) -> Iterator[np.ndarray]:
        """Some images that can be read."""
        for number in moved_pixels.some(len(self)):
            try:
                yield np.asarray(self.source[number]["image"])
            except images.READ_ERRORS:  # told where it is explained
                continue

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        record = dict(self.source[number])
        label = self._label(number, record)
        record |= {} if label is None else {"label": label}
        return {**record, "image": self.preprocess(np.asarray(record["image"]))}

    def original(self, number: int) -> np.ndarray:
        """The image as it is drawn: of its own size where the source can say, not standardised.

        What a preprocessing gave another form, or moved, is drawn as it went to the model.
        """
        record = np.asarray(self.source[number]["image"])
        prepared = self.preprocess.processed(record)
        if self.moved or prepared.shape[:2] != record.shape[:2]:
            return prepared
        own = getattr(self.source, "original", None)
        return record if own is None else np.asarray(own(number))

    def seen_from_feet(self, number: int) -> bool:
        """Whether an image is a volume from left to right, back to front, feet to head."""
        if not isinstance(self.source, Files) or not self.source.wanted.volumes:
            return False
        return self.source.scans[self.source.row(number).scan].affine is not None

    def names(self) -> list[str] | None:
        """Of its images, in order; None of a set, whose records are asked when they are read."""
        if isinstance(self.source, Files):
            return [self.source.name(number) for number in range(len(self))]
        return [str(n) for n in self.source.numbers] if isinstance(self.source, Arrays) else None

    @property
    def has_stacks(self) -> bool:
        """Whether some images are slices of one scan."""
        return isinstance(self.source, Files) and self.source.has_stacks

    def notes(self) -> list[str]:
        """What was done to images so far, and whose labels are left out."""
        return [*self._set_labels.notes(), *self.source.notes()]

    def warnings(self) -> tuple[str, ...]:
        """What speaks against pictures of them: that a preprocessing moves pixels, or may do so."""
        if self.moved:
            told = "pictures show images as it leaves them, without masks"
            return (f"{self.preprocess.moved_text()}: {told}.",)
        return self.preprocess.unknown_warning() if self.moved is None else ()

    def check_labels(self) -> None:
        """Raises where files lie in no folder of a class, and where a set has others.

        Raises:
            ValueError: as of `FolderLabels.check` and `SetLabels.check`.
        """
        self._folder_labels.check()
        self._set_labels.check()

    def _label(self, number: int, record: dict[str, Any]) -> Any:
        """The network's label of an image, None without one; the record's own is taken out."""
        if "label" in record:
            return self._set_labels.of(record.pop("label"))
        return self._folder_labels.of(number, record)
