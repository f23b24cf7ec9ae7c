"""A bar of the images of one call, for calls of many chunks."""

from collections.abc import Callable
from typing import Any

Bar = Any
"""A tqdm bar, a context."""


def bar_of(what: str) -> Callable[[int], Bar]:
    """Makes a bar of so many images, on the standard error.

    Args:
        what: is made of them.

    Raises:
        ImportError: tqdm is not installed.
    """
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("progress: needs tqdm; pip install tqdm") from error
    return lambda count: tqdm(total=count, desc=what, unit="image")
