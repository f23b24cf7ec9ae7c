"""The parameters of a model from a file of any common kind, as nested dicts of arrays.

No pickle is ever read: a pickle is a program.
"""

import io
import itertools
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxsal.common.errors import one_line
from jaxsal.types import Params

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".ckpt")
SEPARATORS = ("/", ".")
"""Between the names of nested dicts: the first that some name has."""
METADATA = "_METADATA"
"""In each folder that Orbax wrote a tree into."""
KINDS = ".npz, .npy, .safetensors, .msgpack, .h5 (Keras), .keras or an Orbax folder"


def read_params(path: str | os.PathLike[str], *, name: str = "params") -> Params:
    """A pytree of arrays from a file or an Orbax folder; names are nested at slashes, else at dots.

    `.npy` is one array; `.msgpack` as `flax.serialization` writes it; `.h5` and `.keras` as Keras
    does, or any HDF5 file of arrays; of Orbax a checkpoint, or the last of a manager's.

    Args:
        name: of the argument that the path is, for errors.

    Raises:
        ValueError: a pickle, a file of another kind, or a broken one.
    """
    path = checked_path(name, path)
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise ValueError(
            f"{name}: {path} is a pickle, which is a program and not read; save arrays with "
            "numpy.savez, safetensors or flax.serialization"
        )
    if not path.exists():
        raise ValueError(f"{name}: {path} does not exist")
    read = _orbax if path.is_dir() else READERS.get(suffix)
    if read is None:
        raise ValueError(f"{name}: expected {KINDS}, got {path.name!r}")
    try:
        return read(path)
    except ImportError as error:
        raise ValueError(
            f"{name}: {path.name} needs the package {error.name}; pip install {error.name}"
        ) from error
    except Exception as error:  # msgpack, zipfile, HDF5 and Orbax have errors of their own
        raise ValueError(f"{name}: {path} cannot be read ({one_line(error)[:200]})") from error


def _npz(path: Path) -> Params:
    with np.load(path, allow_pickle=False) as file:
        return nest({name: file[name] for name in file.files})


def _npy(path: Path) -> Params:
    return np.load(path, allow_pickle=False)


def _safetensors(path: Path) -> Params:
    import ml_dtypes  # noqa: F401  (with it the file's bfloat16 is NumPy's)
    import safetensors.numpy

    return nest(safetensors.numpy.load_file(path))


def _msgpack(path: Path) -> Params:
    from flax import serialization

    return serialization.msgpack_restore(path.read_bytes())


def _hdf5(file: Any) -> Params:
    """Every array of an HDF5 file by its path; Keras has `layers/conv2d/vars/0`."""
    import h5py

    arrays: dict[str, np.ndarray] = {}

    def keep(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset):
            arrays[name] = found[()]

    with h5py.File(file) as opened:
        opened.visititems(keep)
    if not arrays:
        raise ValueError("it holds no arrays")
    return nest(arrays)


def _keras(path: Path) -> Params:
    with zipfile.ZipFile(path) as archive:
        return _hdf5(io.BytesIO(archive.read("model.weights.h5")))


READERS: dict[str, Callable[[Path], Params]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".msgpack": _msgpack,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".keras": _keras,
}
"""By a file's suffix; a new kind is one row here."""


def _orbax(folder: Path) -> Params:
    """The tree of an Orbax folder, on this host whatever devices it was saved from."""
    import jax
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.ERROR)  # it reports every file it touches
    folder = _tree_folder(folder.absolute())
    reader = ocp.PyTreeCheckpointer()
    kept = reader.metadata(folder).item_metadata
    host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), kept.tree)
    return reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=host))


def _tree_folder(folder: Path) -> Path:
    """The folder itself where it holds a tree; else that of the last step, of its only item."""
    while not (folder / METADATA).exists():
        inside = [each for each in folder.iterdir() if each.is_dir()]
        steps = [each for each in inside if each.name.isdecimal()]
        items = [each for each in inside if (each / METADATA).exists()]
        if steps:
            folder = max(steps, key=lambda each: int(each.name))
        elif len(items) == 1:
            folder = items[0]
        else:
            names = ", ".join(sorted(each.name for each in items)) or "none"
            raise ValueError(f"expected one tree that Orbax wrote in {folder.name}, found {names}")
    return folder


def flatten(tree: Params) -> dict[str, np.ndarray]:
    """Nested dicts of arrays as one dict, the names joined with slashes."""
    return {name: np.asarray(leaf) for name, leaf in flatten_dict(tree, sep="/").items()}


def nest(arrays: dict[str, np.ndarray]) -> Params:
    """Arrays by their paths as nested dicts; the inverse of `flatten`.

    Raises:
        ValueError: a name that is an array and the beginning of another name.
    """
    between = next((each for each in SEPARATORS if any(each in name for name in arrays)), "/")
    for name in arrays:
        folders = itertools.accumulate(name.split(between)[:-1], f"{{}}{between}{{}}".format)
        if any(folder in arrays for folder in folders):
            raise ValueError(f"{name!r} lies inside an array")
    return unflatten_dict(arrays, sep=between)


def checked_path(name: str, value: object) -> Path:
    """A path, of an argument of that name.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise TypeError(f"{name}: expected a path, got {value!r}")
    return Path(value)
