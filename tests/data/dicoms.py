"""Small DICOM files, written as scanners do."""

from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

NAME, NUMBER = "Doe^Jane", "MRN-7734-identity"
"""Of the patient: they stand in every file and must not stand in any output."""


def write(path: Path, pixels: np.ndarray, **tags: object) -> Path:
    """A file of pixels [H, W] or, in colour, [H, W, 3], with more tags or other ones."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = Dataset()
    found.file_meta = meta
    found.SOPClassUID, found.SOPInstanceUID = MRImageStorage, "1.2.3"
    found.PatientName, found.PatientID, found.Modality = NAME, NUMBER, "MR"
    found.Rows, found.Columns = pixels.shape[:2]
    found.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    found.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        found.PlanarConfiguration = 0
    found.BitsAllocated = found.BitsStored = 8 * pixels.dtype.itemsize
    found.HighBit = found.BitsStored - 1
    found.PixelRepresentation = int(pixels.dtype.kind == "i")
    found.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(found, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)
    return path


def place(z: float, *, series: str = "1.2.9", spacing: float = 2.0) -> dict[str, object]:
    """The tags of an axial slice at a height."""
    return {
        "SeriesInstanceUID": series,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-10.0, -20.0, z],
        "PixelSpacing": [spacing, spacing / 2],
        "SliceThickness": 3.0,
    }


def series(folder: Path, volume: np.ndarray, heights: list[float], **tags: object) -> None:
    """A folder with a file a slice of [K, H, W], their names in no order."""
    for number, (pixels, z) in enumerate(zip(volume, heights, strict=True)):
        name = f"IM{(7 * number + 3) % 10:03}"
        write(folder / name, pixels, **{**place(z), "InstanceNumber": number, **tags})
