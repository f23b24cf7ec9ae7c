"""Targets of any width: those that int32 cannot hold are no class, wherever they come from."""

import jax
import numpy as np
import pytest

import jaxsal
from jaxsal.compiler.targets import as_rows
from tests import toy

WIDE = [0, 2, -1, -(2**31), 2**31 - 1, 2**31, 2**32 + 1, -(2**31) - 1, -(2**32) + 1, -(2**63)]


@pytest.mark.parametrize(
    "targets",
    [np.array(WIDE), np.array([2, 2**63 + 1, 2**64 - 1], np.uint64), np.array([1, -128], np.int8)],
    ids=lambda targets: str(targets.dtype),
)
def test_traced_or_not_they_are_the_same_classes_or_none(targets: np.ndarray) -> None:
    count = len(targets)
    with jax.enable_x64(True):
        traced = jax.jit(as_rows, static_argnums=1)(targets, count)
    expected = [target if 0 <= target < 2**31 else -1 for target in targets.tolist()]
    assert as_rows(targets, count).tolist() == traced.tolist() == expected
    single = [as_rows(np.asarray(target), 2).tolist() for target in targets]
    assert single == [[target] * 2 for target in expected]


@pytest.mark.parametrize("target", [-(2**32) + 1, 2**32 + 1])
def test_a_target_that_would_wrap_onto_a_class_gives_no_map(target: int) -> None:
    explain = jaxsal.explainer(toy.linear, jaxsal.gradient, check=False)
    weights, images = toy.images(3, shape=(4,)).T, toy.images(2, shape=(4,))
    assert np.isnan(explain(weights, images, target)).all()
    np.testing.assert_array_equal(np.isnan(explain(weights, images, [1, target]))[:, 0], [0, 1])
