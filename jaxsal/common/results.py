"""What runs of jaxsal leave: folders and maps of scans, told by what lies in them."""

import json
import os
from pathlib import Path
from typing import Any

MODEL, METRICS, CHECKPOINTS = "model.json", "metrics.json", "checkpoints"
"""Of a training; an evaluation has the second."""
FACTS = "facts"
"""In each of the checkpoints."""
INDEX, SHEET, THUMBNAILS = "index.json", "contact_sheet.png", "_thumbnails"
"""Of a folder of pictures."""
GROUP, KEY = "zarr.json", "jaxsal"
"""Of a store of maps, and the attribute that says what it was made of."""
NIFTI = (".nii.gz", ".nii")
"""Endings of maps on the voxels of scans, beside which a record lists them."""

TRAINING, EVALUATION = "a training", "an evaluation"
PICTURES, STORE = "explained pictures", "a store of maps"

KEYS = {
    MODEL: {"classes", "fields", "image_size"},
    METRICS: {"accuracy", "confusion", "classes"},
    INDEX: {"source", "number", "status"},
}
"""What tells a file of a run from another one of its name: keys of its record, or of each one."""


def kind(folder: Path) -> str:
    """What a run has left in a folder: `TRAINING`, `EVALUATION`, ...; "" where none has.

    Runs that were interrupted count: of a training a checkpoint is enough, of pictures one.
    """
    steps = (folder / CHECKPOINTS / name for name in _names(folder / CHECKPOINTS))
    if _is_of_a_run(folder / MODEL) or any(os.path.isdir(step / FACTS) for step in steps):
        return TRAINING
    if _is_of_a_run(folder / METRICS):
        return EVALUATION
    small = _names(folder / THUMBNAILS)
    drawn = small and all(name.endswith(".png") and name[:-4].isdecimal() for name in small)
    if drawn or _is_of_a_run(folder / INDEX):
        return PICTURES
    group = _read_json(folder / GROUP)
    attributes = group.get("attributes") if isinstance(group, dict) else None
    return STORE if isinstance(attributes, dict) and KEY in attributes else ""


def pictures(folder: Path) -> set[str]:
    """The pictures that a run has drawn into a folder, by its index, but for the thumbnails."""
    if not _is_of_a_run(folder / INDEX):
        return set()
    names = (entry.get("file") for entry in _read_json(folder / INDEX))
    return {SHEET, *(name for name in names if isinstance(name, str))}


def maps(record: Path) -> set[str] | None:
    """The maps of scans that a run's record lists, by their paths from it; None: it is no run's."""
    found = _read_json(record)
    names = found.get("files") if isinstance(found, dict) and "images" in found else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return {*names}


def _is_of_a_run(path: Path) -> bool:
    found = _read_json(path)
    records = found if isinstance(found, list) else [found]
    keys = KEYS[path.name]
    return bool(records) and all(isinstance(r, dict) and keys <= r.keys() for r in records)


def _read_json(path: Path) -> Any:
    """What a JSON file holds; None where there is none, or it cannot be read."""
    try:
        return json.loads(path.read_text()) if os.path.isfile(path) else None
    except (OSError, ValueError, RecursionError):
        return None


def _names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files left out; nothing where there is none."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except (OSError, ValueError):  # ValueError: a name that no folder can have
        return []
