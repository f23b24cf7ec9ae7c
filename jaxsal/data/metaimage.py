"""MetaImage and NRRD as scans, by SimpleITK."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxsal.data.dicom_space import LPS_TO_RAS
from jaxsal.data.intensity import Units
from jaxsal.data.packages import package
from jaxsal.data.scans import Scan, Values, check_size, three


def scans(path: Path, name: str) -> list[Scan]:
    """The volume of a file, one scan.

    Raises:
        ValueError: a broken file, or SimpleITK is not installed.
    """
    itk = package("SimpleITK")
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"broken or cut short ({_last(error)})") from error
    size = tuple(map(int, reader.GetSize()))
    check_size((*size, reader.GetNumberOfComponents()))
    if len(size) not in (2, 3):
        raise ValueError(f"{len(size)} axes, expected 2 or 3")
    if reader.GetNumberOfComponents() not in (1, 3):
        raise ValueError(f"{reader.GetNumberOfComponents()} values a voxel, expected 1 or 3")
    affine = _affine(reader) if len(size) == 3 else None
    plane: Any = "axial" if affine is not None else np.array([[2, 1], [1, 1], [0, 1]])
    return [Scan(name, partial(_read, path), three(size), plane=plane, affine=affine)]


def _affine(reader: Any) -> np.ndarray:
    """From a voxel's number to millimetres right, anterior, superior."""
    directions = np.array(reader.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ directions @ np.diag(reader.GetSpacing())
    affine[:3, 3] = LPS_TO_RAS @ np.array(reader.GetOrigin())
    return affine


def _read(path: Path, channels: int) -> Values:
    """[1, X, Y, Z] or [1, X, Y, Z, 3]."""
    del channels
    itk = package("SimpleITK")
    try:
        image = itk.ReadImage(str(path))
        array = itk.GetArrayFromImage(image)  # [Z, Y, X] or [Z, Y, X, 3]
    except RuntimeError as error:
        raise ValueError(f"broken or cut short ({_last(error)})") from error
    axes, colour = image.GetDimension(), image.GetNumberOfComponentsPerPixel() == 3
    array = array.transpose(*range(axes)[::-1], *range(axes, array.ndim))
    array = array if axes == 3 else array[:, :, None]
    return Values(array[None], Units(255.0 if colour else None))


def _last(error: Exception) -> str:
    """The last line of SimpleITK's, without paths."""
    return str(error).strip().splitlines()[-1].split("/")[-1][:100]
