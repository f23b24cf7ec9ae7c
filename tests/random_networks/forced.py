"""Rewrites where they do not pay: tiny networks are to run what large ones on any platform do."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from jaxsal.compiler import program
from jaxsal.methods import path
from jaxsal.rewrite import fast, line, patch


@contextlib.contextmanager
def forced() -> Iterator[None]:
    """Cheap prefixes are taken out, large blocks stay blocks, every platform's rewrites are on."""

    def everywhere(fun: Callable[..., Any], *, platform: str) -> Callable[..., Any]:
        return fast.fast(fun, only=fast.REWRITES)

    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        enter(mock.patch.object(path, "line", functools.partial(line.line, pays=0.0)))
        enter(mock.patch.object(patch, "LARGEST_SHARE", 0.9))
        enter(mock.patch.object(program, "fast", everywhere))
        yield
