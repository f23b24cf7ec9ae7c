"""Images from wherever a user has them: a file, a folder, a pattern, an array, a TFDS set."""

import glob
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from jaxsal.data import images
from jaxsal.data.listing import fingerprint, visible
from jaxsal.types import RandomAccess

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
ARRAYS = (".npy", ".npz")
TFDS = "tfds:"


class Files:
    """Image files as records, each read when it is asked for.

    Attributes:
        text: says what they are: it changes when a file does.
    """

    def __init__(self, paths: list[Path], root: Path, *, size: int | None, channels: int) -> None:
        self.paths, self.size, self.channels = paths, size, channels
        self.names = [os.path.relpath(path, root) for path in paths]
        self.text = f"files {fingerprint(root, paths, ())}"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> dict[str, Any]:
        name = self.names[number].encode(errors="backslashreplace").decode()
        try:
            image = images.read(self.paths[number], self.size, channels=self.channels)
        except images.READ_ERRORS as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise BrokenImage(name, reason[:200]) from error
        return {"image": image, "name": name}

    def original(self, number: int) -> np.ndarray:
        """The image at its own size, [H, W, C], as it is drawn."""
        return images.read(self.paths[number], None, channels=self.channels)


class BrokenImage(ValueError):
    """An image file that cannot be read; `source_name` says which."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.source_name = name


class Arrays:
    """An array [N, H, W] or [N, H, W, C] as records; 8 bits become [0, 1]."""

    def __init__(self, values: np.ndarray, labels: np.ndarray | None, text: str) -> None:
        self.values, self.labels, self.text = values, labels, text

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, number: int) -> dict[str, Any]:
        image = np.asarray(self.values[number])
        if image.dtype == np.uint8:
            image = image / np.float32(255)
        image = image[..., None] if image.ndim == 2 else image
        label = {} if self.labels is None else {"label": self.labels[number]}
        return {"image": image.astype(np.float32), "name": str(number), **label}


class Prepared:
    """A TFDS set as records; images of 8 bits become [0, 1], of one size if one is given."""

    def __init__(self, source: RandomAccess, text: str, *, size: int | None, channels: int) -> None:
        self.source, self.text, self.size, self.channels = source, text, size, channels

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        row = self.source[number]
        image = images.of_array(np.asarray(row["image"]), self.size, channels=self.channels)
        return {**row, "image": image}

    def original(self, number: int) -> np.ndarray:
        """The image at its own size, [H, W, C], as it is drawn."""
        values = np.asarray(self.source[number]["image"])
        return images.of_array(values, None, channels=self.channels)


Pictures = Files | Arrays | Prepared


def find(
    what: str,
    *,
    size: int | None = None,
    channels: int = 1,
    split: str = "test",
    without: Path | None = None,
) -> Pictures:
    """The images that `what` names, in a fixed order.

    Args:
        what: an image file; a folder, searched to any depth; a pattern (`*`, `**`, `?`, `[...]`);
            a `.npy` or `.npz` of [N, H, W], [N, H, W, C] or [N, C, H, W]; or `tfds:NAME`.
        size: side in pixels that files are made square and resized to; None leaves them.
        channels: 1 for grey, 3 for colour, of files and TFDS.
        split: of a TFDS set.
        without: a folder whose files do not count, such as that of the results.

    Raises:
        ValueError: nothing is found, or an array is not of images.
    """
    if what.startswith(TFDS):
        return _prepared(what.removeprefix(TFDS), split, size=size, channels=channels)
    if not what or "\0" in what:
        raise ValueError(f"images: expected a file, folder, pattern or tfds:NAME, got {what!r}")
    path = Path(os.path.expanduser(what))  # what is no name of a user or file is none of these
    options: dict[str, Any] = {"size": size, "channels": channels}
    if os.path.isdir(path):
        found = [file for file in visible(path, "images") if file.suffix.lower() in SUFFIXES]
        found = _outside(found, without)
        if not found:
            raise ValueError(f"images: no image file in {what} ({', '.join(SUFFIXES)})")
        return Files(found, path, **options)
    if os.path.isfile(path):
        if path.suffix.lower() in ARRAYS:
            return _array(path)
        return Files([path], path.parent, **options)
    matched = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    matched = _outside([match for match in matched if match.is_file()], without)
    if matched:
        root = Path(os.path.commonpath([match.parent for match in matched]))
        return Files(matched, root, **options)
    raise ValueError(
        f"images: {what[:200]!r} is no file, folder or pattern that matches; "
        "a TFDS set is tfds:NAME"
    )


def _outside(paths: list[Path], folder: Path | None) -> list[Path]:
    if folder is None:
        return paths
    apart = folder.resolve()
    return [path for path in paths if not path.resolve().is_relative_to(apart)]


def _array(path: Path) -> Arrays:
    try:
        if path.suffix.lower() == ".npy":
            values, labels = np.load(path, mmap_mode="r", allow_pickle=False), None
        else:
            with np.load(path, allow_pickle=False) as file:
                values, labels = _member(path, file)
        if not isinstance(values, np.ndarray):
            raise ValueError("no array")
    except Exception as error:  # NumPy parses a file's header as Python
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"images: {path} cannot be read ({reason[:200]})") from error
    if values.ndim not in (3, 4) or not values.size:
        raise ValueError(
            f"images: expected [N, H, W] or [N, H, W, C] in {path}, got {values.dtype} "
            f"{values.shape}"
        )
    if values.dtype != np.uint8 and values.dtype.kind != "f":
        raise ValueError(f"images: expected uint8 or floating, got {values.dtype} in {path}")
    if labels is not None and (labels.shape != values.shape[:1] or labels.dtype.kind not in "iu"):
        raise ValueError(f"images: {len(values)} images, but labels {labels.dtype} {labels.shape}")
    return Arrays(values, labels, f"array {fingerprint(path.parent, [path], ())}")


def _member(path: Path, file: NpzFile) -> tuple[np.ndarray, np.ndarray | None]:
    names = [name for name in ("images", "image", "x") if name in file.files]
    if not names and len(file.files) != 1:
        raise ValueError(f"expected an array named 'images', got {file.files}")
    labels = next((file[name] for name in ("labels", "label", "y") if name in file.files), None)
    return file[(names or file.files)[0]], labels


def _prepared(name: str, split: str, *, size: int | None, channels: int) -> Prepared:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name)
        builder.download_and_prepare(file_format="array_record")
        source = builder.as_data_source(split)
        length = len(source)
    except Exception as error:  # TFDS has many of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"images: tfds:{name} cannot be had ({reason[:300]})") from error
    if not length or "image" not in source[0]:
        raise ValueError(f"images: tfds:{name} has no 'image' in its split {split!r}")
    text = f"tfds {builder.info.full_name} {split}"
    return Prepared(source, text, size=size, channels=channels)
