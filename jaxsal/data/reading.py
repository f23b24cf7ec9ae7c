"""How a folder of images is to be understood, where its names do not say it all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reading:
    """The options of reading a folder, as a command line gives them."""

    labels: Path | None = None
    """A CSV file with a row an image, in the place of class folders: columns of the file, the
    label (or one column a class), and perhaps patient, split or fold, and mask (a path from the
    table's own folder, or a file's name); of an image with several rows the masks are gathered."""
    columns: tuple[str, ...] = ()
    """Which columns they are, where not called so: file=COLUMN label=COLUMN patient=COLUMN
    split=COLUMN mask=COLUMN; label=A,B,C for columns of which one is 1; split=none (or patient,
    mask) where a column that is called so does not count."""
    masks: Path | None = None
    """A folder of masks, named as their images; none: those that lie beside them or in a folder
    that mirrors theirs. Of a scan a mask is a scan of the same voxels."""
    slices: str | None = None
    """Of scans, as of `jaxsal explain`: axis[:from:to:step]; none: all of a DICOM or TIFF's own,
    axial ones of a NIfTI."""
    exclude: tuple[str, ...] = ()
    """Files that do not count, by patterns on their paths, such as 'extra/*'."""
    test_images: Path | None = None
    """Another folder of the same classes, to be tested on; none: a test folder inside, else a fifth
    of the patients."""
    group: str | None = None
    """A regular expression that finds the patient in a path (its first group, or all of it), or
    none where images have no patient in common; not given: folders and names tell."""


def read_again(kept: Mapping[str, Any]) -> Reading:
    """The options that a record kept, as JSON has them."""
    paths = {name: Path(kept[name]) for name in ("labels", "masks", "test_images") if name in kept}
    words = {name: tuple(kept[name]) for name in ("columns", "exclude") if name in kept}
    return Reading(**{**kept, **paths, **words})
