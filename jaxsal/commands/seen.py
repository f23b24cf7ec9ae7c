"""Which images made a network: kept beside it, so that none is tested on unawares."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxsal.common.errors import one_line
from jaxsal.common.files import write_atomically
from jaxsal.data import copies
from jaxsal.data.examples import Examples

FILE = "trained_on.npz"
PARTS = ("trained", "validated")
"""Of the images: those that it learned from, and those that chose its epoch."""
PREFIXES = dict(zip(PARTS, ("", "validation_"), strict=True))
"""Of the arrays' names; files of earlier versions know the first part alone."""


def save(folder: Path, training: Examples, validation: Examples) -> None:
    """Writes digests and thumbnails of the images."""
    arrays = dict[str, Any]()
    for prefix, part in zip(PREFIXES.values(), (training, validation), strict=True):
        arrays[f"{prefix}digests"] = np.array(copies.digests(part.images), np.str_)
        arrays[f"{prefix}thumbnails"] = copies.thumbnails(part.images)
    with write_atomically(folder / FILE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


class Among(NamedTuple):
    """Which of N images made a network.

    Attributes:
        trained, validated: bool [N], by their pixels; none is both.
        near: bool [N], nearly identical to one of either.
        unknown: what nobody can tell, and is counted as none; "" where all is known.
    """

    trained: np.ndarray
    validated: np.ndarray
    near: np.ndarray
    unknown: str = ""


def among(folder: Path, images: np.ndarray) -> Among:
    """Which images [N, H, W, C] a checkpoint's network was trained and validated on."""
    none = np.zeros(len(images), bool)
    try:
        kept = _kept(folder / FILE)
        small = np.concatenate([small for _, small in kept.values()])
        near = copies.near(copies.thumbnails(images), small) >= 0
    except FileNotFoundError:
        return Among(none, none, none, f"trained or validated on: the checkpoint has no {FILE}")
    except Exception as error:  # NumPy parses a broken file as zip and Python
        why = f"{FILE} cannot be read ({one_line(error)[:100]})"
        return Among(none, none, none, f"trained or validated on: {why}")
    names, nobody = copies.digests(images), (set[str](), None)
    trained, validated = (
        np.array([name in kept.get(part, nobody)[0] for name in names], bool) for part in PARTS
    )
    unknown = "" if PARTS[1] in kept else f"validated on: {FILE} is of an earlier version"
    return Among(trained, validated & ~trained, near & ~trained & ~validated, unknown)


def words(counts: Mapping[str, int]) -> str:
    """How many images of each part: "92 trained on, 28 validated on"; "" of none."""
    return ", ".join(f"{count} {part} on" for part, count in counts.items() if count)


def _kept(path: Path) -> dict[str, tuple[set[str], np.ndarray]]:
    """What `save` wrote, by part: digests and thumbnails."""
    with np.load(path, allow_pickle=False) as kept:
        return {
            part: ({*kept[f"{prefix}digests"].tolist()} - {""}, kept[f"{prefix}thumbnails"])
            for part, prefix in PREFIXES.items()
            if not prefix or f"{prefix}digests" in kept
        }
