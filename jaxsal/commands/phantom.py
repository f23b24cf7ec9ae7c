"""`jaxsal phantom`: generated heads with tumours as files, to try the other commands on."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxsal.commands.settings import Phantom
from jaxsal.common import files
from jaxsal.data import images, nifti, phantom, understood
from jaxsal.data.examples import Dataset
from jaxsal.data.phantom import volume
from jaxsal.data.scans import Scan, Values


def run(settings: Phantom) -> dict[str, Any]:
    """Runs the command; returns what it prints under `--json`.

    Raises:
        ValueError: a folder that is not empty, or numbers out of their ranges.
    """
    with files.writable(settings.out) as folder:
        if any(folder.iterdir()):
            raise ValueError(f"out: {folder} is not empty; expected a folder of its own")
        generate = volume.dataset if settings.volumes else phantom.dataset
        dataset = generate(settings.seed, settings.count, size=settings.image_size)
        write(folder, dataset)
    masks = dataset.examples.masks.reshape(settings.count, -1).any(1)
    return {
        "out": str(settings.out),
        "classes": understood.counts(dataset.examples, dataset.classes),
        "masks": int(masks.sum()),
        "source": dataset.source,
    }


def write(folder: Path, dataset: Dataset) -> None:
    """Writes each image as `<class>/<number>.png`, each volume as .nii.gz, masks beside them."""
    examples = dataset.examples
    for name, image, mask in zip(examples.names, examples.images, examples.masks, strict=True):
        kind, encoded = (".png", _png) if mask.ndim == 2 else (".nii.gz", _nifti)
        files.write_result(folder / f"{name}{kind}", encoded(image[..., 0]))
        if mask.any():
            files.write_result(folder / f"{name}_mask{kind}", encoded(mask.astype(np.float32)))


def _png(values: np.ndarray) -> bytes:
    return images.png(Image.fromarray(np.rint(255 * values).astype(np.uint8)))


def _nifti(values: np.ndarray) -> bytes:
    scan = Scan("", _unread, affine=volume.affine(len(values)))
    return gzip.compress(nifti.encoded(scan, values[None]), 6, mtime=0)


def _unread(channels: int) -> Values:
    raise AssertionError("what is written is not read")
