"""Methods written as Python calls: `smoothgrad(integrated_gradients(steps=8), samples=10)`."""

import ast
import functools
import inspect
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxsal.common.spelling import unknown
from jaxsal.methods import COMBINATORS, METHODS
from jaxsal.types import Combinator, Method

LONGEST = 500
"""The most characters of a method."""
FILE = re.compile(r"""(['"])[^'"]*/([^'"/]+\.npy)\1""")
"""An option that is a file in another folder."""


def method(text: str) -> Method:
    """The method that `text` calls, with its options bound.

    Args:
        text: a name, or a call as in Python: options by name, a combinator's method first. An
            option that ends in `.npy` is read as an array.

    Raises:
        ValueError: no such method, text of another form, or too long.
    """
    if len(text) > LONGEST:
        start = text[:60]
        raise ValueError(f"method: expected {LONGEST} characters at most, got {start!r}...")
    try:
        shown = text if len(text) <= 100 else f"{text[:97]}..."
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"method: {shown!r} is neither a name nor name(option=value)") from error
    return _method(tree, shown)


def methods(texts: tuple[str, ...]) -> Method | dict[str, Method]:
    """One method, or of several a dict by their `names`.

    Raises:
        ValueError: none, one twice, or see `method`.
    """
    written = [" ".join(text.split()) for text in texts]
    if not written:
        raise ValueError("method: expected at least one; `jaxsal methods` lists them")
    twice = sorted({text for text in written if written.count(text) > 1})
    if twice:
        raise ValueError(f"method: {twice[0]!r} is named twice")
    found = [method(text) for text in written]
    return found[0] if len(found) == 1 else dict(zip(names(texts), found, strict=True))


def names(texts: Sequence[str]) -> tuple[str, ...]:
    """What the maps of methods are called: their texts, so that folders can have these names.

    A file is there without its folder, and a layer's path has dots. Of the same names the second
    ends in -2.
    """
    found: list[str] = []
    for text in texts:
        called = FILE.sub(r"\1\2\1", " ".join(text.split())).replace("/", ".").replace('"', "'")
        found.append(_free(called, found))
    return tuple(found)


def _free(name: str, taken: Sequence[str]) -> str:
    """The name, with the first number behind it that makes it none of those taken."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def options(function: Method | Combinator) -> dict[str, str]:
    """The options of a method with their defaults as text; "" where one is needed."""
    return {
        name: "" if parameter.default is parameter.empty else repr(parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("key", "chunk")
    }


def _method(tree: ast.expr, text: str) -> Method:
    if isinstance(tree, ast.Name):
        if tree.id in COMBINATORS:
            raise ValueError(f"method: {tree.id} is of a method; write {tree.id}(gradient)")
        _check_known(tree.id)
        _check(METHODS[tree.id], {}, tree.id)
        return METHODS[tree.id]
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise ValueError(f"method: {text!r} is neither a name nor name(option=value)")
    _check_known(tree.func.id)
    given = {str(k.arg): _value(k.value, text) for k in tree.keywords if k.arg is not None}
    if len(given) < len(tree.keywords):
        raise ValueError(f"method: options of {text!r} are given by name")
    name, inner = tree.func.id, [_method(each, text) for each in tree.args if _may_be_method(each)]
    if len(inner) < len(tree.args) or len(inner) != (name in COMBINATORS):
        expected = "one method, then options" if name in COMBINATORS else "options only"
        raise ValueError(f"method: {name} takes {expected}, by name; got {text!r}")
    if inner:
        _check(COMBINATORS[name], given, name)
        return COMBINATORS[name](*inner, **given)
    function = METHODS[name]
    _check(function, given, name)
    return functools.partial(function, **given) if given else function


def _check_known(name: str) -> None:
    known = (*METHODS, *COMBINATORS)
    if name not in known:
        raise ValueError(unknown("method", name, known, listed_by="jaxsal methods"))


def _may_be_method(tree: ast.expr) -> bool:
    """Whether an argument can be a method."""
    return isinstance(tree, ast.Name | ast.Call)


def _check(function: Method | Combinator, given: dict[str, Any], name: str) -> None:
    known = options(function)
    unknown = next((option for option in given if option not in known), None)
    if unknown is not None:
        listed = ", ".join(known) or "none"
        raise ValueError(f"method: {name} has no option {unknown!r}; its options: {listed}")
    for option, default in known.items():
        if not default and option not in given:
            raise ValueError(
                f"{option}: {name} needs this option, and got none: {name}({option}=...); an array "
                f"is a file, {name}({option}='NAME.npy')"
            )


def _value(tree: ast.expr, text: str) -> Any:
    try:
        value = ast.literal_eval(tree)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"method: options of {text!r} must be plain values") from error
    if isinstance(value, str) and value.endswith(".npy"):
        try:
            return np.load(Path(value), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"method: {value} cannot be read ({error})") from error
    return value
