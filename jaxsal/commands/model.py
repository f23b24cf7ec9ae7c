"""The model that the command explains: a study's checkpoint, or a function and its parameters."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxsal.commands.fit import fitted
from jaxsal.commands.model_objects import Given, given
from jaxsal.common.errors import one_line
from jaxsal.common.results import METRICS
from jaxsal.training import checkpoint
from jaxsal.training.parameter_files import KINDS, read_params
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
        file: where parameters were read from that are not known to fit; None: they are.
        given: what the function was made of.
    """

    apply: ApplyFn
    params: Params
    classes: tuple[str, ...]
    image_size: int | None = None
    channels: int | None = None
    range: tuple[float, float] | None = None
    volumes: bool = False
    warnings: tuple[str, ...] = ()
    file: Path | None = None
    given: Given | None = None

    def fitted(self, images: jax.ShapeDtypeStruct) -> "Model":
        """The model with its parameters where it expects them.

        Args:
            images: a batch of one, by shape.

        Raises:
            ValueError: the first that does not fit, see `fit.fitted`.
        """
        if self.file is None or self.given is None:
            return self
        params = fitted(self.given, self.params, images, self.file.name)
        return self._replace(params=params, file=None)


def load(
    folder: Path | None, apply: str | None, params: Path | None, classes: str | None = None
) -> Model:
    """The model of a study's folder, or of `package.module:function` and a file.

    Args:
        classes: their names with commas between them, in the order of the model's outputs.

    Raises:
        ValueError: neither or both, or what cannot be read.
    """
    names = class_names(classes)
    if (folder is None) == (apply is None):
        raise ValueError("checkpoint: expected --checkpoint DIR, or --apply with --params")
    if folder is not None:
        if params is not None:
            raise ValueError("params: goes with --apply, a checkpoint has its own")
        saved = checkpoint.load(folder)
        if names and len(names) != len(saved.classes):
            raise ValueError(
                f"classes: expected {len(saved.classes)} names, those of {saved.classes}; got "
                f"{names}"
            )
        about = (saved.image_size, saved.channels, saved.range, saved.volumes)
        called = names or saved.classes
        return Model(saved.apply, saved.variables, called, *about, _warnings(folder))
    if params is None:
        raise ValueError(f"params: --apply needs --params FILE ({KINDS})")
    path = Path(os.path.expanduser(params))
    found = given(*function("apply", str(apply)))
    if found.load is not None and path.suffix in KERAS:
        return Model(found.apply, _loaded(found.load, path), names)
    return Model(found.apply, read_params(path), names, file=path, given=found)


OWN_TEST = "On its own test images, when the network was trained"
"""Before what is said there: the images at hand are others."""


def _warnings(folder: Path) -> tuple[str, ...]:
    """The warnings of a network's own test; none where it has none, or is a study's older run."""
    try:
        found = json.loads((folder / METRICS).read_text())["warnings"]
        return tuple(f"{OWN_TEST}: {warning}" for warning in found)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


KERAS = (".h5", ".keras")
"""Files that Keras reads itself, for a model that is one of its own."""


def _loaded(load: Callable[[Path], Params], path: Path) -> Params:
    try:
        return load(path)
    except Exception as error:  # the framework's own: it names the layer and the shapes
        raise ValueError(f"params: {path.name} does not fit ({one_line(error)[:300]})") from error


def class_names(text: str | None) -> tuple[str, ...]:
    """Names with commas between them; none of None.

    Raises:
        ValueError: an empty one, or one twice.
    """
    names = tuple(name.strip() for name in text.split(",")) if text is not None else ()
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"classes: expected different names such as no,yes; got {text!r}")
    return names


def function(option: str, name: str) -> tuple[Any, Any]:
    """What `package.module:name` is, looked for in the working directory first, and its owner.

    Args:
        option: that it was given to.

    Raises:
        ValueError: there is none, or it cannot be called.
    """
    module, _, path = name.partition(":")
    if not module or not path:
        raise ValueError(f"{option}: expected package.module:function, got {name!r}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        owner, found = None, importlib.import_module(module)
        for part in path.split("."):
            owner, found = found, getattr(found, part)
    except Exception as error:  # a module may raise whatever it likes
        raise ValueError(f"{option}: {name!r} cannot be had ({one_line(error)})") from error
    if not callable(found):
        raise ValueError(f"{option}: {name!r} is no function, but {type(found).__name__}")
    return found, owner


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
