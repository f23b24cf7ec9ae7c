"""Edits of a tumour, on images where what must come out is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import edits, sham_controls, shape_figures
from jaxsal.metrics.regions import ring

SIZE = 40
GRID = np.mgrid[:SIZE, :SIZE]
TALL = (np.abs(GRID[0] - 20) <= 9) & (np.abs(GRID[1] - 20) <= 3)
"""A tumour three times as high as wide."""
PLACE = np.array([0, 12], np.int32)


def image(background: float, seed: int = 0) -> np.ndarray:
    texture = np.random.default_rng(seed).uniform(0.5, 1.0, (SIZE, SIZE))
    return np.where(TALL, texture, background)[..., None].astype(np.float32)


@pytest.fixture(scope="module")
def black() -> dict[str, np.ndarray]:
    """Every edit of a tumour on black: all that is left is the tumour."""
    return {name: np.asarray(x) for name, x in _edit(image(0.0), TALL, PLACE).items()}


_edit = jax.jit(edits.edited)


def test_a_tumour_removed_from_a_constant_leaves_it_constant() -> None:
    found = _edit(image(0.3), TALL, PLACE)
    for name in ("tumour removed", "both removed"):
        np.testing.assert_allclose(found[name], 0.3, atol=1e-4)
    np.testing.assert_allclose(found["put back"], image(0.3), atol=1e-4)
    np.testing.assert_allclose(found["surround removed"], image(0.3), atol=1e-4)


def test_flattened_has_the_tumours_mean_and_its_shape(black) -> None:
    flat = black["texture flattened"][..., 0]
    np.testing.assert_allclose(flat[TALL], image(0.0)[TALL].mean(), rtol=1e-5)
    assert not flat[~TALL].any()


def test_moved_is_the_same_tumour_elsewhere(black) -> None:
    np.testing.assert_allclose(black["moved"], np.roll(image(0.0), PLACE, (0, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("put back", 1),
        ("nudged", 1),
        ("turned", 1),
        ("shape made a disc", 1),
        ("resampled as the disc", 1),
        ("dilated", 2),
        ("eroded", 0.5),
    ],
)
def test_areas_and_brightness_are_as_promised(black, name: str, area: float) -> None:
    mass = black[name].sum() / image(0.0).sum()
    np.testing.assert_allclose(mass, area, rtol=0.06)


def test_only_the_disc_is_round(black) -> None:
    def elongation(name: str) -> float:
        weight = black[name][..., 0] / black[name].sum()
        centre = [(axis * weight).sum() for axis in GRID]
        spread = np.cov(GRID.reshape(2, -1), aweights=weight.ravel(), bias=True)
        np.testing.assert_allclose(centre, 20, atol=0.6)
        values = np.linalg.eigvalsh(spread)
        return float(np.sqrt(values[1] / values[0]))

    for name in ("put back", "turned", "resampled as the disc"):
        assert elongation(name) > 2.3
    assert elongation("shape made a disc") < 1.2


def test_the_discs_control_keeps_each_pixel_within_half_a_pixel_of_its_place() -> None:
    ramp = np.where(TALL, GRID[0] / 40, 0.0)[..., None].astype(np.float32)  # 1/40 a pixel
    found = _edit(ramp, TALL, PLACE)["resampled as the disc"]
    inner = TALL & np.roll(TALL, 2, 0) & np.roll(TALL, -2, 0) & np.roll(TALL, 1, 1)
    inner &= np.roll(TALL, -1, 1)
    gap = np.abs(found - ramp)[inner]
    assert gap.max() <= 0.5 / 40 + 1e-6 and gap.max() > 0.1 / 40


def test_the_surround_goes_and_the_tumour_stays() -> None:
    around = np.asarray(ring(jnp.asarray(TALL), width=edits.SURROUND))
    far = ~TALL & ~around
    scene = np.where(around, 0.9, np.where(TALL, 0.6, 0.2))[..., None].astype(np.float32)
    found = _edit(scene, TALL, PLACE)
    np.testing.assert_allclose(found["surround removed"][..., 0][around], 0.2, atol=1e-3)
    for where in (TALL, far):
        np.testing.assert_array_equal(found["surround removed"][where], scene[where])
    np.testing.assert_allclose(found["both removed"], 0.2, atol=1e-3)


def test_shams_lie_in_the_head_and_off_the_tumour() -> None:
    head = np.hypot(GRID[0] - 20, GRID[1] - 20) < 18
    small = (np.abs(GRID[0] - 20) <= 4) & (np.abs(GRID[1] - 20) <= 2)
    scene = np.where(small, 0.9, np.where(head, 0.4, 0.0))[..., None].astype(np.float32)
    scenes, masks = np.stack([scene, scene]), np.stack([small, head])
    places = sham_controls.draw(scenes, masks, 5, width=edits.SURROUND, seed=0)
    np.testing.assert_array_equal(places.found, [True, False])  # the head fits nowhere else
    for first, second in zip(places.first[0], places.second[0], strict=True):
        sham = sham_controls.shifted(small, first)
        assert sham.sum() == small.sum() and not (sham & small).any()
        assert not (sham & ~head).any() and (first != 0).any()
        onward = sham_controls.shifted(sham, second)
        assert not (onward & ~head).any() and not (onward & (sham | small)).any()
    assert len(np.unique(places.first[0], axis=0)) == 5


def test_shams_have_their_surround_off_the_tumours_where_there_is_room() -> None:
    wide, narrow = (np.hypot(GRID[0] - 20, GRID[1] - 20) < radius for radius in (19, 12))
    small = (np.abs(GRID[0] - 14) <= 2) & (np.abs(GRID[1] - 20) <= 2)
    scenes = np.stack([0.4 * head[..., None].astype(np.float32) for head in (wide, narrow)])
    places = sham_controls.draw(scenes, np.stack([small] * 2), 4, width=edits.SURROUND, seed=0)
    assert places.apart.tolist() == [[True] * 4, [True] * 4] and places.apart_share() == 1.0
    whole = small | np.asarray(ring(jnp.asarray(small), width=edits.SURROUND))
    for by in places.first.reshape(-1, 2):
        assert not (sham_controls.shifted(whole, by) & whole).any()
    tight, tighter = (np.hypot(GRID[0] - 20, GRID[1] - 20) < radius for radius in (7.5, 7))
    scenes = np.stack([0.4 * head[..., None].astype(np.float32) for head in (tight, tighter)])
    places = sham_controls.draw(scenes, np.stack([small] * 2), 4, width=edits.SURROUND, seed=0)
    assert places.found.all() and places.apart.sum(1).tolist() == [2, 0]
    assert places.apart_share() == 0.25


def test_the_figure_of_edits_shows_every_class() -> None:
    picked = shape_figures.picked(np.array([0, 0, 0, 2, 1, 0, 2]))
    assert picked.tolist() == [0, 4, 3, 1]
