"""Curves and mistakes of a classifier are drawn, also where they are not defined."""

import numpy as np
import pytest

from jaxsal.metrics.operating_curves import reliability, roc_curve
from jaxsal.viz import classification, page

draw = np.random.default_rng(0)


def test_a_curve_without_negatives_is_named_not_defined():
    curves = {"a": roc_curve([0.1, 0.9], [False, True]), "b": roc_curve([0.5], [True])}
    axis = classification.roc(curves).axes[0]
    words = [text.get_text() for text in axis.get_legend().get_texts()]
    assert words == ["guessing", "a", "b: not defined"]
    assert len([line for line in axis.lines if len(line.get_xdata())]) == 2


def test_the_area_below_a_curve_is_that_of_ranks():
    """Scores of four values tie: a tie counts half."""
    scores, positive = draw.integers(0, 4, 60) / 4, draw.random(60) < 0.5
    axis = classification.roc({"a": roc_curve(scores, positive)}).axes[0]
    drawn = axis.lines[1].get_path().vertices
    apart = scores[positive][:, None] - scores[~positive]
    np.testing.assert_allclose(
        np.trapezoid(drawn[:, 1], drawn[:, 0]), (np.sign(apart) + 1).mean() / 2
    )


def test_reliability_has_a_point_and_a_bar_a_bin():
    probabilities = draw.dirichlet([1, 1, 1], 50)
    found = reliability(probabilities, draw.integers(0, 3, 50), bins=5)
    axis, below = classification.reliability(*found).axes
    np.testing.assert_array_equal(axis.lines[1].get_ydata(), found.accuracy)
    assert [bar.get_height() for bar in below.patches] == found.images.tolist()


def test_each_mistake_has_its_title():
    figure = classification.mistakes(draw.random((3, 8, 8, 1)), ["a", "b", "c"])
    assert [axis.get_title() for axis in figure.axes if axis.get_visible()] == ["a", "b", "c"]


def test_nothing_on_a_page_is_markup():
    body = page.banner(["a <b>"]) + page.bullets(["<i>"]) + page.cards([("<", ">", "&")])
    assert page.text("<b>") in body and "<i>" not in body and "&amp;" in body
    assert page.banner([]) == page.bullets([]) == ""
    whole = page.page("<t>", page.figure("t", "c", b"png"))
    assert "://" not in whole and "<title>&lt;t&gt;</title>" in whole


@pytest.mark.parametrize(
    ("interval", "cell"),
    [
        ([0.5, 0.4, 0.6], "[0.400, 0.600]"),
        ([0.5, None, None], 'class="ci"></span>'),
        (0.5, "0.500"),
    ],
)
def test_an_interval_without_bounds_is_a_mean_alone(interval, cell):
    assert cell in page.measured(interval)
