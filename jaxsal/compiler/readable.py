"""Functions and options as the Python call that makes them."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxsal.compiler.frameworks import kind_of
from jaxsal.compiler.signatures import name_of


def as_call(
    apply: object, function: object, options: Mapping[str, Any], front: Callable[..., Any]
) -> str:
    """`(apply, function, option=value)`, of a function `front` whose defaults are left out."""
    defaults = {name: each.default for name, each in inspect.signature(front).parameters.items()}
    changed = [
        f"{name}={shown(value)}"
        for name, value in options.items()
        if not (name in defaults and _same(value, defaults[name]))
    ]
    return f"({', '.join([shown(apply), shown(function), *changed])})"


def shown(value: object) -> str:
    """A value in a few words: a method by its name and what it was bound to, an array by shape."""
    if isinstance(value, functools.partial):
        bound = [*map(shown, value.args)]
        bound += [f"{name}={shown(each)}" for name, each in value.keywords.items()]
        return f"{shown(value.func)}({', '.join(bound)})"
    if dataclasses.is_dataclass(value) and hasattr(value, "inner"):  # what combinators return
        own = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        rest = [f"{name}={shown(each)}" for name, each in own.items() if not callable(each)]
        return f"{name_of(value).partition('(')[0]}({', '.join([shown(own['inner']), *rest])})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name!r}: {shown(each)}' for name, each in value.items())}}}"
    if isinstance(value, np.ndarray | jax.Array) and value.ndim:
        return f"{value.dtype}{list(value.shape)}"
    owner = getattr(value, "__self__", None)
    if kind_of(owner):
        return f"{type(owner).__name__}.{name_of(value)}"
    if callable(value):
        return str(getattr(value, "__qualname__", name_of(value))).replace("<locals>.", "")
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _same(value: object, default: object) -> bool:
    """Whether an option is as it is by default; an empty tuple of axes is none."""
    if value is default or (value == () and default is None):
        return True
    return isinstance(value, str | bool | int | float) and value == default
