"""The kinds of files that images come in: one table for all commands, and what reads the others."""

from collections.abc import Callable, Iterable
from pathlib import Path

from jaxsal.data import arrays, dicom, images, metaimage, nifti, pages
from jaxsal.data.packages import Missing
from jaxsal.data.scans import Scan, Values

PICTURES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pgm", ".ppm", ".pnm", ".jp2", ".avif"),
)
DICOM = (".dcm", ".dicom", ".ima")

READERS: dict[str, Callable[[Path, str], list[Scan]]] = {
    **dict.fromkeys(PICTURES, pages.scans),
    **dict.fromkeys((".nii", ".nii.gz", ".mgh", ".mgz", ".mnc"), nifti.scans),
    ".npy": arrays.scans,
    **dict.fromkeys((".mha", ".mhd", ".nrrd"), metaimage.scans),
}
"""From an ending to what reads such a file; DICOM's are read together, as series."""

ENDINGS = (*READERS, *DICOM)
"""Of the files that are read. DICOM is known without, by how it begins."""

OTHERS = {
    **dict.fromkeys((".heic", ".heif"), "pillow-heif reads it"),
    **dict.fromkeys((".svs", ".ndpi", ".scn", ".mrxs", ".vsi"), "openslide-python reads it"),
    **dict.fromkeys((".czi", ".lif", ".nd2", ".oib", ".lsm"), "bioio reads it"),
    **dict.fromkeys((".hdr", ".img", ".head", ".brik", ".par", ".rec"), "nibabel reads it"),
    **dict.fromkeys((".mat", ".h5", ".hdf5"), "scipy.io or h5py reads it"),
    **dict.fromkeys((".exr", ".psd", ".xcf", ".svg", ".raw", ".dng"), "imageio reads it"),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv"), "a film: imageio or ffmpeg reads it"),
    **dict.fromkeys((".zip", ".tar", ".gz", ".7z", ".rar"), "an archive: unpack it"),
    ".npz": "arrays: name it by itself",
}
"""What reads a kind that is not read here."""

PARTS = {".raw": ".mhd", ".zraw": ".mhd"}
"""A file that is read with the one of the same name and this ending."""


def ending(path: Path) -> str:
    """A file's ending in small letters, `.nii.gz` as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def may_hold_images(path: Path) -> bool:
    """Whether a file is of a kind that is read, by its ending or its beginning."""
    return ending(path) in ENDINGS or (ending(path) not in OTHERS and dicom.is_dicom(path))


def scans(files: Iterable[tuple[Path, str]]) -> tuple[list[Scan], list[tuple[str, str]]]:
    """The scans in files `(path, name)`, in their order, and the files without, `(name, reason)`.

    A file that is broken is a scan with a fault; one for which a package is missing is without.
    """
    files = list(files)
    there = {path for path, _ in files}
    found: dict[str, list[Scan]] = {}
    without: list[tuple[str, str]] = []
    dicoms: list[tuple[Path, str]] = []
    for path, name in files:
        kind = ending(path)
        if kind in DICOM or (kind not in READERS and dicom.is_dicom(path)):
            dicoms.append((path, name))
        elif kind in READERS:
            try:
                found[name] = READERS[kind](path, name)
            except Missing as error:
                without.append((name, str(error)))
            except images.READ_ERRORS as error:
                found[name] = [Scan(name, _nothing, fault=images.told(error))]
        elif not (kind in PARTS and path.with_suffix(PARTS[kind]) in there):
            without.append((name, OTHERS.get(kind, "not an image")))
    if dicoms:
        try:
            read, none = dicom.scans(dicoms)
        except Missing as error:
            read, none = [], [(name, str(error)) for _, name in dicoms]
        without += none
        for scan in read:
            found.setdefault(scan.names[0] if scan.names else scan.name, []).append(scan)
    return [scan for _, name in files for scan in found.get(name, ())], without


def _nothing(channels: int) -> Values:
    raise AssertionError("a scan with a fault is not read")
