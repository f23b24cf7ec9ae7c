"""How public collections of images are laid out: the files of each, as few as will do."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from jaxsal.data.listing import Item

COUNT = 5

Names = list[str]


def _each(pattern: str, **words: Iterable[object]) -> Names:
    """The names of a pattern for every combination of its words."""
    names = [pattern]
    for word, values in words.items():
        names = [name.replace(f"<{word}>", str(value)) for name in names for value in values]
    return names


N = range(COUNT)
YES_NO = _each("<c>/<c><n>.jpg", c=["yes", "no"], n=N)
TRAINING_TESTING = _each(
    "<s>/<c>/Tr-<c>_<n>.jpg", s=["Training", "Testing"], c=["glioma", "notumor"], n=N
)
CHEST = _each("<s>/<c>/person<n>_virus_1.jpeg", s=["train"], c=["NORMAL", "PNEUMONIA"], n=N)
CHEST += _each("<s>/<c>/q<n>_virus_1.jpeg", s=["test", "val"], c=["NORMAL", "PNEUMONIA"], n=N)
BESIDE = _each("<c>/<c> (<n>).png", c=["benign", "malignant"], n=N)
BESIDE += _each("<c>/<c> (<n>)_mask.png", c=["benign", "malignant"], n=N)
SEVERAL = [*BESIDE, "benign/benign (1)_mask_1.png", "benign/benign (1)_mask_2.png"]
PARALLEL = _each("<h>/<c>/p<n>_1.tif", h=["IMAGES", "MASKS"], c=["a", "b"], n=N)
IN_CLASS = _each("<c>/<h>/<c>-<n>.png", c=["COVID", "Normal"], h=["images", "masks"], n=N)
FLAT = _each("<h>/ISIC_<n>.bmp", h=["images"], n=range(2 * COUNT))
FLAT += _each("annotations/ISIC_<n>_segmentation.png", n=range(2 * COUNT))
BUS_BRA = _each("BUSBRA/Images/bus_<n>-<s>.png", n=range(1000, 1010), s="lr")
BUS_BRA += _each("BUSBRA/Masks/mask_<n>-<s>.png", n=range(1000, 1010), s="lr")
BUS_BRA = _each("BUSBRA/Images/bus_<n>-<s>.png", n=range(1000, 1010), s="lr")
BUS_BRA += _each("BUSBRA/Masks/mask_<n>-<s>.png", n=range(1000, 1010), s="lr")
WITH_MASK = _each("<c>/<n>.webp", c=["with_mask", "no_mask"], n=N)


def write(root: Path, names: Names) -> Path:
    """Files of these names: pictures no two of which are alike, and masks of a square."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16)).astype(np.uint8)
        if "mask" in name.lower().split("/")[-1] or name.lower().startswith(("masks", "anno")):
            pixels[:] = 0
            pixels[4 * (number % 3) : 4 * (number % 3) + 4, :8] = 255
        Image.fromarray(pixels).save(path)
    return root


def touch(root: Path, names: Names) -> Path:
    """Files of these names with nothing in them: a listing opens none."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table(path: Path, header: str, rows: Iterable[Iterable[object]]) -> Path:
    """A CSV file."""
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def masks(item: Item) -> Names:
    """The names of the mask files of a slice that is listed."""
    outline = item.read.args[1]
    return [path.name for path in outline.func.__self__.files(*outline.args)]
