"""Axes are read off shapes; where two readings are as likely, nobody guesses in silence."""

import matplotlib
import numpy as np
import pytest

import jaxsal
from jaxsal import render
from jaxsal.viz.shapes import Reading, fitting, readings

draw = np.random.default_rng(0)
FIRST, LAST = draw.random((2, 3, 12, 10)), draw.random((2, 12, 10, 3))
GREY = draw.random((2, 12, 10))


def heads(figure):
    """What stands over the columns after the image, without the ends of their scales."""
    titles = [axis.get_title() for axis in figure.axes[:-1]]
    return [title.rpartition("\n")[0].replace("\n", " ") for title in titles if title][1:]


@pytest.mark.parametrize("size", [(6, 5), (1, 5), (12, 5)])
def test_coarse_maps_have_classes_and_no_channels(size):
    """As many classes as the images have channels, which come first as well."""
    maps = draw.normal(size=(2, 3, *size))
    assert heads(jaxsal.show(FIRST, maps)) == ["class 0", "class 1", "class 2"]
    assert heads(jaxsal.show(LAST, maps[:, :2])) == ["class 0", "class 1"]


def test_channels_that_look_as_classes_are_told_and_names_tell_otherwise():
    maps = draw.normal(size=FIRST.shape)
    own = jaxsal.show(FIRST, maps)
    assert heads(own) == ["map, 3 channels summed"]
    summed = jaxsal.show(FIRST, {"map, 3 channels summed": maps.sum(1)})
    assert render.png(own, dpi=20) == render.png(summed, dpi=20)
    one = jaxsal.show(FIRST[0], maps[0], spatial_axes=(1, 2))
    assert heads(one) == ["map, 3 channels summed"]
    classes = {f"class {k}": maps[:, k] for k in range(3)}
    named = render.png(jaxsal.show(FIRST, classes), dpi=20)
    assert named == render.png(jaxsal.show(FIRST, maps[:, :, None]), dpi=20)
    assert heads(jaxsal.show(LAST, np.moveaxis(maps, 1, -1))) == ["map"]
    assert heads(jaxsal.show(FIRST[:, :1], maps[:, :1])) == ["map"]


@pytest.mark.parametrize(
    "shape", [(2, 6, 5, 3), (2, 12, 10, 5), (2, 4, 3, 3), (2, 6, 5, 8), (2, 3, 2, 9), (2, 5, 5, 5)]
)
def test_what_may_be_classes_or_channels_is_not_guessed(shape):
    message = rf"maps: map .* may be of {shape[-1]} channels.* or of {shape[1]} classes.* dict"
    maps = draw.normal(size=shape)
    with pytest.raises(ValueError, match=message):
        jaxsal.show(LAST, maps)
    assert heads(jaxsal.show(LAST, {"a": maps[:, 0], "b": maps[:, 1]})) == ["a", "b"]


def test_maps_of_a_layer_with_channels_last_are_not_taken_for_classes():
    """Eight classes of 8 x 32 pixels would be drawn of square images."""
    images, layer = draw.random((2, 64, 64, 1)), draw.normal(size=(2, 8, 8, 32))
    with pytest.raises(ValueError, match=r"may be of 32 channels, which are to be summed first"):
        jaxsal.show(images, layer)
    assert heads(jaxsal.show(images, layer.sum(-1))) == ["map"]
    assert len(heads(jaxsal.show(images, draw.normal(size=(2, 5, 8, 8))))) == 5


def test_as_many_classes_as_pixels():
    maps = draw.normal(size=(2, 8, 8, 8))
    assert len(heads(jaxsal.show(draw.random((2, 8, 8, 1)), maps))) == 8


MASKS = np.zeros((2, 12, 10), bool)
MASKS[:, 3:7, 2:5] = True


@pytest.mark.parametrize("images", [GREY, LAST, FIRST, GREY[..., None]])
def test_masks_may_have_a_channel(images):
    maps = GREY
    plain = render.png(jaxsal.show(images, maps, masks=MASKS), dpi=20)
    for masks in (MASKS[..., None], MASKS[:, None], MASKS.astype(np.uint8)[..., None]):
        assert render.png(jaxsal.show(images, maps, masks=masks), dpi=20) == plain
    one = render.png(jaxsal.show(images[0], maps[0], masks=MASKS[0]), dpi=20)
    assert render.png(jaxsal.show(images[0], maps[0], masks=MASKS[0, ..., None]), dpi=20) == one


@pytest.mark.parametrize(
    ("images", "maps", "shape", "expected"),
    [
        (GREY, GREY, (2, 5, 5), r"\(2, 12, 10\), the images', got \(2, 5, 5\)"),
        (GREY[..., None], GREY, (12, 10), r"\(2, 12, 10\), the images', got \(12, 10\)"),
        (LAST, GREY, (2, 12, 10, 3), r"\(2, 12, 10\), the images', got \(2, 12, 10, 3\)"),
        (FIRST[0], GREY[0], (3, 12, 10), r"\(12, 10\), the images', got \(3, 12, 10\)"),
        (GREY[0], GREY[0], (), r"\(12, 10\), the images', got \(\)"),
    ],
)
def test_masks_of_other_images_are_named(images, maps, shape, expected):
    with pytest.raises(ValueError, match=f"masks: expected {expected}"):
        jaxsal.show(images, maps, masks=np.ones(shape, bool))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros(5)}, r"images: expected of one image the .*\(0, 1\).*got \(5,\)"),
        ({"images": GREY[0], "spatial_axes": (0, 1, 2)}, r"images: .*\(0, 1, 2\).*got \(12, 10\)"),
        ({"images": np.zeros((1,) * 6)}, r"images: .*got \(1, 1, 1, 1, 1, 1\)"),
        ({"images": LAST}, r"maps: expected those of images \(2, 12, 10\) of 3 channels, got map"),
        ({"images": LAST[0]}, r"maps: expected those of images \(12, 10\) of 3 channels, got map"),
    ],
)
def test_what_fits_no_reading_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        jaxsal.show(**{"images": GREY, "maps": np.zeros((13, 11)), **change})


def test_a_reading_is_left_for_the_next_one_by_maps_and_by_masks():
    """[3, H, W] is a batch; with a map [H, W], or a mask, it is an image with channels first."""
    image = FIRST[0]
    told = jaxsal.show(image, image, masks=MASKS[0], spatial_axes=(1, 2))
    found = jaxsal.show(image, image, masks=MASKS[0])
    assert render.png(found, dpi=20) == render.png(told, dpi=20)
    assert heads(jaxsal.show(image, GREY[0])) == ["map"]
    assert len(jaxsal.show(image, image).axes) == 3 * 2 + 1  # three images


def test_the_first_reading_that_fits_is_the_likeliest():
    def read(way):
        if len(way.axes) == 2:
            raise ValueError(f"of {way.axes}")
        return way.batched

    ways = readings((8, 12, 10), ())
    assert [*fitting(ways, read).values()] == [False]
    with pytest.raises(ValueError, match=r"of \(0, 1\)"):  # of the first
        fitting(ways[:2], read)
    assert ways[0] == Reading(True, (0, 1))


def test_a_name_is_a_text():
    figure = jaxsal.show(GREY, {3: GREY})
    assert any(text.get_text().startswith("3\n") for text in figure.findobj(matplotlib.text.Text))
