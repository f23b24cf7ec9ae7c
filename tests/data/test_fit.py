"""Images made square and of a size are Pillow's; maps come back to the pixels they are of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxsal.data import images
from jaxsal.data.fit import covered, fitted, resampled, unfitted

SIDES = st.integers(1, 24)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@given(SIDES, SIDES, SIDES, SIDES)
def test_resampling_is_pillows_bilinear_filter(height, width, rows, columns) -> None:
    values = noise(height, width)
    image = Image.fromarray(values).resize((columns, rows), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(resampled(values, (rows, columns)), np.asarray(image), atol=2e-6)


@given(st.tuples(SIDES, SIDES, SIDES), SIDES)
def test_a_constant_stays_one_where_the_image_is(shape, size) -> None:
    found = unfitted(fitted(np.ones(shape, np.float32), max(shape), 3), shape)
    np.testing.assert_allclose(found, 1, atol=1e-6)
    assert fitted(np.ones((*shape, 2), np.float32), size, 3).shape == (size, size, size, 2)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 7, 6)])
def test_of_the_image_s_own_side_every_value_comes_back(shape) -> None:
    values = noise(*shape)
    square = fitted(values, max(shape), len(shape))
    assert square.shape == (max(shape),) * len(shape)
    np.testing.assert_array_equal(unfitted(square, shape), values)


@pytest.mark.parametrize("size", [8, 40])
def test_the_largest_value_comes_back_to_its_pixel(size) -> None:
    """Of a smooth map, within half a pixel of the coarser grid."""
    shape, peak = (20, 12), (13, 4)
    away = [np.square(np.arange(n) - at) for n, at in zip(shape, peak, strict=True)]
    blob = np.exp(-(away[0][:, None] + away[1]) / 18).astype(np.float32)
    found = unfitted(fitted(blob, size, 2), shape)
    at = np.unravel_index(found.argmax(), shape)
    assert np.abs(np.subtract(at, peak)).max() <= max(1, 20 / size / 2)


def test_a_map_of_a_bordered_square_lies_over_the_image_without_the_border() -> None:
    map = np.zeros((8, 8), np.float32)
    map[2:6] = 1  # the middle half of the square: all of an image half as high as it is wide
    found = unfitted(map, (20, 40), finer=True)
    assert found.shape == (20, 40) and found[3:-3].min() > 0.8
    np.testing.assert_array_equal(unfitted(map, (2, 4), finer=True), map[2:6])
    assert unfitted(map.T, (4, 2)).shape == (4, 2)


def test_a_mask_that_is_made_smaller_does_not_vanish() -> None:
    mask = np.zeros((16, 12, 8), bool)
    mask[2:10, 4:8, 1:6] = True  # in the cube 2:10, 6:10, 5:10; halved 1:5, 3:5, half of 2 to 5
    small = covered(mask, 8)
    np.testing.assert_array_equal(np.argwhere(small)[[0, -1]], [[1, 3, 2], [4, 4, 4]])
    assert small.sum() == 4 * 2 * 3
    drawn = np.random.default_rng(0).random((24, 24)) < 0.4
    picture = images.png(Image.fromarray(drawn))
    np.testing.assert_array_equal(covered(drawn, 6), images.decode_mask(picture, 6))
    few = np.zeros((16, 16, 16), bool)
    few[5, 5, 5] = True
    assert np.argwhere(covered(few, 4)).tolist() == [[1, 1, 1]]
    np.testing.assert_array_equal(covered(few, 16), few)
    assert not covered(few & False, 4).any()
