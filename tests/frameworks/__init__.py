"""README's table of frameworks, row by row: what is written there, and whether it is right.

`python -m tests.frameworks` tries those whose packages are too heavy for the tests.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxsal

README = (Path(__file__).parents[2] / "README.md").read_text()


class Row(NamedTuple):
    """A framework's row: its name, and the code of `apply` and `params`."""

    name: str
    apply: str
    params: str


def rows() -> list[Row]:
    """The rows of the table under "Your own model"."""
    section = README.split("\n## Your own model\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (.*?) \| `(.*?)` \| `(.*?)` \|$", section, re.MULTILINE)
    return [Row(*row) for row in found[1:]]  # below its head


class Case(NamedTuple):
    """A real model of a framework, and its logits in the framework's own words.

    Attributes:
        names: what the row's code refers to.
        images: [2, ...].
        logits: of images, without jaxsal and without the row's `apply`.
    """

    names: dict[str, Any]
    images: Any
    logits: Callable[[Any], Any]


LABELS = np.array([2, 0])


METHODS = {"gradient": jaxsal.gradient, "lrp": jaxsal.lrp, "deep_lift": jaxsal.deep_lift}


def check(name: str, case: Case) -> None:
    """The maps of the two lines of the row of that name are the gradients of the case's logits.

    Those that go by rules run unmodified: DeepLIFT's sum to the logits' differences.
    """
    row = next(row for row in rows() if row.name.startswith(name))
    names = {"jax": jax, **case.names}
    explain = jaxsal.explainer(eval(row.apply, names), METHODS)
    found = explain(eval(row.params, names), case.images, LABELS)
    maps = found["gradient"]

    def chosen(images: Any) -> Any:
        return case.logits(images)[np.arange(2), LABELS].sum()

    expected = np.asarray(jax.jit(jax.grad(chosen))(case.images))
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(maps, expected, atol=1e-5 * np.abs(expected).max())
    logits = (np.asarray(case.logits(images)) for images in (case.images, case.images * 0))
    here, there = (each[np.arange(2), LABELS] for each in logits)
    axes = tuple(range(1, maps.ndim))
    rounding = 1e-5 * np.abs(found["deep_lift"]).sum(axes).max()
    np.testing.assert_allclose(found["deep_lift"].sum(axes), here - there, atol=rounding)
    assert np.abs(found["lrp"]).max() > 0
