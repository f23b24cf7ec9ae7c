"""Docstrings that refer to another one for what a function takes: `help` shows it there too."""

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

_REFERENCE = re.compile(r"[Aa]rguments[^.`]*`([\w.]+)`")
"""Such as "Arguments, result and errors: `jaxsal.methods.cam`", or "as for `smoothgrad`"."""

_SECTIONS = {"rguments": "Args:", "result": "Returns:", "errors": "Raises:"}
"""What is referred to, by the word for it."""


def complete(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Appends to docstrings the sections that they refer to.

    Args:
        functions: by their names; docstrings refer to others of them, or to modules by their paths.
    """
    texts = {name: inspect.getdoc(function) or "" for name, function in functions.items()}
    for name, function in functions.items():
        if parts := _referred(texts[name], texts, tuple(_SECTIONS.values())):
            function.__doc__ = "\n\n".join([texts[name], *parts])


def _referred(text: str, texts: Mapping[str, str], wanted: tuple[str, ...]) -> list[str]:
    """The sections that a docstring refers to, and those that these refer to in their turn."""
    found = _REFERENCE.search(text)
    if found is None:
        return []
    name = found[1]
    other = texts[name] if name in texts else inspect.getdoc(sys.modules[name]) or ""
    wanted = tuple(s for word, s in _SECTIONS.items() if word in found[0] and s in wanted)
    own = [part for part in other.split("\n\n") if part.startswith(wanted)]
    headed = [f"From `{name}`:", *own] if own else []
    return headed + _referred(other, texts, wanted)
