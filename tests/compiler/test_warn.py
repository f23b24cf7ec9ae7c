"""A warning points at the line of who called the library."""

import warnings

import pytest

import jaxsal
from jaxsal.compiler.warn import warn
from tests import toy


def test_it_points_at_the_caller() -> None:
    explain = jaxsal.explainer(lambda _, x: toy.apply(toy.params(), x), jaxsal.gradient)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explain((), toy.images(1), 0)
    assert [each.filename for each in caught] == [__file__]
    with pytest.warns(RuntimeWarning, match="^apply: a word$"):
        warn("apply: a word")
