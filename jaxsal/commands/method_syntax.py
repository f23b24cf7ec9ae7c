"""Methods by their words: `smoothgrad(integrated_gradients(steps=8), samples=10)`."""

import ast
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxsal.methods import COMBINATORS, METHODS

LONGEST = 500
"""Characters of a method in words."""


def method(words: str) -> Callable[..., Any]:
    """The method that `words` call, with its options bound.

    Args:
        words: a name, or a call as in Python: options by name, a combinator's method first. An
            option that ends in `.npy` is read as an array.

    Raises:
        ValueError: no such method, words of another form, or too many of them.
    """
    if len(words) > LONGEST:
        start = words[:60]
        raise ValueError(f"method: expected {LONGEST} characters at most, got {start!r}...")
    try:
        text, words = words, words if len(words) <= 100 else f"{words[:97]}..."
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"method: {words!r} is neither a name nor name(option=value)") from error
    return _method(tree, words)


def methods(wanted: tuple[str, ...]) -> Any:
    """One method, or of several a dict by their words.

    Raises:
        ValueError: none, one twice, or see `method`.
    """
    names = [" ".join(words.split()) for words in wanted]
    if not names:
        raise ValueError("method: expected at least one; `jaxsal methods` lists them")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"method: {twice[0]!r} is named twice")
    found = {name: method(name) for name in names}
    return found[names[0]] if len(found) == 1 else found


def options(function: Callable[..., Any]) -> dict[str, str]:
    """The options of a method with their defaults as text; "" where one is needed."""
    return {
        name: "" if parameter.default is parameter.empty else repr(parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("key", "chunk")
    }


def _method(tree: ast.expr, words: str) -> Callable[..., Any]:
    if isinstance(tree, ast.Name):
        if tree.id in COMBINATORS:
            raise ValueError(f"method: {tree.id} is of a method; write {tree.id}(gradient)")
        if tree.id not in METHODS:
            listed = ", ".join((*METHODS, *COMBINATORS))
            raise ValueError(f"method: expected one of {listed}; got {tree.id!r}")
        return METHODS[tree.id]
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise ValueError(f"method: {words!r} is neither a name nor name(option=value)")
    given = {str(k.arg): _value(k.value, words) for k in tree.keywords if k.arg is not None}
    if len(given) < len(tree.keywords):
        raise ValueError(f"method: options of {words!r} are given by name")
    name, inner = tree.func.id, [_method(each, words) for each in tree.args if name_like(each)]
    if len(inner) < len(tree.args) or len(inner) != (name in COMBINATORS):
        expected = "one method, then options" if name in COMBINATORS else "options only"
        raise ValueError(f"method: {name} takes {expected}, by name; got {words!r}")
    if inner:
        _check(COMBINATORS[name], given, name)
        return COMBINATORS[name](*inner, **given)
    function = _method(tree.func, words)
    _check(function, given, name)
    return functools.partial(function, **given) if given else function


def name_like(tree: ast.expr) -> bool:
    """Whether an argument can be a method."""
    return isinstance(tree, ast.Name | ast.Call)


def _check(function: Callable[..., Any], given: dict[str, Any], name: str) -> None:
    known = options(function)
    unknown = next((option for option in given if option not in known), None)
    if unknown is not None:
        listed = ", ".join(known) or "none"
        raise ValueError(f"method: {name} has no option {unknown!r}; its options: {listed}")


def _value(tree: ast.expr, words: str) -> Any:
    try:
        value = ast.literal_eval(tree)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"method: options of {words!r} must be plain values") from error
    if isinstance(value, str) and value.endswith(".npy"):
        try:
            return np.load(Path(value), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"method: {value} cannot be read ({error})") from error
    return value
