"""`jaxsal.show` takes whatever arrays are at hand, and draws the same of the same."""

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

import jaxsal
from jaxsal import render
from jaxsal.commands import cuts
from jaxsal.viz.maps import STYLES

draw = np.random.default_rng(0)
GREY, MAPS = draw.random((3, 12, 10)), draw.normal(size=(3, 12, 10))
COLOUR, VOLUME = draw.random((3, 12, 10, 3)), draw.random((8, 12, 10, 1))


def rows_and_columns(figure):
    """Panels in rows and columns, the scale apart."""
    shape = figure.axes[0].get_subplotspec().get_gridspec()
    assert len(figure.axes) == shape.nrows * shape.ncols + 1
    return shape.nrows, shape.ncols


def words(figure):
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


def signed(shape):
    return draw.normal(size=shape)


CASES = {
    "one grey": (GREY[0], MAPS[0], (1, 2)),
    "grey images": (GREY, MAPS, (3, 2)),
    "one with a channel": (GREY[0, ..., None], MAPS[0, ..., None], (1, 2)),
    "with a channel, maps without": (GREY[..., None], MAPS, (3, 2)),
    "one in colour": (COLOUR[0], signed(COLOUR[0].shape), (1, 2)),
    "in colour": (COLOUR, signed(COLOUR.shape), (3, 2)),
    "channels first": (np.moveaxis(COLOUR, -1, 1), signed((3, 3, 12, 10)), (3, 2)),
    "one with channels first": (np.moveaxis(COLOUR[0], -1, 0), MAPS[0], (1, 2)),
    "coarse maps": (COLOUR, signed((3, 3, 2)), (3, 2)),
    "a dict": (GREY, {"a": MAPS, "b": signed((3, 6, 5))}, (3, 3)),
    "a dict of one image": (GREY[0], {"a": MAPS[0], "b": MAPS[1]}, (1, 3)),
    "every class": (GREY[..., None], signed((3, 4, 12, 10, 1)), (3, 5)),
    "every class, coarse": (GREY[..., None], signed((3, 4, 6, 5)), (3, 5)),
    "a volume": (VOLUME, signed((8, 12, 10)), None),
    "a volume without channels": (VOLUME[..., 0], signed((8, 12, 10)), (8, 2)),
    "volumes": (VOLUME[None], signed((1, 8, 12, 10, 1)), (5, 2)),
    "of JAX": (jnp.asarray(GREY), jnp.asarray(MAPS), (3, 2)),
    "lists": (GREY.tolist(), MAPS.tolist(), (3, 2)),
    "constant": (0 * GREY, 0 * MAPS, (3, 2)),
    "not finite": (GREY, MAPS * np.nan, (3, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_images_beside_their_maps(name):
    images, maps, expected = CASES[name]
    figure = jaxsal.show(images, maps)
    if expected is not None:
        assert rows_and_columns(figure) == expected
    assert render.png(figure, dpi=20).startswith(b"\x89PNG")


def test_a_volume_is_told_by_its_axes_and_drawn_in_slices():
    images, maps = VOLUME[..., 0], signed((8, 12, 10))
    told = jaxsal.show(images, maps, spatial_axes=(0, 1, 2))
    assert rows_and_columns(told) == (5, 2)
    assert {"slice 0", "slice 4", "slice 7"} <= words(told)
    four = jaxsal.show(VOLUME, maps[..., None], spatial_axes=(0, 1, 2))
    assert render.png(told, dpi=20) == render.png(four, dpi=20)


def looks_the_same(one, other):
    return render.png(one, dpi=20) == render.png(other, dpi=20)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_is_cut_along_an_axis(axis):
    """With its maps and masks; what may be a batch of images is a volume then."""
    maps, masks = signed((8, 12, 10)), signed((8, 12, 10)) > 1
    first = [np.moveaxis(each, axis, 0) for each in (VOLUME, maps, masks)]
    expected = jaxsal.show(*first[:2], masks=first[2], spatial_axes=(0, 1, 2))
    for images in (VOLUME, VOLUME[..., 0], np.moveaxis(VOLUME, -1, 0)):
        axes = (1, 2, 3) if images.shape[0] == 1 else None
        figure = jaxsal.show(images, {"map": maps}, masks=masks, axis=axis, spatial_axes=axes)
        assert looks_the_same(figure, expected)
    several = jaxsal.show(VOLUME[None], maps[None], masks=masks[None], axis=np.int32(axis))
    assert looks_the_same(several, expected)


def test_axial_slices_are_seen_as_the_docstring_says():
    maps = signed(VOLUME.shape)
    seen = [volume[::-1, ::-1].swapaxes(0, 1) for volume in (VOLUME, maps)]
    axial = [cuts.axial(volume) for volume in (VOLUME, maps)]
    assert looks_the_same(jaxsal.show(*seen, axis=2), jaxsal.show(*axial, axis=0))


def test_masks_and_titles():
    masks = np.zeros((3, 12, 10), bool)
    masks[0, 3:6, 3:6] = True
    figure = jaxsal.show(GREY, MAPS, masks=masks, titles=["a", "b", 3])
    assert rows_and_columns(figure) == (3, 3) and {"a", "b", "3", "outline"} <= words(figure)
    one = jaxsal.show(GREY[0], MAPS[0], masks=masks[0], titles="scan 7")
    assert rows_and_columns(one) == (1, 3) and "scan 7" in words(one)


def test_of_many_rows_the_figure_says_how_many():
    figure = jaxsal.show(draw.random((30, 6, 6)), draw.normal(size=(30, 6, 6)))
    assert rows_and_columns(figure) == (24, 2) and "the first 24 of 30 rows" in words(figure)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("colormap", ["RdBu_r", "magma"])
def test_each_style_in_colours_with_and_without_signs(style, colormap):
    map = np.linspace(-1, 1, 120).reshape(12, 10)
    figure = jaxsal.show(GREY[0], map, style=style, colormap=colormap, opacity=0.5)
    assert ("against the class" in words(figure)) == (colormap == "RdBu_r")
    panel = figure.axes[1]
    assert len(panel.images) == (2 if style == "overlay" else 1)
    assert bool(panel.collections) == (style == "contour")
    if style == "overlay":
        assert panel.images[-1].get_alpha().max() == 0.5
    render.png(figure, dpi=20)


def test_a_picture_has_a_pixel_or_more_for_each_of_its_image():
    large = draw.random((300, 200))
    figure = jaxsal.show(large, draw.normal(size=(8, 8)))
    box = figure.axes[0].get_window_extent()
    assert box.height == pytest.approx(600) and box.width == pytest.approx(400)
    small = jaxsal.show(draw.random((7, 7)), draw.normal(size=(7, 7)))
    side = small.axes[0].get_window_extent().width
    assert side >= 360 and side / 7 == pytest.approx(round(side / 7))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"maps": MAPS[:2]},
            r"maps: expected those of images \(3, 12, 10\), got map \(2, 12, 10\)",
        ),
        ({"maps": {"a": MAPS, "b": MAPS[:2]}}, "maps: expected those"),
        ({"masks": np.ones((3, 5, 5), bool)}, "masks"),
        ({"titles": ["a"]}, r"titles: expected one an image \(3\), got 1"),
        ({"style": "heat"}, "style: expected one of overlay, side-by-side, contour; got 'heat'"),
        ({"scale": "image"}, "scale: expected one of method, all, map; got 'image'"),
        ({"colormap": "magmma"}, "colormap: expected one of matplotlib's, such as magma"),
        ({"opacity": 0}, "opacity: expected above 0"),
        ({"images": "scan.png"}, "images: expected real numbers"),
        ({"axis": 3}, "axis: expected 0, 1 or 2, got 3"),
        ({"axis": "z"}, "axis: expected 0, 1 or 2, got 'z'"),
        (
            {"images": GREY[0], "maps": MAPS[0], "axis": 0},
            r"axis: expected volumes to cut, got images \(12, 10\)",
        ),
        (
            {"images": np.zeros((0, 4, 4)), "maps": np.zeros((0, 4, 4))},
            "images: expected at least one pixel",
        ),
    ],
)
def test_what_cannot_be_shown_is_named(change, message):
    given = {"images": GREY, "maps": MAPS, **change}
    with pytest.raises((TypeError, ValueError), match=message):
        jaxsal.show(**given)


ODD = ("cost $5 & $x^2$", r"\frac{1}{2}", "a_{b", "<b>", "漢字", "%s", "$$")


@pytest.mark.parametrize("text", ODD)
def test_a_text_is_no_markup(text):
    """Of names of files, classes and methods; matplotlib reads mathematics between dollars."""
    figures = [
        jaxsal.show(GREY[:1], {text: MAPS[:1]}, titles=[text]),
        render.explanation(GREY[0], {text: MAPS[0]}, title=text),
        render.contact_sheet(GREY, titles=[text] * 3, title=text),
    ]
    for figure in figures:
        assert any(text in word for word in words(figure))
        assert not any(each.get_parse_math() for each in figure.findobj(matplotlib.text.Text))
        render.png(figure, dpi=20)
