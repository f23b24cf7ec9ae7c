"""The parts of an experiment that are done, on disk until its record is: a kill loses one part."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

import experiments
import jaxsal
from experiments import finished
from experiments.settings import as_json
from experiments.study import Chosen, Reopened
from jaxsal.common import files, provenance
from jaxsal.training import checkpoint

FOLDER, IDENTITY, BETWEEN = "unfinished", "identity.json", "|"

Part = dict[str, Any]
"""Arrays by name, or by name dicts of such, to any depth."""


class Unfinished:
    """The finished parts of one experiment on one study, in a folder of their own.

    Attributes:
        earlier: how many an earlier run left behind.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Opens the parts that an earlier run left behind.

        Args:
            folder: where they lie; what it holds of another identity is taken away.
            identity: JSON-able facts that decide what a part holds.
        """
        self.folder = folder
        identity = json.loads(json.dumps(identity))
        try:
            known = json.loads((folder / IDENTITY).read_text()) == identity
        except (OSError, ValueError):
            known = False
        self.earlier = len([*folder.glob("*.npz")]) if known else 0
        if known:
            print(f"{self.earlier} parts are done by an earlier run", flush=True)
            return
        self._clear()
        files.write_json(folder / IDENTITY, identity)

    def part(self, name: str, make: Callable[[], Part]) -> Part:
        """A part: read where it is done, else made and written."""
        path = self.folder / f"{quote(name, safe=' ')}.npz"
        if path.exists():
            with np.load(path) as arrays:
                return dict(unflatten_dict(dict(arrays), sep=BETWEEN))
        made = make()
        with files.write_atomically(path) as partial, partial.open("wb") as file:
            np.savez(file, **flatten_dict(made, sep=BETWEEN))
        return made

    def remove(self) -> None:
        """Takes all parts away, now that the experiment's record is written."""
        self._clear()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _clear(self) -> None:
        """Removes the parts, those that a kill left half-written too, and nothing else."""
        for pattern in ("*.npz", ".*.npz.partial", IDENTITY):
            for path in self.folder.glob(pattern):
                path.unlink()


def unfinished(
    name: str, settings: Reopened, chosen: Chosen, definitions: Any = None
) -> Unfinished:
    """The parts of an experiment that are done: of this network, these images, settings and code.

    And of this machine, since some of them are times.

    Args:
        name: of the experiment.
        definitions: what else its values depend on.
    """
    about = provenance.describe()
    identity = {
        "network": checkpoint.fingerprint(settings.checkpoint),
        "images": checkpoint.examples_fingerprint(chosen.examples),
        "settings": finished.without_places(as_json(settings)),
        "definitions": definitions,
        "versions": about["versions"],
        "machine": [about["device"][each] for each in ("kind", "count", "processor", "cores")],
        "code": _code(),
    }
    return Unfinished((settings.out or settings.checkpoint / name) / FOLDER, identity)


def _code() -> str:
    """A fingerprint of the source of jaxsal and of the experiments."""
    content = hashlib.sha256()
    for package in (experiments, jaxsal):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            content.update(path.read_bytes())
    return content.hexdigest()[:16]
