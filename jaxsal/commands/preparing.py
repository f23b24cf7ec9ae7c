"""Images on their way to a model: labelled by their folders, preprocessed, standardised."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np

from jaxsal.commands import places
from jaxsal.commands.outlined import Outlined
from jaxsal.commands.preprocessing import Preprocess
from jaxsal.data import images
from jaxsal.data.array_records import Arrays
from jaxsal.data.pictures import Files, Pictures, Prepared


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
            classes: names; an image in a folder of one of them, the nearest, has it as its label,
                and one of a TFDS set of named classes that of the same name, in any case.
            outlined: their masks, where they are drawn.
        """
        self.source, self.classes = source, classes
        self.preprocess = preprocess or Preprocess()
        self._labels = {name.casefold(): label for label, name in enumerate(classes)}
        self._set = source.classes if isinstance(source, Prepared) and classes else ()
        self._of_set = {n: self._labels.get(name.casefold()) for n, name in enumerate(self._set)}
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
        for number in places.some(len(self)):
            try:
                yield np.asarray(self.source[number]["image"])
            except images.READ_ERRORS:  # told where it is explained
                continue

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        record = dict(self.source[number])
        label = self._own(record.pop("label")) if "label" in record else self._label(record)
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
        strange = [self._set[n] for n, label in self._of_set.items() if label is None]
        told = f"labels of the set's classes {strange} left out: no class of the network"
        return [*([told] if strange else []), *self.source.notes()]

    def warnings(self) -> tuple[str, ...]:
        """What speaks against pictures of them: that a preprocessing moves pixels, or may do so."""
        if self.moved:
            told = "pictures show images as it leaves them, without masks"
            return (f"{self.preprocess.moving()}: {told}.",)
        return self.preprocess.unknown() if self.moved is None else ()

    def check_labels(self) -> None:
        """Raises where files lie in no folder of a class, and where a set has others.

        Raises:
            ValueError: so; it names the folders, or the set's classes.
        """
        if self._of_set and not any(label is not None for label in self._of_set.values()):
            raise ValueError(
                f"targets: label, but the classes of the set are {[*self._set[:5]]}, none a class "
                f"of the network: {list(self.classes)}"
            )
        if not isinstance(self.source, Files):
            return
        names = [self.source.name(number) for number in range(len(self.source))]
        if any(self._label({"name": name}) is not None for name in names):
            return
        folders = sorted({each for name in names for each in self._folders({"name": name})})
        raise ValueError(
            f"targets: label, but the folders of the images are {folders[:5]}, none a class of the "
            f"network: {list(self.classes) or 'unknown names'}"
        )

    def _own(self, label: Any) -> Any:
        """A record's own label, of a set with names the network's of the same name, if any."""
        return self._of_set.get(int(label)) if self._set else label

    def _label(self, record: Mapping[str, Any]) -> int | None:
        """The class that the nearest folder above an image is named after, in any case."""
        found = [self._labels.get(each.casefold()) for each in reversed(self._folders(record))]
        return next((label for label in found if label is not None), None)

    def _folders(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """The folders of an image below the source's, and that one's own name, outermost first."""
        inner = PurePath(str(record.get("name", ""))).parent.parts
        root = self.source.root if isinstance(self.source, Files) else None
        return inner if root is None else (root.absolute().name, *inner)
