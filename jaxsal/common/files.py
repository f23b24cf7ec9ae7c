"""Folders that results are written into, and files that are there whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jaxsal.types import Tree


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; what is written there takes the place of `path`.

    Where the body fails, `path` is left as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_result(path: Path, content: bytes) -> None:
    """Writes a file below the `--out` folder, atomically.

    Raises:
        OSError: it cannot be written; the message names the option.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise OSError(f"out: {path} cannot be written: {error.strerror}") from error


def write_json(path: Path, tree: Tree) -> None:
    """Writes a tree of numbers and text as `write_result` does; NaN becomes null."""
    write_result(path, (json.dumps(finite(tree), indent=1, allow_nan=False) + "\n").encode())


def finite(tree: Tree) -> Tree:
    """The tree as JSON can hold it, which has no NaN: what is not defined becomes null."""
    if isinstance(tree, dict):
        return {str(name): finite(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    value = tree.item() if isinstance(tree, np.generic) else tree
    return None if isinstance(value, float) and not np.isfinite(value) else value


@contextmanager
def writable(out: Path) -> Iterator[Path]:
    """Makes the folder and tries to write there, before hours are spent on what would fill it.

    Where the body fails, a folder that was made here is removed again if it is empty.

    Raises:
        ValueError: it cannot be made, or not be written to.
    """
    fresh = not os.path.exists(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        text = f"out: {str(out)[:200]!r} cannot be written to ({reason}); expected a folder"
        raise ValueError(text) from error
    try:
        yield out
    except BaseException:
        if fresh and not any(out.iterdir()):
            out.rmdir()
        raise
