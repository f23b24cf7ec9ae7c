"""Rewrites where they do not pay: tiny networks are to run what large ones on any platform do."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from jaxsal.compiler import program
from jaxsal.methods import path
from jaxsal.rewrite import affine_prefix, incremental_occlusion, optimize


@contextlib.contextmanager
def forced() -> Iterator[None]:
    """Cheap prefixes are taken out, large blocks stay blocks, every platform's rewrites are on."""

    def everywhere(fun: Callable[..., Any], *, platform: str) -> Callable[..., Any]:
        return optimize.optimize(fun, only=optimize.REWRITES)

    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        whole = functools.partial(affine_prefix.path_gradient, min_work=0.0)
        enter(mock.patch.object(path, "path_gradient", whole))
        enter(mock.patch.object(incremental_occlusion, "MAX_BLOCK_SHARE", 0.9))
        enter(mock.patch.object(program, "optimize", everywhere))
        yield
