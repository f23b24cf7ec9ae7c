"""The model that the command explains: a study's checkpoint, or a function and its parameters."""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from jaxsal.common.errors import one_line
from jaxsal.training import checkpoint
from jaxsal.types import ApplyFn, Params


class Model(NamedTuple):
    """A model and what is known of it.

    Attributes:
        apply, params: `apply(params, images) -> logits`.
        classes: names; empty where unknown.
        image_size, channels: of its images; None where unknown.
        range: that their values lie in; None where unknown.
        volumes: whether a checkpoint's are volumes.
        warnings: what its own test says against it.
    """

    apply: ApplyFn
    params: Params
    classes: tuple[str, ...]
    image_size: int | None = None
    channels: int | None = None
    range: tuple[float, float] | None = None
    volumes: bool = False
    warnings: tuple[str, ...] = ()


def load(folder: Path | None, apply: str | None, params: Path | None) -> Model:
    """The model of a study's folder, or of `package.module:function` and a file.

    Raises:
        ValueError: neither or both, or what cannot be read.
    """
    if (folder is None) == (apply is None):
        raise ValueError("checkpoint: expected --checkpoint DIR, or --apply with --params")
    if folder is not None:
        if params is not None:
            raise ValueError("params: goes with --apply, a checkpoint has its own")
        saved = checkpoint.load(folder)
        about = (saved.classes, saved.image_size, saved.channels, saved.range, saved.volumes)
        return Model(saved.apply, saved.variables, *about, _warnings(folder))
    if params is None:
        raise ValueError("params: --apply needs --params FILE (.npz, .npy or .msgpack)")
    return Model(function(str(apply)), checkpoint.read_params(params), ())


def _warnings(folder: Path) -> tuple[str, ...]:
    """The warnings of a network's own test; none where it has none, or is a study's older run."""
    try:
        return tuple(map(str, json.loads((folder / "metrics.json").read_text())["warnings"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def function(name: str) -> ApplyFn:
    """The function `package.module:function`, looked for in the working directory first.

    Raises:
        ValueError: there is none.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise ValueError(f"apply: expected package.module:function, got {name!r}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # a module may raise whatever it likes
        raise ValueError(f"apply: {name!r} cannot be had ({one_line(error)})") from error
    if not callable(found):
        raise ValueError(f"apply: {name!r} is no function, but {type(found).__name__}")
    return found


def input_of(
    found: Model, image_size: int | None, channels: int | None
) -> tuple[int | None, int | None]:
    """The size and the channels of a model's images: as it knows them, else as they are given.

    Raises:
        ValueError: others are given than it knows.
    """
    known = {"image_size": found.image_size, "channels": found.channels}
    given = {"image_size": image_size, "channels": channels}
    for name, value in given.items():
        if value is not None and known[name] not in (None, value):
            raise ValueError(f"{name}: the checkpoint's network takes {known[name]}, got {value}")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size: expected at least 1, got {image_size}")
    return found.image_size or image_size, found.channels or channels


def target(text: str, classes: tuple[str, ...]) -> int | str | None:
    """The target that `text` names: predicted, all, label, a class's number or its name.

    Raises:
        ValueError: none of these; or a number that is no name, where classes are called by numbers.
    """
    if text in ("all", "label"):
        return text
    if text == "predicted":
        return None
    if text in classes:
        return classes.index(text)
    known = ", ".join(classes) or "unknown names"
    numbered = any(name.strip().lstrip("+-").isdecimal() for name in classes)
    expected = f"targets: expected predicted, all, label, a number or one of {known}; got {text!r}"
    try:
        number = int(text)
    except ValueError:
        raise ValueError(expected) from None
    if numbered:  # is 2 the class of that name, or the third?
        raise ValueError(f"{expected}; classes are called by numbers: a name alone tells which")
    return number
