"""Warnings that point at the caller's own line."""

import sys
import warnings

_PASSED = {__name__.partition(".")[0], "jaxtyping", "beartype"}
"""This library, and what checks its types."""


def warn(message: str) -> None:
    """A `RuntimeWarning` at the innermost line that is not this library's."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _PASSED
