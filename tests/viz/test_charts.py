"""Charts draw every series that they are given."""

import numpy as np
import pytest

from jaxsal import render
from jaxsal.viz import charts


def series(count):
    return {
        f"class {n}": {row: [n + 1.0, n + 0.5, n + 1.5] for row in ("a", "b", "c")}
        for n in range(count)
    }


@pytest.mark.parametrize("count", [1, 4, 5, 10])
def test_dots_has_all_series_each_of_its_own_look(count):
    figure = charts.dots(series(count), label="x", reference=0.0)
    (axis,), (legend,) = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*series(count)]
    drawn = axis.lines[1:]  # after the reference
    assert [line.get_xdata()[0] for line in drawn] == [n + 1.0 for n in range(count)]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == count
    render.png(figure, dpi=30)


@pytest.mark.parametrize("count", [4, 5, 10])
def test_the_dots_of_a_row_stay_apart_from_the_next_rows(count):
    axis = charts.dots(series(count), label="x").axes[0]
    first, second = (np.array([line.get_ydata()[row] for line in axis.lines]) for row in (0, 1))
    assert second.min() - first.max() > 0.19
    points = np.diff(axis.transData.transform([[0, first[0]], [0, first[1]]])[:, 1])
    assert abs(points[0]) > 4


def test_dots_beside_each_other_have_all_series():
    figure = charts.dots_beside({"x": series(6), "y": series(2)}, log=["y"])
    legends = [[text.get_text() for text in a.get_legend().get_texts()] for a in figure.axes]
    assert legends == [[*series(6)], [*series(2)]]


def test_more_regions_than_colours_are_named():
    row = {str(n): {"density": [1.0, 0.5, 2.0]} for n in range(5)}
    with pytest.raises(ValueError, match="regions: expected at most 4, got 5"):
        charts.region_densities({"m": row}, [*row])
