"""Folders that results are written into, and JSON files that are there whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def writable(out: Path) -> Iterator[Path]:
    """Makes the folder and tries it, before hours are spent on what would fill it.

    Where the body fails, a folder that was made here is removed again if it is empty.

    Raises:
        ValueError: it cannot be made, or not be written to.
    """
    fresh = not os.path.exists(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except (OSError, ValueError) as error:  # ValueError: what no file can be called
        reason = getattr(error, "strerror", None) or error
        text = f"out: {str(out)[:200]!r} cannot be written to ({reason}); expected a folder"
        raise ValueError(text) from error
    try:
        yield out
    except BaseException:
        if fresh and not any(out.iterdir()):
            out.rmdir()
        raise


def finite(tree: Any) -> Any:
    """JSON has no NaN: what is not defined becomes null."""
    if isinstance(tree, dict):
        return {str(name): finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    value = tree.item() if isinstance(tree, np.generic) else tree
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_json(path: Path, tree: Any) -> None:
    """Writes the file aside and renames it."""
    partial = path.with_name(f".{path.name}")
    try:
        partial.write_text(json.dumps(finite(tree), indent=1, allow_nan=False) + "\n")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"out: {path} cannot be written: {error.strerror}") from error
