"""Folders that runs of jaxsal have written into, told by what lies in them."""

import json
import os
from pathlib import Path
from typing import Any

MODEL, METRICS, CHECKPOINTS = "model.json", "metrics.json", "checkpoints"
"""Of a training; an evaluation has the second."""
FACTS = "facts"
"""In each of the checkpoints."""
INDEX, THUMBNAILS = "index.json", "_thumbnails"
"""Of a folder of pictures."""

TRAINING, EVALUATION, PICTURES = "a training", "an evaluation", "explained pictures"

KEYS = {
    MODEL: {"classes", "fields", "image_size"},
    METRICS: {"accuracy", "confusion", "classes"},
    INDEX: {"source", "number", "status"},
}
"""What tells a file of a run from another one of its name: keys of its record, or of each one."""


def kind(folder: Path) -> str:
    """What a run has left in a folder: `TRAINING`, `EVALUATION`, `PICTURES`; "" where none has.

    Runs that were interrupted count: of a training a checkpoint is enough, of pictures one.
    """
    steps = (folder / CHECKPOINTS / name for name in _names(folder / CHECKPOINTS))
    if _is_of_a_run(folder / MODEL) or any(os.path.isdir(step / FACTS) for step in steps):
        return TRAINING
    if _is_of_a_run(folder / METRICS):
        return EVALUATION
    small = _names(folder / THUMBNAILS)
    drawn = small and all(name.endswith(".png") and name[:-4].isdecimal() for name in small)
    return PICTURES if drawn or _is_of_a_run(folder / INDEX) else ""


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where it is none, or cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None


def _is_of_a_run(path: Path) -> bool:
    found = read_json(path)
    records = found if isinstance(found, list) else [found]
    keys = KEYS[path.name]
    return bool(records) and all(isinstance(r, dict) and keys <= r.keys() for r in records)


def _names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files left out; nothing where there is none."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except (OSError, ValueError):  # ValueError: a name that no folder can have
        return []
