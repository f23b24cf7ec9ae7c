"""Which images a network was trained on: kept beside it, so that none is tested on unawares."""

from pathlib import Path

import numpy as np

from jaxsal.common.files import write_atomically
from jaxsal.data import copies
from jaxsal.data.examples import Examples

FILE = "trained_on.npz"


def save(folder: Path, training: Examples) -> None:
    """Writes digests and thumbnails of the images."""
    digests, small = np.array(copies.digests(training.images)), copies.thumbnails(training.images)
    with write_atomically(folder / FILE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, digests=digests, thumbnails=small)


def among(folder: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which images [N, H, W, C] are identical, and which nearly, to one trained on; bool [N] each.

    None is where the folder does not say.
    """
    none = np.zeros(len(images), bool)
    try:
        with np.load(folder / FILE, allow_pickle=False) as kept:
            digests, small = {*kept["digests"].tolist()} - {""}, kept["thumbnails"]
    except (OSError, ValueError, KeyError):
        return none, none
    identical = np.array([name in digests for name in copies.digests(images)], bool)
    near = copies.near(copies.thumbnails(images), small) >= 0
    return identical, near & ~identical
