"""Reads from its signature which options a method takes, through partials and combinators."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from jaxsal.compiler.checks import check_positive
from jaxsal.types import Tree

Function = Callable[..., Any]
"""A method, a metric, a partial of one, or what a combinator returns."""

RESERVED = ("key",)
"""Options that only the call of the explainer gives."""

CHUNK = "a concrete integer >= 1"
"""What is expected of `chunk`, for errors."""


def name_of(function: object) -> str:
    """A readable name, for messages."""
    function = _unbound(function)
    return str(getattr(function, "__name__", type(function).__name__))


def accepts(function: Function, option: str) -> bool:
    """Whether `option` is a named parameter that no partial has bound yet."""
    return option in _parameters(function) and option not in _bound(function)


def takes(function: Function, option: str) -> bool:
    """Whether `option` is one that nothing has bound yet: of the innermost method, too."""
    inner, bound = innermost(function)
    return accepts(function, option) or (option in _parameters(inner) and option not in bound)


def fixed(function: Function) -> set[str]:
    """The options that must be known when the method is traced, the same for all images."""
    inner = innermost(function)[0]
    read = {row for row, _ in getattr(inner, "bounds", {}).values()}
    return set(getattr(inner, "concrete", ())) - read


def needs_key(function: Function) -> bool:
    """Whether `function` draws random numbers and has no key of its own."""
    parameter = _parameters(function).get("key")
    return (
        parameter is not None
        and parameter.default is parameter.empty
        and "key" not in _bound(function)
    )


def forward_only(function: Function) -> bool:
    """Whether a method says that it evaluates scores alone: one pass then serves all classes."""
    return bool(getattr(innermost(function)[0], "forward_only", False))


def shares_windows(function: Function) -> bool:
    """Whether a method says that its points are windows, at the same places of all images.

    Not a combinator of one: its points are its own.
    """
    function = _unbound(function)
    return bool(getattr(function, "shares_windows", False))


def differentiates(function: Function) -> bool:
    """Whether a method takes a derivative of the image: not a layer's, where it is of a layer."""
    inner = innermost(function)[0]
    of_layer = "layer" in _parameters(inner) and not getattr(inner, "of_image", False)
    return not (of_layer or forward_only(function))


def refined(function: Function, options: Mapping[str, Any]) -> Function | None:
    """The method as one that says how many points it took, where it takes what an image needs.

    None where it has no attribute `refined`, or is given no tolerance. A combinator's is the same
    over its own method's.
    """
    bound: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        bound = {**function.keywords, **bound}
        function = function.func
    if is_combined(function):
        combined: Any = function
        inner = refined(combined.inner, {**bound, **options})
        if inner is None:
            return None
        return functools.partial(dataclasses.replace(combined, inner=inner).refined, **bound)
    telling = getattr(function, "refined", None)
    wanted = {**bound, **options}.get("tolerance") is not None
    return functools.partial(telling, **bound) if telling is not None and wanted else None


def may_be_nan(function: Function) -> bool:
    """Whether what it is defined by leaves some values NaN: its attribute `may_be_nan` says so."""
    return bool(getattr(innermost(function)[0], "may_be_nan", False))


def functions_of(
    function: Any, options: Mapping[str, object], *, complete: bool = True, role: str = "method"
) -> list[Function]:
    """The functions that an explainer is made of, each checked against the options.

    Args:
        function: one, or a dict of them.
        options: of the only function.
        complete: whether every option that a call cannot give must be there already.
        role: what the argument is called.

    Raises:
        TypeError: not a function or a dict of functions, options beside a dict, or see
            `check_options`.
        ValueError: an empty dict.
    """
    if not isinstance(function, Mapping):
        check_options(function, options, complete=complete, role=role)
        return [function]
    if options:
        raise TypeError(
            f"{next(iter(options))}: with a dict of functions, bind options with functools.partial"
        )
    if not function:
        raise ValueError(f"{role}: expected at least one function, got an empty dict")
    for name, each in function.items():
        if not isinstance(name, str):
            raise TypeError(f"{role}: expected names that are strings, got {name!r}")
        check_options(each, {}, complete=complete, role=role)
    return list(function.values())


def bound_chunk(function: Function, options: Mapping[str, object]) -> int:
    """The `chunk` that the options or a partial give, else 1.

    Raises:
        TypeError: no integer.
        ValueError: less than one.
    """
    if "chunk" in options:
        return check_positive("chunk", options["chunk"], CHUNK)
    while isinstance(function, functools.partial):
        if "chunk" in function.keywords:
            return check_positive("chunk", function.keywords["chunk"], CHUNK)
        function = function.func
    return 1


def check_options(
    function: object, options: Mapping[str, object], *, complete: bool = True, role: str = "method"
) -> None:
    """Raises if `function` does not take `options`, or lacks one that no call gives (if complete).

    A combinator passes its options on to the method inside, so that they are checked against
    the innermost signature.

    Raises:
        TypeError: not callable; an unknown, a reserved or a missing option.
    """
    if not callable(function):
        raise TypeError(f"{role}: expected a function or a dict of functions, got {function!r}")
    for option in RESERVED:
        if option in options:
            raise TypeError(f"{option}: is given to the call, not to the explainer")
    inner, _ = innermost(function)
    known = _parameters(inner)
    taken = {*_optional_names(known), *_optional_names(_parameters(function))}
    anything = any(p.kind is p.VAR_KEYWORD for p in known.values())
    unknown = [o for o in options if o not in taken and (o in known or not anything)]
    if unknown:
        listed = ", ".join(sorted(_optional_names(known))) or "none"
        raise TypeError(f"{unknown[0]}: {name_of(inner)} has no such option; its options: {listed}")
    missing = [o for o in missing_options(function, options) if o in fixed(function)]
    if missing and complete:
        raise TypeError(f"{missing[0]}: {name_of(inner)} needs this option, and got none")


def missing_options(function: Function, options: Iterable[str]) -> list[str]:
    """The options without a default that neither `options` nor a partial give."""
    inner, given = innermost(function)
    have = {*options, *given, "key", "chunk"}
    return [
        name
        for name, parameter in _parameters(inner).items()
        if parameter.kind is parameter.KEYWORD_ONLY
        and parameter.default is parameter.empty
        and name not in have
    ]


def check_rows(functions: list[Function], options: Iterable[str], rows: Iterable[str]) -> None:
    """Raises unless the options given with a call, an entry an example, are those still open.

    Args:
        functions: the methods or metrics.
        options: what they were given before.
        rows: what the call is given.

    Raises:
        TypeError: an option that no function takes, that is given twice, or that is missing.
    """
    rows, options = set(rows), set(options)
    for name in sorted(rows):
        if name in options:
            raise TypeError(f"{name}: given when this was made already, and to the call again")
        taken = [function for function in functions if takes(function, name)]
        if any(name in fixed(function) for function in taken):
            raise TypeError(f"{name}: is the same for all images, and not given to the call")
        if not taken or name in (*RESERVED, "chunk"):
            names = ", ".join(name_of(function) for function in functions)
            raise TypeError(f"{name}: no such option, or one that is bound already, of {names}")
    for function in functions:
        for name in missing_options(function, rows | options):
            raise TypeError(f"{name}: {name_of(function)} needs this option, and got none")


def bounds(
    functions: list[Function], options: Iterable[str], rows: Mapping[str, Tree]
) -> tuple[tuple[str, int], ...]:
    """The options that methods read off the rows of a call, before they are traced.

    A method says so in its attribute `bounds`, `{option: (row, count)}`: `count(row [B, ...])` is
    what the largest of the images needs. It is rounded up to one of four sizes an octave, so that
    few programs are compiled. Options that are given are not read, nor are rows that `rows` lacks.
    """
    found: dict[str, int] = {}
    for function in functions:
        for name, (row, count) in getattr(innermost(function)[0], "bounds", {}).items():
            if name not in options and row in rows and takes(function, name):
                found[name] = max(found.get(name, 1), _rounded(count(np.asarray(rows[row]))))
    return tuple(sorted(found.items()))


def _rounded(number: int) -> int:
    """Up to a multiple of an eighth of the next power of two."""
    step = max(1, (1 << max(number - 1, 0).bit_length()) // 8)
    return -(-number // step) * step


def _unbound(function: Any) -> Any:
    """What partials are of."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def innermost(function: Function) -> tuple[Function, set[str]]:
    """The method inside partials and combinators, and the names of the options bound on the way."""
    bound: set[str] = set()
    while True:
        if isinstance(function, functools.partial):
            bound |= set(function.keywords)
            function = function.func
        elif callable(getattr(function, "inner", None)):
            function = function.inner  # type: ignore[attr-defined]
        else:
            return function, bound


def is_combined(value: object) -> bool:
    """Whether a value is what one of this library's combinators returns: a frozen dataclass."""
    ours = is_here(type(value).__module__) and hasattr(value, "inner")
    return ours and dataclasses.is_dataclass(value) and callable(value)


def is_here(module: str) -> bool:
    """Whether a module, by its name, is this library's."""
    return module.partition(".")[0] == __name__.partition(".")[0]


def _parameters(function: Function) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return {}


def _bound(function: Function) -> set[str]:
    bound: set[str] = set()
    while isinstance(function, functools.partial):
        bound |= set(function.keywords)
        function = function.func
    return bound


def _optional_names(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    return [
        name
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in RESERVED
    ]
