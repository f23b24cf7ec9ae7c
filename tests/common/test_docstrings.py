"""What a function takes stands in its own help, where its docstring refers to another's, too."""

import inspect
import re
from typing import Any

import pytest

import jaxsal
from jaxsal.common import docstrings

FUNCTIONS = jaxsal.METHODS | jaxsal.COMBINATORS | jaxsal.METRICS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_is_in_the_help(name: str) -> None:
    function: Any = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters.values()
    for option in [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]:
        assert re.search(rf"\b{option}(, \w+)*: |`{option}`", text), option


def test_sections_of_what_is_referred_to_are_appended_as_they_are_asked_for() -> None:
    def first() -> None:
        """The first.

        Args:
            x: a number.

        Returns:
            Another.

        Raises:
            ValueError: negative x.

        References:
            A book.
        """

    def second() -> None:
        """The second. Arguments and errors as for `first`."""

    def third() -> None:
        """The third. Arguments,
        result and errors: `second`.
        """

    def fourth() -> None:
        """The fourth: of `first`."""

    functions = {f.__name__: f for f in (first, second, third, fourth)}
    before = {name: inspect.getdoc(f) for name, f in functions.items()}
    docstrings.complete(functions)
    after = {name: inspect.getdoc(f) for name, f in functions.items()}
    shared = "From `first`:\n\nArgs:\n    x: a number.\n\nRaises:\n    ValueError: negative x."
    assert after["second"] == f"{before['second']}\n\n{shared}"
    assert after["third"] == f"{before['third']}\n\n{shared}"
    assert after["first"] == before["first"] and after["fourth"] == before["fourth"]


def test_help_of_a_class_activation_map_is_its_modules() -> None:
    text = inspect.getdoc(jaxsal.grad_cam) or ""
    for section in ("Args:\n    score: image", "Returns:\n    A float32 map", "Raises:\n    Value"):
        assert section in text
    assert text.startswith("Channels weighted by their mean gradient")
