"""Images of every kind become 8-bit grey of one size; masks keep their place."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import ExifTags, Image

from jaxsal.data import images, pipeline
from tests.data import files

RAMP = np.arange(144, dtype=np.uint8).reshape(12, 12)


def _rgba(alpha):
    return Image.merge("RGBA", [Image.fromarray(RAMP)] * 3 + [Image.new("L", (12, 12), alpha)])


def _palette():
    image = Image.fromarray(RAMP.astype(np.uint8)).convert("P")
    image.putpalette([255 - value // 3 for value in range(768)])
    return image


CONVERSIONS = {
    "RGB": (Image.fromarray(np.stack([RAMP] * 3, -1)), RAMP),
    "RGBA": (_rgba(255), RAMP),
    "RGBA ": (_rgba(128), np.rint(RAMP * (128 / 255))),
    "LA": (_rgba(51).convert("LA"), np.rint(RAMP * 0.2)),
    "palette": (_palette(), 255 - RAMP),
    "16-bit": (
        Image.fromarray(RAMP.astype(np.uint16) * 7 + 1000),
        np.rint(RAMP * (255 / 143)),
    ),
    "1-bit": (Image.fromarray(RAMP > 70), 255 * (RAMP > 70)),
}


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_other_kinds_of_image_become_grey_and_are_noted(tmp_path, kind):
    image, expected = CONVERSIONS[kind]
    files.write_folders(tmp_path, count=1)
    files.save(tmp_path / "yes" / "odd.png", image)
    read = pipeline.folder(tmp_path, image_size=12)
    found = read.examples.images[read.examples.names == "yes/odd.png"][0, ..., 0] * 255
    np.testing.assert_allclose(found, expected, atol=1.01)
    assert f"1 {kind.strip()} image converted to 8-bit grey" in read.notes


def test_cmyk_jpegs_become_grey(tmp_path):
    grey = Image.new("RGB", (16, 16), (90, 90, 90))
    found = images.grey(files.save(tmp_path / "a.jpg", grey.convert("CMYK"), quality=100))
    assert found.was == "CMYK"
    np.testing.assert_allclose(images.decode(found.png, 16) * 255, 90, atol=3)


def test_transparent_palettes_lie_on_black(tmp_path):
    path = files.save(tmp_path / "a.png", _palette(), transparency=5)
    read = images.grey(path)
    assert read.was == "transparent palette"
    found = images.decode(read.png, 12)[..., 0] * 255
    np.testing.assert_allclose(found, np.where(RAMP == 5, 0, 255 - RAMP), 1e-6)


def test_an_8_bit_grey_png_passes_byte_for_byte(tmp_path):
    path = files.save(tmp_path / "a.png", RAMP)
    assert images.grey(path) == images.Grey(path.read_bytes(), (12, 12), "")


def test_a_turned_picture_is_seen_upright(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = files.save(tmp_path / "a.png", RAMP, exif=exif)
    np.testing.assert_array_equal(Image.open(io.BytesIO(images.grey(path).png)), RAMP[::-1].T)


def test_a_picture_of_absurd_size_is_refused_unread(tmp_path):
    path = files.save(tmp_path / "a.png", Image.new("1", (2**13, 2**14)))
    with pytest.raises(ValueError, match="8192x16384 pixels are too many"):
        images.grey(path)


@pytest.mark.parametrize("kind", ["1", "L", "P", "I;16", "RGBA"])
def test_masks_of_every_kind_are_what_is_not_black(tmp_path, kind):
    drawn = files.outline()
    image = Image.fromarray(drawn.astype(np.uint8) * (1 if kind == "L" else 255))
    if kind == "I;16":
        image = Image.fromarray(drawn.astype(np.uint16) * 900)
    if kind == "RGBA":
        image = Image.merge("RGBA", [Image.new("L", (12, 12), 255)] * 3 + [image])
    if kind in ("1", "P"):
        image = image.convert(kind)
    path = files.save(tmp_path / "a.png", image)
    np.testing.assert_array_equal(images.decode_mask(images.mask(path, (12, 12)), 12), drawn)


@given(arrays.arrays(np.int16, (3, 4)))
def test_stretching_keeps_the_order_and_fills_the_range(values):
    found = np.asarray(images.stretch(values)).astype(int)
    order = np.argsort(values, axis=None, kind="stable")
    assert (np.diff(found.ravel()[order]) >= 0).all()
    assert found.min() == 0 and found.max() == (255 if np.ptp(values.astype(int)) else 0)


def test_sizes_are_mixed_made_square_and_noted(tmp_path):
    files.save(tmp_path / "a" / "wide.png", np.full((4, 8), 200, np.uint8))
    files.save(tmp_path / "b" / "square.png", np.full((32, 32), 100, np.uint8))
    read = pipeline.folder(tmp_path, image_size=8)
    wide, square = read.examples.images[..., 0] * 255
    np.testing.assert_allclose(wide[2:6], 200, atol=1e-4)
    assert (wide[:2] == 0).all() and (wide[6:] == 0).all()
    np.testing.assert_allclose(square, 100, atol=1e-4)
    assert "1 image not square padded with black" in read.notes
    assert "images of 2 sizes from 8x4 to 32x32 pixels resized to 8x8, antialiased" in read.notes


@given(st.integers(0, 31), st.integers(0, 31))
def test_a_mask_of_one_pixel_does_not_vanish(row, column):
    mask = np.zeros((32, 32), bool)
    mask[row, column] = True
    small = images.decode_mask(images.png(Image.fromarray(mask)), 8)
    assert small.sum() == 1 and small[row // 4, column // 4]


def test_a_mask_keeps_what_is_at_least_half_covered():
    mask = np.zeros((8, 8), bool)
    mask[:, :3] = True
    small = images.decode_mask(images.png(Image.fromarray(mask)), 4)
    assert small.tolist() == [[True, True, False, False]] * 4


def test_what_is_no_image_is_told_in_the_same_words_each_time(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    with pytest.raises(ValueError, match=r"^no image of a known kind, or one that is cut short$"):
        images.grey(tmp_path / "a.png")
