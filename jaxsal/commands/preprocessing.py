"""What images in [0, 1] go through before a model that takes others: a function, mean and std."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from jaxsal.commands import model, moved_pixels
from jaxsal.commands.settings import Preprocessing
from jaxsal.common.errors import one_line


class Preprocess:
    """An image [H, W, C] as a model takes it: through a function, then standardised.

    Attributes:
        text: says what is done, "" for nothing.
    """

    def __init__(self, asked: Preprocessing = Preprocessing()) -> None:  # noqa: B008
        """Takes what is done, in the order of the options.

        Raises:
            ValueError: no such function, a mean that is not finite, a standard deviation that is
                not above zero.
        """
        self.name = asked.preprocess
        self._function: Callable[[np.ndarray], Any] | None = None
        if self.name is not None:
            self._function = model.function("preprocess", self.name)[0]
        self._mean, self._std = np.array(asked.mean or [0.0]), np.array(asked.std or [1.0])
        if not np.isfinite(self._mean).all():
            raise ValueError(f"mean: expected finite numbers, got {asked.mean}")
        if not (np.isfinite(self._std) & (self._std > 0)).all():
            raise ValueError(f"std: expected numbers above 0, got {asked.std}")
        named = {"mean": asked.mean, "std": asked.std}
        done = [f"preprocess {self.name}"] if self.name is not None else []
        self.text = ", ".join([*done, *(f"{name} {v}" for name, v in named.items() if v)])

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The image through all of it, float32; one that is not floating is not standardised.

        Raises:
            ValueError: the function failed, or there is another number of means than of channels.
        """
        image = self.processed(image)
        if image.dtype.kind != "f":
            return image
        image = (image - self._along(image, self._mean)) / self._along(image, self._std)
        return image.astype(np.float32)

    def of_all(self, images: np.ndarray) -> np.ndarray:
        """The same of images [N, H, W, C].

        Raises:
            ValueError: as of one.
        """
        return np.stack([self(image) for image in images]) if self.text else images

    def processed(self, image: np.ndarray) -> np.ndarray:
        """The image through the function alone.

        Raises:
            ValueError: it failed.
        """
        if self._function is None:
            return image
        try:
            found = self._function(image)
            if np.ndim(found) == 0:
                raise TypeError(f"expected an array, got {type(found).__name__}")
            return np.asarray(found, np.float32)
        except Exception as error:  # a user's function may raise whatever it likes
            text = f"preprocess: {self.name} raised {one_line(error)[:200]}"
            raise ValueError(text) from error

    def moves(self, images: Iterable[np.ndarray]) -> bool | None:
        """Whether the function moves pixels of the images, as far as some tell; None: none does."""
        if self._function is None:
            return False
        try:
            return moved_pixels.moves(self.processed, images)
        except ValueError:  # told where the images themselves go through it
            return None

    def moved_text(self) -> str:
        """Words for that the function moves pixels."""
        return f"--preprocess {self.name} moves pixels, as marks on an image show"

    def unknown_warning(self) -> tuple[str, ...]:
        """A warning that it is not known whether the function moves pixels."""
        told = "maps lie on images, masks and scans as they are before it"
        leaves = f"--preprocess {self.name} leaves pixels where they are, as it must"
        return (f"No mark on an image shows whether {leaves}: {told}.",)

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
