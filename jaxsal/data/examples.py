"""The nouns of the data part: examples in host memory, and a dataset of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32


class Examples(NamedTuple):
    """N labelled images in host memory, one row of every array per example.

    Attributes:
        images: float32 [N, H, W, C] or, of volumes, [N, X, Y, Z, C], in [0, 1].
        labels: int32 [N], an index into the dataset's classes.
        masks: bool of the images' space, the object's pixels; all False where there is none.
        folds: int32 [N], the cross-validation fold from 1 on; 0 where unknown.
        patients: str [N]; "" where unknown.
        names: str [N], where the example came from, such as "glioma/1841.png".
    """

    images: Float32[np.ndarray, "N *space C"]
    labels: Int32[np.ndarray, " N"]
    masks: Bool[np.ndarray, " N *space"]
    folds: Int32[np.ndarray, " N"]
    patients: np.ndarray
    names: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Examples with the names of their classes and the story of their reading.

    Attributes:
        examples: every readable example.
        classes: the name of label 0, 1, ...
        source: one line saying where the examples came from.
        skipped: the files that could not be read, each with its reason.
        notes: what was converted, resized or assumed on the way.
        parts: str [N], "train", "validation" or "test", where the source itself is split.
        left_out: the files that are no examples, each with the reason.
        guessed: whether patients are guessed from names, not given.
        dealt: whether folds were dealt to it, as the source has no split.
        cached: where the images were prepared; "" where they were not.
    """

    examples: Examples
    classes: tuple[str, ...]
    source: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    parts: np.ndarray | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    guessed: bool = False
    dealt: bool = False
    cached: str = ""
