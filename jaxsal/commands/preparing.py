"""Images on their way to a model: labelled by their folders, preprocessed, standardised."""

import io
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from jaxsal.commands.preprocessing import Preprocess
from jaxsal.data import images
from jaxsal.data.pictures import SUFFIXES, Files, Pictures


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
        masks: Path | None = None,
    ) -> None:
        """Takes a source, and what is done to an image of it.

        Args:
            classes: names; an image in a folder of one of them, the nearest, has it as its label.
            masks: a folder with a mask of the same path, perhaps of another suffix, for an image.

        Raises:
            ValueError: a folder without any mask.
        """
        self.source, self.classes = source, classes
        self.preprocess = preprocess or Preprocess()
        self._labels = {name.casefold(): label for label, name in enumerate(classes)}
        self.text = ", ".join(filter(None, (source.text, self.preprocess.text)))
        self.masks = None if masks is None else Path(os.path.expanduser(masks))
        root = source.root if isinstance(source, Files) else None
        if self.masks is not None and root is not None and self.masks.resolve() == root.resolve():
            raise ValueError(f"masks: expected another folder than the images', got {masks}")
        if self.masks is not None and not any(map(self._mask, range(len(source)))):
            raise ValueError(
                f"masks: no file in {masks} has the path of an image, such as {self._name(0)!r}"
            )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        record = dict(self.source[number])
        if "label" not in record and (label := self._label(record)) is not None:
            record["label"] = label
        return {**record, "image": self.preprocess(np.asarray(record["image"]))}

    def original(self, number: int) -> np.ndarray:
        """The image as it is drawn: of its own size where the source can say, not standardised.

        What a preprocessing gave another form is drawn as it went to the model.
        """
        record = np.asarray(self.source[number]["image"])
        prepared = self.preprocess.processed(record)
        if prepared.shape[:2] != record.shape[:2]:
            return prepared
        own = getattr(self.source, "original", None)
        return record if own is None else np.asarray(own(number))

    def mask(self, number: int, size: tuple[int, int]) -> np.ndarray | None:
        """The mask of an image of that height and width; None where it has none.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        path = self._mask(number) if self.masks is not None else None
        if path is None:
            return None
        return np.asarray(Image.open(io.BytesIO(images.mask(path, (size[1], size[0])))), bool)

    def _name(self, number: int) -> str:
        return self.source.name(number) if isinstance(self.source, Files) else str(number)

    def _mask(self, number: int) -> Path | None:
        assert self.masks is not None
        stem = self.masks / self._name(number)
        places = [stem, *(stem.with_suffix(suffix) for suffix in SUFFIXES)]
        return next((place for place in places if place.is_file()), None)

    def check_labels(self) -> None:
        """Raises where files lie in no folder of a class.

        Raises:
            ValueError: so; it names the folders.
        """
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

    def _label(self, record: Mapping[str, Any]) -> int | None:
        """The class that the nearest folder above an image is named after, in any case."""
        found = [self._labels.get(each.casefold()) for each in reversed(self._folders(record))]
        return next((label for label in found if label is not None), None)

    def _folders(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """The folders of an image below the source's, and that one's own name, outermost first."""
        inner = PurePath(str(record.get("name", ""))).parent.parts
        root = self.source.root if isinstance(self.source, Files) else None
        return inner if root is None else (root.absolute().name, *inner)
