"""Values of any depth become 0 to 1 by one rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxsal.data.intensity import Intensity, Units, check, full_scale, scale, scaled


def seen(values: np.ndarray, units: Units | None = None, *, single: bool = True, **reading):
    units = Units(full_scale(values.dtype)) if units is None else units
    return scaled(values, scale(values, units, Intensity(**reading), single=single))


@given(arrays.arrays(np.uint8, (3, 4)), st.sampled_from(["auto", "stretch", "full"]))
def test_a_picture_is_the_same_in_8_and_in_16_bits(values, rule) -> None:
    deep = values.astype(np.uint16) * 257
    np.testing.assert_allclose(seen(values, rule=rule), seen(deep, rule=rule), atol=1e-6)
    share = values.astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(seen(values, rule=rule), seen(share, rule=rule), atol=1e-5)


def test_what_fills_its_scale_is_left_and_what_does_not_is_stretched() -> None:
    bright, dark = np.array([[0, 51, 255]], np.uint8), np.array([[1000, 1500, 2000]], np.uint16)
    np.testing.assert_allclose(seen(bright), [[0, 0.2, 1]], atol=1e-6)
    np.testing.assert_allclose(seen(dark), [[0, 0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(seen(dark, rule="full") * 65535, dark, rtol=1e-6)
    np.testing.assert_array_equal(seen(dark, rule="raw"), dark)


def test_a_scan_is_stretched_by_the_percentiles_of_all_its_slices() -> None:
    values = np.arange(2001, dtype=np.int16).reshape(3, 23, 29)
    found = seen(values, single=False)
    np.testing.assert_allclose(found, np.clip((values - 10) / 1980, 0, 1), atol=1e-6)


def test_windows_and_what_is_white() -> None:
    values = np.array([[-1000, 0, 40, 80, 3000]], np.int16)
    own = Units(window=(0, 80))
    expected = [[0, 0, 0.5, 1, 1]]
    np.testing.assert_allclose(seen(values, own), expected, atol=1e-6)
    np.testing.assert_allclose(seen(values, Units(), window=(40, 80)), expected, atol=1e-6)
    white = own._replace(inverted=True)
    np.testing.assert_allclose(seen(values, white), 1 - np.array(expected), atol=1e-6)
    np.testing.assert_allclose(seen(values, own, window=(0, 2000))[0, 2], 0.52, atol=1e-6)


def test_no_number_is_the_least_and_none_at_all_an_error() -> None:
    values = np.array([[np.nan, 0.2, 0.8, np.inf]], np.float32)
    np.testing.assert_allclose(seen(values), [[0, 0.2, 0.8, 1]], atol=1e-6)
    with pytest.raises(ValueError, match="no pixel is a finite number"):
        seen(np.full((1, 2), np.nan, np.float32))


def test_a_constant_image_has_no_range_to_divide_by() -> None:
    for dtype in (np.uint8, np.uint16, np.int16, np.float32):
        assert np.isfinite(seen(np.zeros((2, 2), dtype))).all()


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (Intensity(window=(0, 0)), "window: expected CENTER WIDTH"),
        (Intensity(window=(float("nan"), 1)), "window: expected CENTER WIDTH"),
        (Intensity("raw", (0, 1)), "window: stands in place of --intensity raw"),
    ],
)
def test_a_window_that_is_none(reading, message) -> None:
    with pytest.raises(ValueError, match=message):
        check(reading)


def test_what_has_no_full_scale_says_so() -> None:
    with pytest.raises(ValueError, match=r"intensity: .* no full scale"):
        seen(np.zeros((2, 2), np.int16), rule="full")
