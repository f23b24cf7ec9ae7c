"""The parts of an experiment that are done, kept on disk until its record is written.

A part is a method's maps, or the scores of some images: a kill loses the one that was being made.
"""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

import experiments
import jaxsal
from experiments.settings import as_json, without_places
from experiments.study import Chosen, Reopened, Study
from jaxsal.common import files, provenance
from jaxsal.training import checkpoint

FOLDER, BETWEEN = "unfinished", "|"

Part = dict[str, Any]
"""Arrays by name, or by name dicts of such, to any depth; without "|" in a name."""


def _code() -> str:
    """A fingerprint of the source of jaxsal and of the experiments."""
    content = hashlib.sha256()
    for package in (experiments, jaxsal):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            content.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return content.hexdigest()[:16]


CODE = _code()
"""As it is imported: files may change while it runs."""


class Unfinished:
    """The finished parts of one experiment on one study, in a folder of their own.

    Attributes:
        earlier: how many were read that an earlier run had left.
    """

    def __init__(self, out: Path, experiment: str, identity: dict[str, Any]) -> None:
        """Finds the parts that an earlier run left behind, and says what it finds.

        Args:
            out: the folder of the experiment's record.
            experiment: its name.
            identity: JSON-able facts that decide what a part holds; parts of others are not used.
        """
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = out / FOLDER / f"{experiment}-{digest}"
        self.earlier = 0
        if left := len([*self.folder.glob("*.npz")]):
            print(f"an earlier run left {left} finished parts", flush=True)
        for other in sorted((out / FOLDER).glob(f"{experiment}-*")):
            if other != self.folder:
                told = f"not used: parts of other settings, images or code in {other}"
                print(f"{told}; it can be removed", flush=True)

    def part(self, name: str, make: Callable[[], Part]) -> Part:
        """A part: read where it is done, else made and written."""
        path = self.folder / f"{quote(name, safe=' ')}.npz"
        if path.exists():
            try:
                with np.load(path) as arrays:
                    found = dict(unflatten_dict(dict(arrays), sep=BETWEEN))
                self.earlier += 1
                return found
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                print(f"{path} cannot be read ({error}): made again", flush=True)
        made, content = make(), io.BytesIO()
        np.savez(content, **flatten_dict(made, sep=BETWEEN))
        files.write_result(path, content.getvalue())
        return made

    def remove(self) -> None:
        """Takes these parts away, now that the experiment's record is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.exists() and not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()


def unfinished(experiment: str, settings: Reopened, found: Study, chosen: Chosen) -> Unfinished:
    """The parts that are done of an experiment on this network, with these images and settings.

    By this code and on this machine, since some of them are times.
    """
    about = provenance.describe()
    data = hashlib.sha256()
    for array in (chosen.examples.masks, chosen.targets, found.background):
        data.update(np.ascontiguousarray(array))
    identity = {
        "network": checkpoint.fingerprint(settings.checkpoint),
        "model": (settings.checkpoint / checkpoint.MODEL).read_text(),
        "images": [checkpoint.examples_fingerprint(chosen.examples), data.hexdigest()],
        "settings": without_places(as_json(settings)),
        "versions": about["versions"],
        "machine": {name: each for name, each in about["device"].items() if name != "load_1min"},
        "code": CODE,
    }
    return Unfinished(settings.folder(experiment), experiment, identity)
