"""Scans in class folders as labelled volumes in memory, and volumes of the phantom."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxsal.data import pictures, splits
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.listing import directory
from jaxsal.data.patients import numbered
from jaxsal.data.pictures import BrokenImage
from jaxsal.data.records import Files
from jaxsal.data.wanted import Wanted

READERS = 4
"""Threads; each holds a whole scan."""


def folder(data_dir: Path | str, *, image_size: int, strict: bool = False) -> Dataset:
    """Reads `<class>/**` of NIfTI, MetaImage, DICOM series and other scans.

    Volumes are made cubes with zeros and resampled to `image_size`. Patients are those of the files
    where they say so, else the folders below the class's; scans of neither are one's own each.

    Raises:
        ValueError: no directory of scans in two class folders or more; with `strict`, a broken one.
    """
    root = directory(data_dir)
    found = pictures.find(str(root), wanted=Wanted(image_size, 1, volumes=True))
    assert isinstance(found, Files)
    read, broken = _read(found)
    if strict and broken:
        raise ValueError(f"strict: {len(broken)} broken files: {'; '.join(broken[:5])}")
    names = [found.name(number) for number in read]
    apart = [name for name in names if "/" not in name]
    labels = [name.split("/")[0] for name in names if "/" in name]
    classes = tuple(sorted(set(labels)))
    if apart or len(classes) < 2:
        loose = f", {apart[:3]} in none" if apart else ""
        raise ValueError(
            f"images: scans in the folders {list(classes)}{loose}; expected two or more folders, "
            "one for each class"
        )
    scans = [found.scans[found.row(number).scan] for number in read]
    patients = [s.patient or _patient(n) for s, n in zip(scans, names, strict=True)]
    volumes = np.stack([read[number] for number in read])
    examples = Examples(
        volumes,
        np.array([classes.index(label) for label in labels], np.int32),
        np.zeros(volumes.shape[:-1], bool),
        np.array(splits.deal(patients, labels), np.int32),
        np.array(numbered(patients)),
        np.array(names),
    )
    source = f"volumes in {data_dir}"
    notes = tuple(found.notes())
    return Dataset(examples, classes, source, tuple(broken), notes, left_out=found.left)


def middle(volumes: np.ndarray) -> np.ndarray:
    """The axial slice in the middle of volumes [N, X, Y, Z, ...], as it is seen: [N, H, W, ...]."""
    return volumes[:, ::-1, ::-1, volumes.shape[3] // 2].swapaxes(1, 2)


def _read(found: Files) -> tuple[dict[int, np.ndarray], Sequence[str]]:
    """The volumes by their number, and what cannot be read, with its reason."""

    def one(number: int) -> np.ndarray | BrokenImage:
        try:
            image: np.ndarray = found[number]["image"]
            return image
        except BrokenImage as error:
            return error

    with ThreadPoolExecutor(READERS) as pool:
        every = list(pool.map(one, range(len(found))))
    broken = [f"{e.source_name}: {e}" for e in every if isinstance(e, BrokenImage)]
    return {n: v for n, v in enumerate(every) if not isinstance(v, BrokenImage)}, broken


def _patient(name: str) -> str:
    """Whose scan it is, by the folder between the class's and the file, or the scan's own."""
    parts = name.split("/")
    return parts[1] if len(parts) > 2 else name
