"""A trained network in two files that anything can read: `model.json` and `params.npz`.

No pickle is ever read: a pickle is a program.
"""

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxsal.models import CNN
from jaxsal.types import ApplyFn, Params

MODEL, PARAMS = "model.json", "params.npz"
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".ckpt")
KEPT = ("classes", "widths", "convs", "smooth", "stride", "last_pool", "norm", "dropout")


class Saved(NamedTuple):
    """A network as it was saved.

    Attributes:
        apply: `apply(variables, images) -> logits`; images are grey, square, in [0, 1].
        variables: parameters and statistics, NumPy.
        classes: the name of class 0, 1, ...
        image_size: the side of the images that it was trained on.
        init: `init(key, images) -> variables` of a network that has learned nothing.
    """

    apply: ApplyFn
    variables: Params
    classes: tuple[str, ...]
    image_size: int
    init: Callable[..., Params]


def save(
    folder: Path, model: CNN, variables: Params, *, classes: tuple[str, ...], image_size: int
) -> None:
    """Writes the two files, each whole or not at all, `model.json` last."""
    about = {
        "network": "CNN",
        "fields": described(model),
        "classes": list(classes),
        "image_size": image_size,
    }
    with _whole(folder / PARAMS) as partial, partial.open("wb") as file:
        arrays: dict[str, Any] = flatten(variables)
        np.savez(file, **arrays)
    with _whole(folder / MODEL) as partial:
        partial.write_text(json.dumps(about, indent=1) + "\n")


def described(model: CNN) -> dict[str, Any]:
    """What makes the network, ready for JSON."""
    fields = {name: getattr(model, name) for name in KEPT}
    return {**fields, "dtype": jnp.dtype(model.dtype).name}


def load(folder: Any) -> Saved:
    """Reads what `save` wrote.

    Raises:
        ValueError: the folder holds no trained network, or a file of it is broken.
    """
    folder = _path("checkpoint", folder)
    try:
        about = json.loads((folder / MODEL).read_text())
        fields, dtype = about["fields"], jnp.dtype(about["fields"]["dtype"])
        if fields["stride"] == 1:  # such networks smooth nothing, and once were saved without
            fields.setdefault("smooth", 0)
        fields.setdefault("last_pool", True)  # once there was no other
        known = {name: fields[name] for name in KEPT}
        model = CNN(**{**known, "widths": tuple(known["widths"])}, dtype=dtype)
        classes, size = tuple(map(str, about["classes"])), int(about["image_size"])
    except FileNotFoundError as error:
        raise ValueError(
            f"checkpoint: {folder} holds no {MODEL}; expected the --out folder of a study that "
            "has finished training"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"checkpoint: {folder / MODEL} cannot be read ({reason})") from error
    apply: Any = model.apply
    return Saved(apply, read_params(folder / PARAMS), classes, size, model.init)


def fingerprint(folder: Path) -> str:
    """Of the network's parameters, as they were saved."""
    return hashlib.sha256((folder / PARAMS).read_bytes()).hexdigest()[:16]


def read_params(path: Any) -> Params:
    """A pytree of arrays from a file.

    `.npz`: names with slashes become nested dicts; `.npy`: one array; `.msgpack`: as
    `flax.serialization` writes it.

    Raises:
        ValueError: a pickle, a file of another kind, or a broken one.
    """
    path = _path("params", path)
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"params: {path} is a pickle, which is a program and not read; save arrays with "
            "numpy.savez or flax.serialization"
        )
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return nest({name: file[name] for name in file.files})
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".msgpack":
            from flax import serialization

            return serialization.msgpack_restore(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"params: {path} does not exist") from error
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"params: {path} cannot be read ({_line(error)})") from error
    except Exception as error:  # msgpack has errors of its own
        raise ValueError(f"params: {path} cannot be read ({_line(error)})") from error
    raise ValueError(f"params: expected .npz, .npy or .msgpack, got {path.name!r}")


def flatten(tree: Params, prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dicts of arrays as one dict, the names joined with slashes."""
    if not isinstance(tree, dict):
        return {prefix: np.asarray(tree)}
    return {
        name: array
        for key, branch in tree.items()
        for name, array in flatten(branch, f"{prefix}/{key}" if prefix else str(key)).items()
    }


def nest(arrays: dict[str, np.ndarray]) -> Params:
    """The inverse of `flatten`.

    Raises:
        ValueError: a name that is an array and the beginning of another name.
    """
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *folders, last = name.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{name!r} lies inside an array")
        if last in branch:
            raise ValueError(f"{name!r} is there twice")
        branch[last] = array
    return tree


@dataclasses.dataclass
class _whole:
    """A file that is written aside, and renamed when it is complete."""

    path: Path

    def __enter__(self) -> Path:
        self.partial = self.path.with_name(f".{self.path.name}")
        return self.partial

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink(missing_ok=True)


def _path(name: str, value: Any) -> Path:
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise TypeError(f"{name}: expected a path, got {value!r}")
    return Path(value)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
