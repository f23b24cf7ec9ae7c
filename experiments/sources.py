"""The study's data sets: how each is loaded, and the settings that suit it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jaxsal.data import phantom
from jaxsal.data.examples import Dataset
from jaxsal.data.reading import Reading


@dataclass(frozen=True)
class DataSet:
    """How a data set is loaded, and the settings that are used with it by default."""

    load: Callable[..., Dataset]
    """`load(data_dir, count=, image_size=, seed=, strict=, reading=) -> Dataset`."""
    image_size: int
    epochs: int
    batch_size: int
    widths: tuple[int, ...]
    validation_fold: int
    """0 = none."""
    explain: int
    """Test images that are explained; 0 = all."""
    control: bool = False
    """Whether it is made to test an experiment by, and says nothing of brain tumours."""
    reads: bool = False
    """Whether the options of reading a folder (`Reading`) mean something to it."""


def _phantom(
    data_dir: Path | None,
    *,
    count: int,
    image_size: int,
    seed: int,
    family: str = "tumours",
    **_: Any,
) -> Dataset:
    if data_dir is not None:
        raise ValueError(f"data_dir: phantoms are generated, got {data_dir}; expected none")
    return phantom.dataset(seed, count, size=image_size, family=family)


def _figshare(data_dir: Path | None, *, image_size: int, strict: bool, **_: Any) -> Dataset:
    from jaxsal.data import pipeline  # TFDS and Grain, which phantoms do without

    return pipeline.figshare(data_dir, image_size=image_size, strict=strict)


def _folder(
    data_dir: Path | None, *, image_size: int, strict: bool, reading: Reading, **_: Any
) -> Dataset:
    if data_dir is None:
        raise ValueError("data_dir: a folder of labelled images is needed with --data folder")
    from jaxsal.data import pipeline

    return pipeline.folder(data_dir, image_size=image_size, strict=strict, reading=reading)


SOURCES: dict[str, DataSet] = {
    # Four stages and fourteen epochs are enough for phantoms: there are as many as one likes.
    "phantom": DataSet(_phantom, 64, 14, 64, (16, 32, 64, 128), 4, 240),
    # Classes that differ in the outline alone: `tumor_shape` has to find it.
    "shapes": DataSet(
        partial(_phantom, family="shapes"), 64, 14, 64, (16, 32, 64, 128), 4, 240, control=True
    ),
    # Real slices are few: all folds but the tested one train, none is held out to stop early.
    # After the fifth stage a value sees the whole head: of folds 3 and 4, networks of folds 1 and 2
    # know 0.848 with it and 0.814 without (24 epochs, 128x128).
    "figshare": DataSet(_figshare, 64, 60, 32, (32, 64, 128, 256, 256), 0, 0),
    "folder": DataSet(_folder, 64, 60, 32, (32, 64, 128, 256, 256), 0, 0, reads=True),
}
"""By name; a new data set is one row here."""

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[tuple(SOURCES)]
    """A data set's name: the choices of a command's option."""
