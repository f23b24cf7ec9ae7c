"""Images on their way to a model: labelled by their folders, preprocessed, standardised."""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from jaxsal.commands.outlined import Outlined
from jaxsal.common.errors import one_line
from jaxsal.data.pictures import Files, Pictures

Preprocess = Callable[[np.ndarray], Any]


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
        preprocess: tuple[str, Preprocess] | None = None,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        outlined: Outlined | None = None,
    ) -> None:
        """Takes a source, and what is done to an image [H, W, C] of it, in this order.

        Args:
            classes: names; an image in a folder of one of them, the nearest, has it as its label.
            preprocess: a function of an image, and its name.
            mean, std: one, or one a channel; nothing is subtracted, or divided by, without.
            outlined: their masks, where they are drawn.

        Raises:
            ValueError: a mean that is not finite, a standard deviation that is not above zero.
        """
        self.source, self.classes, self.preprocess = source, classes, preprocess
        self._labels = {name.casefold(): label for label, name in enumerate(classes)}
        self.mean, self.std = np.array(mean or [0.0]), np.array(std or [1.0])
        if not np.isfinite(self.mean).all():
            raise ValueError(f"mean: expected finite numbers, got {mean}")
        if not (np.isfinite(self.std) & (self.std > 0)).all():
            raise ValueError(f"std: expected numbers above 0, got {std}")
        done = [f"preprocess {preprocess[0]}"] if preprocess else []
        done += [f"{name} {values}" for name, values in (("mean", mean), ("std", std)) if values]
        self.text = ", ".join([source.text, *done])
        self.outlined = outlined

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        record = dict(self.source[number])
        if "label" not in record and (label := self._label(record)) is not None:
            record["label"] = label
        return {**record, "image": self._prepared(np.asarray(record["image"]))}

    def original(self, number: int) -> np.ndarray:
        """The image as it is drawn: of its own size where the source can say, not standardised.

        What a preprocessing gave another form is drawn as it went to the model.
        """
        record = np.asarray(self.source[number]["image"])
        if self.preprocess is not None:
            prepared = self._processed(record)
            if prepared.shape[:2] != record.shape[:2]:
                return prepared
        own = getattr(self.source, "original", None)
        return record if own is None else np.asarray(own(number))

    def seen_from_feet(self, number: int) -> bool:
        """Whether an image is a volume from left to right, back to front, feet to head."""
        if not isinstance(self.source, Files) or not self.source.wanted.volumes:
            return False
        return self.source.scans[self.source.row(number).scan].affine is not None

    def _processed(self, image: np.ndarray) -> np.ndarray:
        if self.preprocess is None:
            return image
        name, function = self.preprocess
        try:
            return np.asarray(function(image), np.float32)
        except Exception as error:  # a user's function may raise whatever it likes
            raise ValueError(f"preprocess: {name} raised {one_line(error)[:200]}") from error

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        image = self._processed(image)
        if image.dtype.kind != "f":
            return image
        image = (image - self._along(image, self.mean)) / self._along(image, self.std)
        return image.astype(np.float32)

    def _along(self, image: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values along the channels of an image, its last axis or its first."""
        if len(values) == 1 or image.shape[-1] == len(values):
            return values
        if image.shape[0] == len(values):
            return values.reshape(-1, *[1] * (image.ndim - 1))
        raise ValueError(
            f"mean, std: expected one, or one a channel of an image {image.shape}; got "
            f"{len(values)}"
        )

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
