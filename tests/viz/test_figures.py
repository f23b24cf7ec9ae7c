"""Pictures: signed scales, notes, shapes; that a map is drawn in the colours of its signs."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from jaxsal import render
from jaxsal.viz import charts, pixels

draw = np.random.default_rng(0)
IMAGES = draw.random((2, 12, 12, 1)).astype(np.float32)
MASKS = np.zeros((2, 12, 12), bool)
MASKS[0, 4:8, 4:8] = True


def seen(figure):
    return np.asarray(Image.open(io.BytesIO(render.png(figure, dpi=40))).convert("RGB"), float)


def words(figure):
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


def shown(axis):
    """The colours of the map on top of the image of one panel."""
    return axis.get_images()[-1].to_rgba(axis.get_images()[-1].get_array())[..., :3]


def test_channels_are_summed_with_their_signs():
    map = np.stack([np.full((3, 3), 2.0), np.full((3, 3), -3.0)], -1)
    np.testing.assert_array_equal(pixels.signed(map), np.full((3, 3), -1.0))


def test_the_scale_is_a_percentile_of_the_magnitude():
    maps = np.arange(-100, 100).reshape(2, 10, 10)
    assert pixels.limit(maps, percentile=50) == np.percentile(np.abs(maps), 50)
    assert pixels.limit(maps, percentile=100) == 100
    outlier = np.zeros((1, 20, 20))
    outlier[0, 0, 0] = -7
    assert pixels.limit(outlier, percentile=90) == 7
    assert pixels.limit(np.zeros((1, 2, 2))) == 1.0
    assert pixels.limit([np.array([[np.nan, 2.0]]), np.array([[np.inf, 2.0]])]) == 2.0


@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,)])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.7), (-3.0, 2.0), (0.0, 255.0)])
def test_any_image_becomes_colours_in_range(channels, low, high):
    image = np.linspace(low, high, 16).reshape(4, 4, *[1] * len(channels))
    image = np.broadcast_to(image, (4, 4, *channels))
    got = pixels.grey(image)
    assert got.shape == (4, 4, 3)
    inside = 0 <= low and high <= 1
    expected = (low, high) if inside else (0, 1)
    np.testing.assert_allclose((got.min(), got.max()), expected, atol=1e-12)


def test_what_is_not_finite_leaves_the_others_their_greys():
    image = np.array([[-1.0, np.nan, np.inf], [0.0, 1.0, -np.inf]])
    np.testing.assert_array_equal(pixels.stretched(image), [[0, 0, 1], [0.5, 1, 0]])
    np.testing.assert_array_equal(pixels.grey(image)[..., 0], pixels.stretched(image))
    assert not pixels.stretched(np.full((2, 2), np.nan)).any()


def test_a_volume_of_integers_with_signs_keeps_its_order():
    volume = np.array([-32768, -1, 32767], np.int16).repeat(20).reshape(3, 4, 5, 1)
    np.testing.assert_allclose(pixels.stretched(volume)[:, 0, 0, 0], [0, 32767 / 65535, 1])
    figure = render.explanation(volume, {"m": volume}, slices=3)
    greys = [axis.get_images()[0].get_array()[0, 0, 0] for axis in figure.axes[:-1:2]]
    assert greys == sorted(greys) and greys[2] == 1


def test_a_broken_voxel_leaves_a_volume_its_greys():
    volume = np.stack([np.full((4, 5), value) for value in (100.0, 200.0, 300.0)])
    volume[0, 0, 0] = np.nan
    figure = render.explanation(volume[..., None], {"m": np.ones((3, 4, 5))}, slices=3)
    greys = [axis.get_images()[0].get_array()[-1, -1, 0] for axis in figure.axes[:-1:2]]
    np.testing.assert_allclose(greys, [0.0, 0.5, 1.0])


def test_red_speaks_for_blue_against_and_zero_is_white():
    map = np.zeros((1, 12, 12))
    map[0, 0, 0], map[0, 0, 1] = 5.0, -5.0
    figure = render.relevance_grid(IMAGES[:1], MASKS[:1], {"ig": map})
    colours = shown(figure.axes[2])
    for_, against, zero = colours[0, 0], colours[0, 1], colours[5, 5]
    assert for_[0] > 0.3 and for_[0] > 2 * for_[2]
    assert against[2] > 0.3 and against[2] > 2 * against[0]
    assert zero.min() > 0.95


def test_one_scale_for_all_images_of_a_method_and_on_demand_for_all_methods():
    map = np.ones((2, 12, 12)) * np.array([1.0, 4.0])[:, None, None]
    maps = {"weak": map, "strong": 10 * map}
    own = render.relevance_grid(IMAGES, MASKS, maps, percentile=100)
    assert {"weak\n±4", "strong\n±40"} <= words(own)
    assert shown(own.axes[2])[0, 0, 2] > shown(own.axes[6])[0, 0, 2]
    np.testing.assert_allclose(shown(own.axes[2]), shown(own.axes[3]))
    common = render.relevance_grid(IMAGES, MASKS, maps, percentile=100, scale="all")
    assert {"weak\n±40", "strong\n±40"} <= words(common)
    each = render.relevance_grid(IMAGES, MASKS, maps, percentile=100, scale="map")
    assert {"weak", "strong", "±1", "±4", "±10", "±40"} <= words(each)
    assert shown(each.axes[2])[0, 0, 2] == shown(each.axes[6])[0, 0, 2]


@pytest.mark.parametrize("dead", [0.0, np.nan])
@pytest.mark.parametrize("scale", ["method", "all", "map"])
def test_a_method_that_shows_nothing_leaves_the_others_their_scale(dead, scale):
    weak = np.full((2, 12, 12), 1e-3)
    maps = {"weak": weak, "dead": np.full_like(weak, dead)}
    figure = render.relevance_grid(IMAGES, None, maps, scale=scale)
    assert {"weak\n±0.001", "±0.001"} & words(figure)
    assert shown(figure.axes[1])[0, 0, 0] < 0.5  # the darkest red
    nothing = render.relevance_grid(IMAGES, None, {"dead": maps["dead"]}, scale=scale)
    assert {"not finite", "all zero"} & words(nothing)


def test_a_map_that_shows_nothing_says_why():
    ramp = np.linspace(-1, 1, 144).reshape(12, 12)
    broken = np.where(ramp > 0.5, np.nan, ramp)
    cases = {"": ramp, "all zero": 0 * ramp, "constant": 0 * ramp + 3, "not finite": broken}
    for expected, map in cases.items():
        assert pixels.note(map) == expected
        figure = render.relevance_grid(IMAGES[:1], MASKS[:1], {"m": map[None]}, style="overlay")
        notes = words(figure) & {"all zero", "constant", "not finite"}
        assert notes == ({expected} if expected else set())
        assert seen(figure).std() > 0
    nothing = render.relevance_grid(IMAGES[:1], None, {"m": np.full_like(ramp, np.nan)[None]})
    assert "m" in words(nothing)  # and no end of a scale


def test_the_outline_surrounds_the_mask_and_an_empty_one_has_none():
    figure = render.relevance_grid(IMAGES, MASKS, {"m": IMAGES}, rows=["glioma", "none"])
    assert {"glioma", "none"} <= words(figure)
    with_mask, without = figure.axes[1], figure.axes[4]
    vertices = with_mask.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose((vertices.min(0), vertices.max(0)), ((3.5, 3.5), (7.5, 7.5)))
    assert not without.collections


def test_an_overlay_is_as_opaque_as_the_map_is_strong():
    map = np.zeros((1, 12, 12))
    map[0, 0, 0] = 1.0
    figure = render.relevance_grid(IMAGES[:1], MASKS[:1], {"m": map}, style="overlay")
    opacity = figure.axes[2].get_images()[-1].get_alpha()
    assert opacity[0, 0] == 1 and opacity.sum() == 1


def lines(axis):
    """Points `(x, y)` of the contour lines of a panel, by level."""
    found = [each for each in axis.collections if hasattr(each, "levels")]
    return {
        level: path.vertices
        for contour in found
        for level, path in zip(contour.levels, contour.get_paths(), strict=True)
    }


def test_contour_lines_lie_at_the_levels_of_the_scale():
    """One pixel a hundred times the others moves no line, and what is weak has none."""
    map = np.zeros((200, 200))
    map[60:100, 60:100], map[120:160, 120:160], map[20, 20] = 1.0, 0.05, 100.0
    figure = render.relevance_grid(0 * map[None], None, {"m": map[None]}, style="contour")
    drawn = lines(figure.axes[1])
    assert [*drawn] == [0.25, 0.5, 0.75] and "m\n±1" in words(figure)
    np.testing.assert_allclose((drawn[0.5].min(0), drawn[0.5].max(0)), (2 * [59.5], 2 * [99.5]))
    for level, shift in (
        (0.25, -1.35),
        (0.75, 1.35),
    ):  # of a smoothed edge: 2 pixels x its quartile
        np.testing.assert_allclose(drawn[level].min(0), 2 * [59.5 + shift], atol=0.1)


@pytest.mark.parametrize("colormap", ["RdBu_r", "magma"])
def test_contour_lines_of_a_method_are_comparable(colormap):
    """A weak map has no line, though one of its pixels is a hundred times the others."""
    map = np.zeros((200, 200))
    map[60:140, 60:140] = -1.0
    rows = np.stack([map, 0.2 * map, 0.6 * map])
    rows[1, 20, 20] = -100
    images = np.zeros_like(rows)
    sign = -1 if colormap == "RdBu_r" else 1

    def drawn(scale):
        options = {"scale": scale, "style": "contour", "colormap": colormap}
        figure = render.relevance_grid(images, None, {"m": rows}, **options)
        return [sorted(sign * level for level in lines(axis)) for axis in figure.axes[1:6:2]]

    assert drawn("method") == [[0.25, 0.5, 0.75], [], [0.25, 0.5]]
    assert drawn("map") == 3 * [[0.25, 0.5, 0.75]]


def test_a_map_that_changes_from_pixel_to_pixel_has_contour_lines():
    map = draw.normal(size=(224, 224))
    figure = render.relevance_grid(0 * map[None], None, {"m": map[None]}, style="contour")
    assert {abs(level) for level in lines(figure.axes[1])} == {0.25, 0.5, 0.75}


@pytest.mark.parametrize("scale", ["method", "map"])
@pytest.mark.parametrize("style", ["side-by-side", "contour"])
def test_what_the_colours_are_stays_inside_the_narrowest_figure(style, scale):
    figure = render.relevance_grid(IMAGES[:1], None, {"m": IMAGES[:1]}, style=style, scale=scale)
    render.png(figure)
    label = figure.axes[-1].xaxis.label
    told = {"side-by-side": "clipped at ± the 99.5th", "contour": "lines at ¼, ½, ¾ of max |map|"}
    assert label.get_text().startswith(told[style])
    box = label.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.get_size_inches()[0] * figure.dpi


@pytest.mark.parametrize("style", ["side-by-side", "overlay", "contour"])
def test_what_a_map_lacks_is_told_in_each_style(style):
    broken = np.linspace(-1, 1, 144).reshape(1, 12, 12)
    broken = np.where(broken > 0.5, np.nan, broken)
    maps = {"nan": np.nan * broken, "part": broken, "zero": 0 * IMAGES[:1]}
    figure = render.relevance_grid(IMAGES[:1], None, maps, style=style)
    assert {"not finite", "all zero", "nan", "zero\n0"} <= words(figure)
    assert seen(figure).std() > 0


def test_a_grid_of_no_images_has_its_titles():
    figure = render.relevance_grid(IMAGES[:0], MASKS[:0], {"m": IMAGES[:0]})
    assert "outline" in words(figure) and seen(figure).std() > 0


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_contact_sheet_shows_every_image_once(count):
    images = draw.random((count, 8, 8, 3))
    figure = render.contact_sheet(images, titles=[f"t{i}" for i in range(count)], columns=3)
    visible = [axis for axis in figure.axes if axis.get_visible()]
    assert len(visible) == count
    assert {f"t{i}" for i in range(count)} <= words(figure)
    assert seen(figure).shape[2] == 3


def test_png_bytes_are_reproducible_and_leave_no_global_state():
    before = dict(matplotlib.rcParams)
    first, second = (render.png(charts.confusion([[2, 1], [0, 3]], "ab")) for _ in range(2))
    assert first == second and first.startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


def test_learning_curves_draw_what_there_is():
    history = {
        "train_loss": [1.0, 0.5],
        "validation_loss": [1.1, 0.7],
        "train_accuracy": [0.5],
        "learning_rate": [0.1, 0.2],
    }
    figure = charts.learning_curves(history)
    drawn = [[list(line.get_ydata()) for line in axis.lines] for axis in figure.axes]
    assert drawn == [[[1.0, 0.5], [1.1, 0.7]], [[0.5]], [[0.1, 0.2]]]
    assert {"train", "validation", "epoch"} <= words(figure)
    assert seen(charts.learning_curves({})).std() > 0


def test_a_confusion_matrix_prints_counts_and_shares_of_rows():
    figure = charts.confusion([[3, 1], [0, 0]], ["glioma", "none"])
    assert {"3\n75.0%", "1\n25.0%", "0\n0.0%", "glioma", "none"} <= words(figure)


def test_region_densities_draw_means_and_leave_out_what_is_undefined():
    methods = {
        "ig": {"tumour": {"density": [3.0, 2.0, 4.0]}, "rest": {"density": [0.5, 0.4, 0.6]}},
        "none": {"tumour": {"density": [None] * 3}, "rest": {"density": [np.nan] * 3}},
    }
    figure = charts.region_densities(methods, ("tumour", "rest"))
    axis = figure.axes[0]
    tumour, rest = axis.lines[1], axis.lines[2]
    np.testing.assert_array_equal(tumour.get_xdata(), [3.0, np.nan])
    np.testing.assert_array_equal(rest.get_xdata(), [0.5, np.nan])
    assert axis.lines[0].get_xdata()[0] == 1
    assert seen(figure).std() > 0


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3), (4, 8, 6, 1), (4, 8, 6, 3)])
@pytest.mark.parametrize("channels", [False, True])
def test_one_image_or_volume_is_drawn_beside_its_maps(shape, channels):
    image = draw.random(shape)
    spatial = shape if len(shape) == 2 else shape[:-1]
    map = draw.normal(size=(*spatial, 2) if channels else spatial)
    figure = render.explanation(image, {"a": map, "b": 0 * map}, title="scan 7")
    rows = 4 if len(shape) == 4 else 1
    assert len(figure.axes) == 3 * rows + 1  # and the scale
    assert {"scan 7", "image", "all zero"} <= words(figure)
    assert ("slice 2" in words(figure)) == (rows > 1)
    assert seen(figure).std() > 0


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 3), (5, 12, 10, 3)])
def test_channels_first_are_drawn_as_channels_last(shape):
    """Maps have the image's channels, or none as a CAM has."""
    image, map = draw.random(shape), draw.normal(size=shape)
    channels = len(shape) > 2
    first = (lambda x: np.moveaxis(x, -1, 0)) if channels else (lambda x: x[None])
    axes = tuple(range(1, len(shape) + (not channels)))
    flat = map[..., 0] if channels else map
    pictures = [
        render.explanation(image, {"ig": map, "cam": flat}, slices=2),
        render.explanation(
            first(image), {"ig": first(map), "cam": flat}, spatial_axes=axes, slices=2
        ),
    ]
    if len(shape) < 4:
        mask = np.zeros((1, 12, 10), bool)
        pictures[0:0] = [
            render.relevance_grid(image[None], mask, {"ig": map[None]}),
            render.relevance_grid(
                first(image)[None], mask, {"ig": first(map)[None]}, spatial_axes=axes
            ),
            render.contact_sheet(image[None]),
            render.contact_sheet(first(image)[None], spatial_axes=axes),
        ]
    drawn = [render.png(picture, dpi=20) for picture in pictures]
    assert drawn[::2] == drawn[1::2]


def test_a_volume_without_channels_is_one_where_its_axes_are_told():
    volume = draw.random((4, 8, 6))
    told = render.explanation(volume, {"m": volume}, spatial_axes=(0, 1, 2))
    assert render.png(told) == render.png(render.explanation(volume[..., None], {"m": volume}))


@pytest.mark.parametrize("shape", [(1, 12, 10), (3, 12, 10)])
def test_channels_first_are_told_by_the_shape(shape):
    image = draw.random(shape)
    told = render.explanation(image, {"m": image}, spatial_axes=range(1, len(shape)))
    assert render.png(render.explanation(image, {"m": image})) == render.png(told)
    last = render.explanation(image, {"m": image}, spatial_axes=range(len(shape) - 1))
    assert render.png(last) != render.png(told)
    if len(shape) == 3:
        pictures = [
            figure(spatial_axes=axes)
            for axes in ((1, 2), None)
            for figure in (
                lambda **axes: render.relevance_grid(image[None], None, {"m": image[None]}, **axes),
                lambda **axes: render.contact_sheet(image[None], **axes),
            )
        ]
        drawn = [render.png(picture, dpi=20) for picture in pictures]
        assert drawn[:2] == drawn[2:]


@pytest.mark.parametrize("axes", [(0,), (0, 1, 2, 3), (1, 1), (0, -1), "hw"])
def test_spatial_axes_that_are_none_are_named(axes):
    with pytest.raises((TypeError, ValueError), match="spatial_axes: expected"):
        render.explanation(np.zeros((3, 12, 10)), {}, spatial_axes=axes)


def test_slices_are_cut_across_the_axis_that_is_asked_for():
    volume = np.zeros((3, 4, 5, 1))
    volume[:, 2] = 1.0
    figure = render.explanation(volume, {"m": volume}, axis=1, slices=4, mask=volume[..., 0] > 0)
    bright = [axis.get_images()[0].get_array().max() for axis in figure.axes[:-1:3]]
    assert bright == [0, 0, 1, 0]
    assert render.slice_numbers(100, 4) == [12, 37, 62, 87]
    assert render.slice_numbers(2, 5) == [0, 1]
    with pytest.raises(ValueError, match=r"image: expected \[H, W\]"):
        render.explanation(np.zeros(3), {})


def test_a_coarse_map_covers_the_whole_image():
    figure = render.explanation(IMAGES[0], {"cam": np.ones((3, 3))})
    assert figure.axes[1].get_images()[-1].get_extent() == [-0.5, 11.5, 11.5, -0.5]


def test_slices_of_a_volume_share_one_scale_of_grey():
    volume = np.stack([np.full((4, 5), value) for value in (-2.0, 0.0, 2.0)])
    volume[:, 0, 0] = 0.0
    figure = render.explanation(volume[..., None], {"m": volume}, slices=3)
    greys = [axis.get_images()[0].get_array()[-1, -1, 0] for axis in figure.axes[:-1:2]]
    np.testing.assert_allclose(greys, [0.0, 0.5, 1.0])


def test_a_map_of_zeros_has_the_scale_zero_and_words_stay_inside():
    figure = render.explanation(IMAGES[0], {"m": 0 * IMAGES[0]})
    assert "m\n0" in words(figure)
    render.png(figure)
    width = figure.get_size_inches()[0] * figure.dpi
    for label in figure.axes[-1].get_xticklabels():
        box = label.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 3}, "images: expected pictures"),
        ({"images": IMAGES[0, 0]}, r"images: expected \[N, H, W\]"),
        ({"masks": MASKS[:, :5]}, "masks: expected .*12, 12"),
        ({"masks": MASKS[:1]}, "masks: expected one an image"),
        ({"maps": IMAGES}, "maps: expected {method: maps}"),
        ({"maps": {"m": np.full((2, 4, 4), "a")}}, "maps: expected real numbers"),
        ({"rows": ["one"]}, "rows: expected 2 labels"),
        ({"percentile": 101}, "percentile: expected from 0 to 100"),
    ],
)
def test_what_cannot_be_drawn_is_named(change, message):
    given = {"images": IMAGES, "masks": MASKS, "maps": {"m": IMAGES}, **change}
    with pytest.raises((TypeError, ValueError), match=message):
        render.relevance_grid(**given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titles": ["a"]}, "titles: expected 2 labels or none, got 1"),
        ({"titles": "ab"}, "titles: expected a list of labels, got str"),
        ({"colours": ["red"] * 3}, "colours: expected 2 labels or none, got 3"),
        ({"masks": MASKS[:1]}, r"masks: expected one an image \(2\), got 1"),
        ({"masks": MASKS[:, :5]}, r"masks: expected \(12, 12\), the image's, got \(5, 12\)"),
        ({"columns": 0}, "columns: expected at least 1, got 0"),
    ],
)
def test_what_makes_no_contact_sheet_is_named(change, message):
    given = {"titles": ["a", "b"], "colours": ["red", "#0072B2"], "masks": MASKS, **change}
    with pytest.raises((TypeError, ValueError), match=message):
        render.contact_sheet(IMAGES, **given)


def test_a_contact_sheet_has_its_colours_and_outlines():
    colours = ["red", "#0072B2"]
    figure = render.contact_sheet(IMAGES, titles=["a", "b"], colours=colours, masks=MASKS)
    first, second = figure.axes
    assert [axis.title.get_color() for axis in (first, second)] == colours
    assert {"a", "b"} <= words(figure)
    assert len(first.collections) == 1 and not second.collections


@pytest.mark.parametrize("slices", [0, -1])
def test_a_volume_of_no_slices_is_named(slices):
    volume = draw.random((4, 8, 6, 1))
    with pytest.raises(ValueError, match=f"slices: expected at least 1, got {slices}"):
        render.explanation(volume, {"m": volume}, slices=slices)
