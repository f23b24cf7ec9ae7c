"""Which images a network was trained on: kept beside it, so that none is tested on unawares."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsal.common.errors import one_line
from jaxsal.common.files import write_atomically
from jaxsal.data import copies
from jaxsal.data.examples import Examples

FILE = "trained_on.npz"


def save(folder: Path, training: Examples) -> None:
    """Writes digests and thumbnails of the images."""
    digests, small = np.array(copies.digests(training.images)), copies.thumbnails(training.images)
    with write_atomically(folder / FILE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, digests=digests, thumbnails=small)


class Among(NamedTuple):
    """Which of N images a network was trained on.

    Attributes:
        identical, near: bool [N]: to one trained on, exactly or nearly.
        unknown: why nobody can tell, and none is; "" where it is known.
    """

    identical: np.ndarray
    near: np.ndarray
    unknown: str = ""


def among(folder: Path, images: np.ndarray) -> Among:
    """Which images [N, H, W, C] a checkpoint's network was trained on."""
    none = np.zeros(len(images), bool)
    try:
        digests, small = _kept(folder / FILE)
        near = copies.near(copies.thumbnails(images), small) >= 0
    except FileNotFoundError:
        return Among(none, none, f"the checkpoint has no {FILE}")
    except Exception as error:  # NumPy parses a broken file as zip and Python
        return Among(none, none, f"{FILE} cannot be read ({one_line(error)[:100]})")
    identical = np.array([name in digests for name in copies.digests(images)], bool)
    return Among(identical, near & ~identical)


def _kept(path: Path) -> tuple[set[str], np.ndarray]:
    """What `save` wrote: digests and thumbnails."""
    with np.load(path, allow_pickle=False) as kept:
        return {*kept["digests"].tolist()} - {""}, kept["thumbnails"]
