"""What is kept of a training: the state of each epoch by Orbax, and the trained network.

The network is two files that anything can read, `model.json` and `params.npz`. No pickle is ever
read: a pickle is a program.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxsal.common.errors import one_line
from jaxsal.common.files import write_atomically
from jaxsal.common.results import CHECKPOINTS, MODEL
from jaxsal.data.examples import Examples
from jaxsal.models import CNN, Network, ResNet
from jaxsal.training.parameter_files import checked_path, flatten, read_params
from jaxsal.types import ApplyFn, Params

PARAMS = "params.npz"
FIELDS = {
    CNN: (
        *("classes", "widths", "convs", "smooth", "stride", "last_pool", "norm", "dropout", "axes"),
        "top",
    ),
    ResNet: ("classes", "blocks", "width", "mean", "std"),
}
"""The attributes that make a network."""
NETWORKS: dict[str, type[Network]] = {kind.__name__: kind for kind in FIELDS}
"""By the name that `model.json` has."""


RANGE = (0.0, 1.0)
"""What pixels are scaled to."""


class Saved(NamedTuple):
    """A network as it was saved.

    Attributes:
        apply: `apply(variables, images) -> logits`; images are square, scaled by the rule of all
            files (`jaxsal.data.intensity`).
        variables: parameters and statistics, NumPy.
        classes: the name of class 0, 1, ...
        image_size: the side of the images that it was trained on.
        init: `init(key, images) -> variables` of a network that has learned nothing.
        channels: of its images.
        range: that their values lie in.
        volumes: whether they are volumes.
    """

    apply: ApplyFn
    variables: Params
    classes: tuple[str, ...]
    image_size: int
    init: Callable[..., Params]
    channels: int
    range: tuple[float, float] = RANGE
    volumes: bool = False


def save(
    folder: Path, model: Network, variables: Params, *, classes: tuple[str, ...], image_size: int
) -> None:
    """Writes the two files, each whole or not at all, `model.json` last."""
    about = {
        "network": type(model).__name__,
        "fields": model_fields(model),
        "classes": list(classes),
        "image_size": image_size,
        "channels": _channels(variables),
        "range": RANGE,
    }
    with write_atomically(folder / PARAMS) as partial, partial.open("wb") as file:
        arrays: dict[str, Any] = flatten(variables)
        np.savez(file, **arrays)
    with write_atomically(folder / MODEL) as partial:
        partial.write_text(json.dumps(about, indent=1) + "\n")


def model_fields(model: Network) -> dict[str, Any]:
    """What makes the network, ready for JSON."""
    fields = {name: getattr(model, name) for name in FIELDS[type(model)]}
    return {**fields, "dtype": jnp.dtype(model.dtype).name}


def load(folder: str | os.PathLike[str]) -> Saved:
    """Reads what `save` wrote.

    Raises:
        ValueError: the folder holds no trained network, or a file of it is broken.
    """
    folder = checked_path("checkpoint", folder)
    try:
        about = json.loads((folder / MODEL).read_text())
        fields, dtype = about["fields"], jnp.dtype(about["fields"]["dtype"])
        network = NETWORKS[about.get("network", "CNN")]
        # Older files lack these, which were not to be chosen then.
        if fields.get("stride") == 1:
            fields.setdefault("smooth", 0)
        fields.setdefault("last_pool", True)
        fields.setdefault("axes", 2)
        fields.setdefault("top", "mean")
        known = {name: fields[name] for name in FIELDS[network]}
        known = {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}
        model = network(**known, dtype=dtype)
        classes, size = tuple(map(str, about["classes"])), int(about["image_size"])
        low, high = map(float, about.get("range", RANGE))
    except FileNotFoundError as error:
        raise ValueError(f"checkpoint: {folder} {_without_model(folder)}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"checkpoint: {folder / MODEL} cannot be read ({one_line(error)})"
        ) from error
    apply = cast(ApplyFn, model.apply)
    variables = read_params(folder / PARAMS, name="checkpoint")
    return Saved(
        apply,
        variables,
        classes,
        size,
        model.init,
        _channels(variables),
        (low, high),
        known.get("axes") == 3,
    )


def _without_model(folder: Path) -> str:
    """What is to be said of a folder without a trained network."""
    finished = "expected the --out folder of a finished `jaxsal train` or study"
    if not folder.exists():
        return f"does not exist; {finished}"
    if (folder / CHECKPOINTS).is_dir():
        return f"holds no {MODEL}: training has not finished there; run the same command again"
    return f"holds no {MODEL}; {finished}"


def _channels(variables: Params) -> int:
    """How many channels the images of a network have: its first kernel says so.

    Raises:
        ValueError: there is no such kernel.
    """
    for name, array in flatten(variables).items():
        if name == "params/Conv_0/kernel":
            return int(array.shape[-2])
    raise ValueError(f"checkpoint: {PARAMS} holds no kernel 'params/Conv_0/kernel'")


def fingerprint(folder: Path) -> str:
    """Of the network's parameters, as they were saved."""
    return hashlib.sha256((folder / PARAMS).read_bytes()).hexdigest()[:16]


def examples_fingerprint(*parts: Examples) -> str:
    """Of images and labels: a checkpoint of other ones belongs to another run."""
    content = hashlib.sha256()
    for part in parts:
        for column in (part.images, part.labels):
            content.update(np.ascontiguousarray(column))
    return content.hexdigest()[:16]


class Checkpoints:
    """The checkpoints of a run, one an epoch, of which the last two are kept; None: no folder.

    Args:
        identity: JSON-able facts that decide the result; a folder of another identity is refused.
    """

    def __init__(self, folder: Path | None, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.identity = json.loads(json.dumps(identity))
        self.manager: Any = None

    def __enter__(self) -> "Checkpoints":
        if self.folder is not None:
            options = _orbax().CheckpointManagerOptions(max_to_keep=2)
            self.manager = _orbax().CheckpointManager(self.folder.absolute(), options=options)
        return self

    def __exit__(self, *error: object) -> None:
        if self.manager is not None:
            self.manager.wait_until_finished()
            self.manager.close()

    def save(
        self, epoch: int, state: PyTree, best: PyTree, history: dict[str, list[float]]
    ) -> None:
        """Writes a checkpoint in the background, atomically."""
        if self.manager is None:
            return
        args = _orbax().args
        self.manager.save(
            epoch,
            args=args.Composite(
                arrays=args.StandardSave({"state": state, "best": best}),
                facts=args.JsonSave({"identity": self.identity, "history": history}),
            ),
        )

    def restore(
        self, state: PyTree, best: PyTree, history: dict[str, list[float]]
    ) -> tuple[PyTree, PyTree, dict[str, list[float]]]:
        """What was saved last; the arguments themselves where nothing was.

        Raises:
            ValueError: the folder holds a run of another identity.
        """
        last = None if self.manager is None else self.manager.latest_step()
        if last is None:
            return state, best, history
        args = _orbax().args
        facts = self.manager.restore(last, args=args.Composite(facts=args.JsonRestore())).facts
        self._check_identity(facts["identity"])
        template = args.StandardRestore({"state": state, "best": best})
        arrays = self.manager.restore(last, args=args.Composite(arrays=template)).arrays
        return arrays["state"], arrays["best"], facts["history"]

    def _check_identity(self, found: dict[str, Any]) -> None:
        for name in sorted(self.identity.keys() | found.keys()):
            before, now = found.get(name), self.identity.get(name)
            if before != now:
                raise ValueError(
                    f"checkpoints: {self.folder} holds a run with {name}={before!r}, this run has "
                    f"{name}={now!r}; choose another folder or remove it"
                )


def _orbax() -> ModuleType:
    """Imported when asked for: it takes seconds, and reading a network does without it."""
    import orbax.checkpoint

    logging.getLogger("absl").setLevel(logging.ERROR)  # it reports every file it touches
    return orbax.checkpoint
