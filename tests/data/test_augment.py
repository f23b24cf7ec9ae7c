"""Poses are affine maps, and tones keep black and white in range."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BarycentricInterpolator

from jaxsal.data.augment import augment, pose, resample, tone

STILL = {"flip": False, "rotation": 0.0, "scale": (1.0, 1.0), "shift": 0.0}
IMAGE = jax.random.uniform(jax.random.key(0), (9, 12, 2))
KEYS = jax.random.split(jax.random.key(7), 200)
numbers = st.floats(-1.5, 1.5, width=32)

moved = jax.jit(resample)
augmented = jax.jit(augment)


def _poses(height, width, **options):
    draw = jax.jit(jax.vmap(partial(pose, height=height, width=width, **options)))
    return [np.asarray(part) for part in draw(KEYS)]


def test_closed_ranges_change_nothing():
    still = jax.jit(partial(augment, **STILL, intensity=0.0))
    np.testing.assert_array_equal(still(KEYS[0], IMAGE), IMAGE)


def _between(line: np.ndarray) -> np.ndarray:
    """The line with a sample between every two: the polynomial through the three on either side."""
    fine = np.zeros(2 * len(line) - 1)
    fine[::2] = line
    padded = np.pad(line, 2)
    for i in range(len(line) - 1):
        fine[2 * i + 1] = BarycentricInterpolator(np.arange(6.0), padded[i : i + 6])(2.5)
    return fine


FINE = np.apply_along_axis(_between, 1, np.apply_along_axis(_between, 0, np.asarray(IMAGE)))


@given(st.tuples(*[numbers] * 4), st.tuples(*[st.floats(-5, 15, width=32)] * 2))
def test_resampling_is_scipys_linear_interpolation_on_a_raster_twice_as_fine(matrix, offset):
    matrix, offset = np.array(matrix, np.float32).reshape(2, 2), np.array(offset, np.float32)
    expected = [
        scipy.ndimage.affine_transform(
            channel, 2 * matrix, 2 * offset, IMAGE.shape[:2], order=1, mode="grid-constant"
        )
        for channel in np.moveaxis(FINE, -1, 0)
    ]
    found = moved(IMAGE, jnp.asarray(matrix), jnp.asarray(offset))
    np.testing.assert_allclose(found, np.stack(expected, -1), atol=2e-5)


@pytest.mark.parametrize("shift", [0.25, 0.5, 0.75])
def test_a_fine_pattern_stays_sharp(shift):
    # Four pixels a period; bilinear on the image's own raster leaves 71 % at half a pixel.
    position = np.arange(40.0)
    image = jnp.asarray(np.sin(np.pi / 2 * position)[None, :, None].repeat(3, 0))
    found = moved(image, jnp.eye(2), jnp.array([0.0, shift]))[1, 8:-8, 0]
    expected = np.sin(np.pi / 2 * (position[8:-8] + shift))
    assert np.dot(found, expected) / np.dot(expected, expected) > 0.9


def test_a_quarter_turn_is_rot90():
    square = IMAGE[:, :9]
    found = moved(square, jnp.array([[0.0, 1.0], [-1.0, 0.0]]), jnp.array([0.0, 8.0]))
    np.testing.assert_allclose(found, np.rot90(square), atol=1e-6)


def test_a_flip_mirrors_left_and_right_half_of_the_time():
    matrices, offsets = _poses(9, 12, **STILL | {"flip": True})
    mirrored = matrices[:, 1, 1] < 0
    assert 70 < mirrored.sum() < 130
    one = int(mirrored.argmax())
    found = moved(IMAGE, jnp.asarray(matrices[one]), jnp.asarray(offsets[one]))
    np.testing.assert_allclose(found, IMAGE[:, ::-1], atol=1e-5)


def test_poses_fill_their_ranges_about_the_centre():
    matrices, offsets = _poses(21, 41, flip=True, rotation=0.5, scale=(0.8, 1.3), shift=0.1)
    factor = 1 / np.sqrt(np.abs(np.linalg.det(matrices)))
    assert factor.min() == pytest.approx(0.8, rel=0.02)
    assert factor.max() == pytest.approx(1.3, rel=0.02)
    turn = np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0])
    assert [turn.min(), turn.max()] == pytest.approx([-0.5, 0.5], rel=0.05)
    # The image's centre c appears where M p + o = c, and that is at c + t.
    centre = np.array([10.0, 20.0])
    shift = np.linalg.solve(matrices, (centre - offsets)[..., None])[..., 0] - centre
    assert np.abs(shift).max(0).tolist() == pytest.approx([2.1, 4.1], rel=0.05)


def test_enlarging_keeps_the_middle_and_shows_less():
    image = jnp.zeros((33, 33, 1)).at[12:21, 12:21].set(1.0)
    twice = jax.jit(partial(augment, **STILL | {"scale": (2.0, 2.0)}, intensity=0.0))
    large = np.asarray(twice(KEYS[0], image))
    assert large.sum() == pytest.approx(4 * 81, rel=0.02) and large[16, 16, 0] == 1


def test_results_stay_in_range_and_keys_differ():
    batch = np.asarray(jax.jit(jax.vmap(augment, (0, None)))(KEYS, IMAGE))
    assert batch.dtype == np.float32 and batch.shape == (200, *IMAGE.shape)
    assert 0 <= batch.min() and batch.max() <= 1
    assert len(np.unique(batch.sum((1, 2, 3)))) == 200
    for one in (0, 117):
        np.testing.assert_allclose(augmented(KEYS[one], IMAGE), batch[one], atol=1e-5)


def test_intensity_is_a_gain_and_a_gamma_and_black_stays_black():
    image = jnp.linspace(0.1, 0.8, 16).reshape(4, 4, 1).at[0, 0].set(0.0)
    found = np.asarray(jax.jit(partial(tone, intensity=0.2))(KEYS[0], image))
    x, y = np.log(np.asarray(image).ravel()[1:]), np.log(found.ravel()[1:])
    gamma, gain = np.polyfit(x, y, 1)
    np.testing.assert_allclose(y, gamma * x + gain, atol=1e-5)
    assert 0 < abs(np.log(gamma)) <= 0.2 and 0 < abs(gain) <= 0.2 and found[0, 0, 0] == 0


def test_the_gradient_is_finite_on_black():
    gradient = jax.jit(jax.grad(lambda image: augment(KEYS[0], image).sum()))
    assert jnp.isfinite(gradient(jnp.zeros((5, 5, 1)))).all()


def test_low_precision_stays_low_precision():
    found = jax.eval_shape(augment, KEYS[0], jnp.zeros((5, 5, 1), jnp.bfloat16))
    assert found.dtype == jnp.bfloat16
