"""`jaxsal methods`: what can be written after `--method`."""

from typing import Any

from jaxsal.commands.method_syntax import options
from jaxsal.commands.settings import Methods
from jaxsal.methods import COMBINATORS, METHODS
from jaxsal.types import Combinator, Method


def run(settings: Methods) -> dict[str, Any]:
    """Every method and combinator: a line about it, and its options."""
    del settings
    return {
        "methods": {name: _about(function) for name, function in METHODS.items()},
        "combinators": {name: _about(function) for name, function in COMBINATORS.items()},
    }


def _about(function: Method | Combinator) -> dict[str, Any]:
    return {"about": (function.__doc__ or "").split("\n")[0], "options": options(function)}
