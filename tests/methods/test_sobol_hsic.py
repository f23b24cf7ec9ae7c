"""Sobol' indices and HSIC of cells: what is known of functions of few cells; borders, errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.methods._grid import grid_of
from jaxsal.methods.hsic import hsic, hsic_over, median_difference
from jaxsal.methods.sobol import draw_designs, sobol, total_indices
from tests import toy

KEY = jax.random.key(0)
IMAGE = jnp.asarray(toy.images(1, shape=(7, 9, 1))[0])
PARAMS = toy.params()


def cells_of(map, cells):
    """The value of each of the grid's cells, of a map that is constant over them."""
    grid = grid_of(cells, IMAGE, (0, 1))
    numbers = np.asarray(grid.mask(jnp.arange(cells**2)))
    values = [np.unique(np.asarray(map)[numbers == cell]) for cell in range(cells**2)]
    assert all(len(value) == 1 for value in values)
    return np.concatenate(values)


SIZES = np.outer([2, 3, 2], [3, 3, 3]).ravel().astype(np.float32)


def part(weights):
    """A score that is a sum over cells of 3 a side: of each cell's share shown, so much."""
    mask = grid_of(3, IMAGE, (0, 1)).mask
    return lambda image: jnp.sum(mask(weights / SIZES)[..., None] * image)


@jax.jit
def explained(weights, origin):
    score = lambda x: part(weights)(x) + origin  # noqa: E731
    ones = jnp.ones_like(IMAGE)
    return (
        sobol(score, ones, grid=3, designs=256, chunk=9),
        hsic(score, ones, grid=3, designs=200, key=KEY, chunk=50),
    )


def test_scores_that_differ_by_rounding_alone_have_no_indices():
    """Of a score that is constant, one of two programs for it may differ in the last place."""
    last = np.nextafter(np.float32(1000), np.float32(2000))
    whole = jnp.full(4, 1000.0)
    changed = jnp.full((4, 2), 1000.0).at[1, 0].set(last)
    assert not total_indices(whole, changed).any()
    assert not total_indices(whole.at[2].set(last), changed).any()
    assert jnp.isnan(total_indices(whole, changed.at[0, 0].set(jnp.nan))[0])
    other = whole.at[2:].add(0.5)
    np.testing.assert_allclose(total_indices(other, other[::-1, None]), 1.5, rtol=1e-4)


@given(st.integers(0, 8), st.floats(-3, 3), st.floats(0.5, 2))
def test_a_function_of_one_cell(cell, origin, weight):
    """All variance is that cell's, wherever the scores lie; of the others HSIC has chance alone."""
    indices, dependence = (
        cells_of(map, 3) for map in explained(jnp.zeros(9).at[cell].set(weight), origin)
    )
    others = np.arange(9) != cell
    np.testing.assert_allclose(indices[cell], 1, atol=0.02)
    np.testing.assert_allclose(indices[others], 0, atol=1e-6)
    assert dependence[cell] > 10 * dependence[others].max()


def test_a_sum_of_cells_has_their_squares():
    """Of a score that is linear in the masks, index i is w_i² / Σ w²."""
    weights = jnp.arange(9.0)
    indices = cells_of(explained(weights, 0.0)[0], 3)
    np.testing.assert_allclose(indices, weights**2 / jnp.sum(weights**2), atol=0.03)


def test_hsic_is_its_definition_with_the_median_of_the_scores_differences():
    """By matrices, one cell after another, of a score that is the square of a sum of cells."""
    masks, weights = np.random.default_rng(0).random((12, 9)) < 0.5, np.arange(9.0)
    linear = part(jnp.asarray(weights, jnp.float32))
    over = partial(hsic_over, lambda x: jnp.square(linear(x)), grid=3, chunk=5)
    found = cells_of(jax.jit(over)(jnp.ones_like(IMAGE), masks), 3)
    scores = (masks @ weights) ** 2
    away, centre = np.abs(np.subtract.outer(scores, scores)), np.eye(12) - 1 / 12
    alike = np.exp(-((away / np.median(away[np.triu_indices(12, 1)])) ** 2) / 2)
    for cell in range(9):
        shown = 1.5 - np.subtract.outer(masks[:, cell] + 0.0, masks[:, cell] + 0.0) ** 2
        both = (centre @ shown @ centre) * (centre @ alike @ centre)
        np.testing.assert_allclose(found[cell], both.sum() / 12, rtol=1e-4, atol=1e-5)


def test_a_width_is_never_zero():
    """The median of differences, their mean where more than half of them are 0."""
    assert median_difference(jnp.asarray([1.0, 2.0, 4.0])) == 2
    assert median_difference(jnp.asarray([0.0, 0, 0, 0, 6])) == pytest.approx(4 * 6 / 10)
    assert median_difference(jnp.full(4, 7.0)) == jnp.inf


def test_a_constant_score_has_neither_variance_nor_dependence():
    for map in explained(jnp.zeros(9), 1e3):
        np.testing.assert_array_equal(map, 0)


@given(st.floats(0.1, 10), st.floats(-10, 10))
def test_neither_scale_nor_origin_of_the_score_counts(factor, origin):
    weights = jnp.arange(9.0) / 9
    for found, plain in zip(
        explained(factor * weights, origin), explained(weights, 0.0), strict=True
    ):
        np.testing.assert_allclose(found, plain, rtol=0, atol=2e-3 * plain.max())


@pytest.mark.parametrize("grid", [2, 3, 4])
def test_what_a_cell_changes_is_computed_alone(grid):
    """Cells that do not divide the image, also at its borders: as if computed whole."""
    images = jnp.asarray(toy.images(1, seed=2)[0]) + 1
    score = lambda x: toy.score(PARAMS, x, 1)  # noqa: E731
    whole = lambda image, mask: image * mask  # noqa: E731
    found, expected = (
        jax.jit(partial(sobol, score, grid=grid, designs=4, perturbation=each, chunk=5))(images)
        for each in ("inpaint", whole)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def test_masks_are_nearest_by_centres():
    """floor((i + 1/2) grid / size): of 7 pixels and 3 cells the middle one has the third pixel."""
    grid = grid_of(3, IMAGE, (0, 1))
    rows = np.asarray(grid.mask(jnp.arange(9)))[:, 0] // 3
    np.testing.assert_array_equal(rows, [0, 0, 1, 1, 1, 2, 2])
    windows = grid.windows()
    assert windows.size == (3, 3)
    assert (windows.begin + windows.size <= (7, 9)).all() and (windows.begin >= 0).all()
    for cell, (begin, first, last) in enumerate(zip(*windows[1:], strict=True)):
        inside = np.zeros((7, 9), bool)
        inside[tuple(slice(b + f, b + e) for b, f, e in zip(begin, first, last, strict=True))] = (
            True
        )
        np.testing.assert_array_equal(inside, grid.mask(jnp.arange(9)) == cell)


def test_designs_are_the_sequence_without_its_first_point():
    draws = draw_designs(7, 3)
    assert draws.shape == (7, 6)
    np.testing.assert_array_equal(draws[0], 0.5)
    assert len(np.unique(draws, axis=0)) == 7


@pytest.mark.parametrize(
    ("method", "options", "error", "match"),
    [
        (sobol, {"grid": 8}, ValueError, "grid: expected cells of a pixel or more"),
        (sobol, {"designs": 1}, ValueError, "designs: expected an integer >= 2"),
        (sobol, {"perturbation": "noise"}, ValueError, "perturbation: expected inpaint, blur, amp"),
        (sobol, {"resize": "linear"}, ValueError, "resize: expected one of nearest, bicubic"),
        (hsic, {"baseline": np.ones(3), "key": KEY}, ValueError, "baseline: expected a scalar"),
    ],
)
def test_what_cannot_be_is_an_error(method, options, error, match):
    with pytest.raises(error, match=match):
        method(jnp.sum, IMAGE, **{"grid": 3, "designs": 2} | options)
