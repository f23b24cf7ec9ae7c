"""Writes heads of the phantom as NIfTI, with masks of their tumours: a folder to train on.

    python -m experiments.heads --out runs/heads
    jaxsal train --volumes --images runs/heads --out runs/heads-net --image-size 32
      --widths 16 32 64 --dropout 0 --batch-size 8 --epochs 20
    jaxsal evaluate --checkpoint runs/heads-net --images runs/heads --out runs/heads-test

A head is `<class>/head_<number>.nii.gz`, its mask `head_<number>_seg.nii.gz` beside it. 400 of
32x32x32 voxels take half a minute on two CPU cores, the training three minutes.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import tyro

from jaxsal.data.phantom import volume
from jaxsal.data.phantom.anatomy import FIELD_OF_VIEW

LEVELS = 1000
"""Of grey, in a file."""


@dataclass(frozen=True)
class Settings:
    """Which heads."""

    out: Path = Path("runs/heads")
    """The folder to write into."""
    count: int = 400
    """How many."""
    size: int = 32
    """Voxels a side, 32 or more."""
    seed: int = 0
    """Of everything."""


def write(settings: Settings) -> Path:
    """Writes the files; returns their folder."""
    examples = volume.dataset(settings.seed, settings.count, size=settings.size).examples
    affine = placed(settings.size)
    for name, image, mask in zip(examples.names, examples.images, examples.masks, strict=True):
        label, number = str(name).split("/")
        path = settings.out / label / f"head_{int(number):04}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.rint(LEVELS * image[..., 0]).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, affine), path)
        if mask.any():
            outline = nibabel.Nifti1Image(mask.astype(np.uint8), affine)
            nibabel.save(outline, path.with_name(f"head_{int(number):04}_seg.nii.gz"))
    return settings.out


def placed(size: int) -> np.ndarray:
    """The affine of a head: millimetres right, anterior and superior of the sella."""
    low, high = volume.HEIGHTS
    flat, wide = (high - low) / (size - 1), FIELD_OF_VIEW / size
    affine = np.diag([wide, wide, flat, 1.0])
    affine[:3, 3] = (wide - FIELD_OF_VIEW) / 2, (wide - FIELD_OF_VIEW) / 2, low
    return affine


if __name__ == "__main__":
    print(write(tyro.cli(Settings)))
