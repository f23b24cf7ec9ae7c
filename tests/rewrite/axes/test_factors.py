"""Digits of axes: merged, split, read backward, resized, and which of two to believe."""

import pytest

from jaxsal.rewrite.axes.factors import (
    combined,
    copies,
    full_axis,
    reshaped,
    resized,
    reversed_,
    unknown,
    whole,
)

H, W, C = whole(0, 8), whole(1, 6), unknown(2)


@pytest.mark.parametrize(
    "shape", [(48, 2), (8, 12), (4, 2, 6, 2), (4, 2, 3, 2, 2), (96,), (2, 24, 2), (8, 6, 2, 1)]
)
def test_a_reshape_and_back_is_nothing(shape):
    there = reshaped((H, W, C), (8, 6, 2), shape)
    assert reshaped(there, shape, (8, 6, 2)) == (H, W, C)


def test_positions_that_are_taken_apart_otherwise_are_lost():
    assert reshaped((H, W, C), (8, 6, 2), (6, 8, 2)) == (unknown(6), unknown(8), C)


def test_only_an_axis_from_end_to_end_is_one_of_the_images():
    major, minor = reshaped((H,), (8,), (4, 2))
    assert full_axis(H) == full_axis(major) == full_axis(resized(major, 4, 9)) == (0, 1)
    assert full_axis(minor) is full_axis(H + W) is full_axis(unknown(8)) is full_axis(()) is None
    assert full_axis(H + copies(2)) == (0, 1) and full_axis(copies(2) + H) is None
    assert full_axis(reversed_(H)) == (0, -1) and full_axis(major + reversed_(minor)) is None
    assert full_axis(resized(H + W, 48, 47)) is None


def test_what_one_operand_does_not_know_is_read_off_the_other():
    assert combined(unknown(8), H, 8) == combined(H, copies(8), 8) == H
    assert combined(copies(8), unknown(8), 8) == unknown(8)
    assert combined(whole(0, 4) + copies(2), H, 8) == H
    assert combined(whole(1, 8), H, 8) == combined(reversed_(H), H, 8) == unknown(8)
