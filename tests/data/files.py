"""Small data directories in the forms that the readers know."""

import csv
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

LABELS = {"meningioma": 1, "glioma": 2, "pituitary": 3}


def picture(seed: int, height: int = 12, width: int = 12) -> np.ndarray:
    """An int16 slice without any symmetry."""
    return np.random.default_rng(seed).integers(-100, 4000, (height, width), np.int16)


def outline(height: int = 12, width: int = 12) -> np.ndarray:
    """A mask without any symmetry."""
    mask = np.zeros((height, width), bool)
    mask[1:4, 5:11] = True
    return mask


def write_struct(path: Path, label: int, patient: str, image: np.ndarray, mask: np.ndarray) -> None:
    """One file as MATLAB v7.3 writes it: arrays transposed, text a column of UTF-16 units."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        struct = file.create_group("cjdata")
        struct["label"] = np.array([[float(label)]])
        struct["PID"] = np.array([[ord(letter)] for letter in patient], np.uint16)
        struct["image"] = image.T
        struct["tumorBorder"] = np.array([[1.0, 2.0, 3.0, 4.0]])
        struct["tumorMask"] = mask.T.astype(np.uint8)


def write_folds(path: Path, folds: list[int]) -> None:
    """The author's cross-validation indices."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["cvind"] = np.array(folds, float)[:, None]


def write_original(root: Path, count: int = 6) -> list[str]:
    """Slices 1.mat ... of all classes in turn, patients of two slices; returns the patients."""
    patients = [f"P{(n - 1) // 6}{n % 3}" for n in range(1, count + 1)]
    for n, patient in enumerate(patients, 1):
        write_struct(root / f"{n}.mat", (n - 1) % 3 + 1, patient, picture(n), outline())
    return patients


def write_table(root: Path, rows: list[tuple[str, str, str]], header: str = "") -> None:
    """`labels.csv` with an image and a mask for each row."""
    for number, (file, label, _) in enumerate(rows):
        save(root / "images" / label / file, grey(number))
        save(root / "masks" / label / file, outline())
    with (root / "labels.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow((header or "file,class,author_fold").split(","))
        writer.writerows(rows)


def grey(seed: int, height: int = 12, width: int = 12) -> np.ndarray:
    """An 8-bit image."""
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def save(path: Path, pixels: np.ndarray | Image.Image, **options: object) -> Path:
    """Writes an image file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def write_folders(root: Path, names: tuple[str, ...] = ("yes", "no"), count: int = 5) -> None:
    """`<class>/<class><n>.png`."""
    for label in names:
        for n in range(count):
            save(root / label / f"{label}{n}.png", grey(100 * len(label) + n))
