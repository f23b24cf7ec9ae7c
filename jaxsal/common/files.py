"""Files that are there whole or not at all, and the folders that they are written into."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: renamed to it at the end, removed where the body fails.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"out: {path} cannot be written: {error.strerror or error}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, tree: Any) -> None:
    """Writes a tree as JSON, with null for what is not finite."""
    with write_atomically(path) as partial:
        partial.write_text(json.dumps(finite(tree), indent=1, allow_nan=False) + "\n")


def finite(tree: Any) -> Any:
    """The tree as JSON can hold it: NaN and infinities become None, NumPy's numbers Python's."""
    if isinstance(tree, dict):
        return {str(name): finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    value = tree.item() if isinstance(tree, np.generic) else tree
    return None if isinstance(value, float) and not np.isfinite(value) else value


@contextmanager
def writable(out: Path) -> Iterator[Path]:
    """Makes the folder and writes to it once, before hours are spent on what would fill it.

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
