"""What the commands' arguments are read as, and refused in one line."""

import argparse
import math
import shutil
from collections.abc import Callable
from typing import Any


def positive(kind: type[Any]) -> Callable[[str], Any]:
    """Reads a number above zero."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"expected {kind.__name__} above 0, got {text}")
        return value

    return read


def program(text: str) -> str:
    """Reads the path, or the name, of something that can be run."""
    if shutil.which(text) is None:
        raise argparse.ArgumentTypeError(f"expected a Python interpreter, got {text}")
    return text
