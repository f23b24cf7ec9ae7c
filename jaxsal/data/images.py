"""Image files of any kind to 8-bit grey PNG, and from there to arrays of one size."""

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from jaxsal.data import intensity

READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    SyntaxError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)
"""What Pillow and h5py raise on a file that is broken, cut short or absurdly large."""

LOSSY = ("JPEG", "MPO")
DEEP = {"I": "16-bit", "F": "float"}
SIXTEEN = ("PNG", "PPM", "JPEG2000")
"""Formats of at most 16 bits: Pillow may hold them in 32."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
KINDS = {"P": "palette", "1": "1-bit", "L": "grey"}
LARGEST = 2**26


class Grey(NamedTuple):
    """An 8-bit grey image, encoded.

    Attributes:
        png: the PNG file's bytes.
        size: (width, height) in pixels.
        was: how it was stored if that had to be converted, such as "RGBA"; "" if not.
    """

    png: bytes
    size: tuple[int, int]
    was: str


def stretch(values: Shaped[np.ndarray, "H W"]) -> Image.Image:
    """Scales an image of more than 8 bits from its own minimum..maximum to 0..255.

    Magnetic resonance has no absolute unit, and files of 16 bits rarely use them all: the range
    is each image's own. A constant image is black.

    Raises:
        ValueError: where a value is not finite.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels are not finite")
    low, high = values.min(), values.max()
    return Image.fromarray(np.rint(255 * (values - low) / max(high - low, 1e-30)).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    """Encodes losslessly and fast: the cache is read more often than it is sent."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def grey(path: Path) -> Grey:
    """Reads an image file as 8-bit grey.

    Transparency is laid over black, the background of an MRI; colour (RGB, palette, CMYK) becomes
    luma (ITU-R 601); values of any depth are scaled by the rule of all files (`intensity.scale`);
    EXIF rotation is applied. An 8-bit grey PNG that is not nearly black passes unchanged.

    Raises:
        one of READ_ERRORS: for a broken file.
    """
    content = path.read_bytes()
    image, kind, turned = _upright(content)
    deep = _is_deep(image)
    flat, was = (image, DEEP[image.mode[0]]) if deep else _flat(image)
    values, dark = eight_bits(_deep(image, kind) if deep else np.asarray(flat))
    if deep or dark:
        return Grey(png(Image.fromarray(values)), image.size, was or "dark")
    kept = kind == "PNG" and image.mode == "L" and flat is image and not turned
    return Grey(content if kept else png(flat), flat.size, was)


def eight_bits(values: Shaped[np.ndarray, "H W ..."]) -> tuple[UInt8[np.ndarray, "H W ..."], bool]:
    """A picture's values of any depth by the rule of all files (`intensity.scale`), as 8 bits.

    Also whether they are others than before: of 8 bits those of a picture that is nearly black.
    """
    units = intensity.Units(intensity.full_scale(values.dtype))
    scale = intensity.scale(values, units, intensity.Intensity(), single=True)
    if values.dtype == np.uint8 and scale is not None and scale[:2] == (0, 255):
        return values, False
    return np.rint(255 * intensity.scaled(values, scale)).astype(np.uint8), True


def mask(path: Path, size: tuple[int, int]) -> bytes:
    """Reads a mask file as a 1-bit PNG of the given (width, height).

    A pixel belongs to the mask where it is not black; in a lossy file, where it is above half.

    Raises:
        one of READ_ERRORS: for a broken file.
    """
    image, kind, _ = _upright(path.read_bytes())
    values = np.asarray(image if _is_deep(image) else _flat(image)[0])
    binary = Image.fromarray(values > (127 if kind in LOSSY else 0))
    return png(binary.resize(size, Image.Resampling.NEAREST) if binary.size != size else binary)


def check_mask(mask: tuple[int, int], image: tuple[int, int]) -> None:
    """Raises where a mask is neither of its image's size nor scaled: both are (height, width).

    Raises:
        ValueError: one side is a pixel or more away from what the other makes it.
    """
    if abs(mask[0] * image[1] - mask[1] * image[0]) >= max(*mask, *image):
        one, other = (f"{width}x{height}" for height, width in (mask, image))
        raise ValueError(
            f"a mask that does not lie on its image: {one} pixels, its image has {other}"
        )


def masks(paths: Sequence[Path], size: tuple[int, int]) -> bytes:
    """As `mask`, of any number of files, which are merged."""
    return merged([mask(path, size) for path in paths], size)


def merged(masks: Sequence[bytes], size: tuple[int, int]) -> bytes:
    """What any of the encoded masks covers."""
    if len(masks) < 2:
        return masks[0] if masks else empty_mask(size)
    return png(Image.fromarray(np.any([outline(mask) for mask in masks], axis=0)))


def outline(mask: bytes) -> Bool[np.ndarray, "H W"]:
    """The pixels of an encoded mask."""
    return np.asarray(Image.open(io.BytesIO(mask)), bool)


def _opened(file: bytes | Path) -> Image.Image:
    try:
        return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    except UnidentifiedImageError as error:
        # Pillow's own words hold an address in memory: no two runs would tell of the same fault.
        raise ValueError("no image of a known kind, or one that is cut short") from error


def _upright(content: bytes) -> tuple[Image.Image, str, bool]:
    """The image as EXIF says it is to be seen, its file format, and whether it had to be turned."""
    # Pillow warns of oddities: what it can read is read, what it cannot is an error anyway.
    with warnings.catch_warnings(action="ignore"), _opened(content) as image:
        if (count := _count(image)) > 1:
            raise ValueError(f"{count} pages, expected a picture of one")
        return _turned(image)


def _turned(image: Image.Image) -> tuple[Image.Image, str, bool]:
    """As `_upright`, of the page that an opened file stands at."""
    if image.width * image.height > LARGEST:
        raise ValueError(f"{image.width}x{image.height} pixels are too many for a slice")
    image.load()
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    seen = ImageOps.exif_transpose(image) if turned else image.copy()
    return seen, str(image.format), turned


def _deep(image: Image.Image, kind: str) -> np.ndarray:
    """The values of an image of more than 8 bits, of 16 where its format has no more."""
    values = np.asarray(image)
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and kind in SIXTEEN)
    return values.astype(np.uint16) if sixteen else values


def _is_deep(image: Image.Image) -> bool:
    return image.mode[0] in DEEP


def _flat(image: Image.Image) -> tuple[Image.Image, str]:
    """The image in 8-bit grey on black, and what it was: "" if grey already."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        kind = KINDS.get(image.mode, image.mode)
        was = kind if "A" in kind else f"transparent {kind}"
        return Image.alpha_composite(black, rgba).convert("L"), was
    if image.mode == "L":
        return image, ""
    return image.convert("L"), KINDS.get(image.mode, image.mode)


def empty_mask(size: tuple[int, int]) -> bytes:
    """A mask without a pixel, of the given (width, height)."""
    return png(Image.new("1", size))


def pages(
    content: bytes, wanted: slice, channels: int = 1
) -> Iterator[Shaped[np.ndarray, "H W ..."]]:
    """The wanted pages of an image file, as EXIF says that they are to be seen.

    [H, W] of 8 or 16 bits, 32 or floating; where there is colour and 3 channels are asked for,
    uint8 [H, W, 3]. Of an MPO, where the other pages are previews and other views, the first.

    Raises:
        one of READ_ERRORS: for a broken file.
    """
    with warnings.catch_warnings(action="ignore"), _opened(content) as image:
        for number in range(_count(image))[wanted]:
            image.seek(number)
            seen, kind, _ = _turned(image)
            if _is_deep(seen):
                yield _deep(seen, kind)
            else:
                yield np.asarray(_flat(seen)[0] if channels == 1 else _colour(seen))


def sizes(path: Path) -> list[tuple[int, int]]:
    """The (height, width) of every page of an image file as it is to be seen; none is decoded.

    Raises:
        one of READ_ERRORS: for a broken file.
    """
    with warnings.catch_warnings(action="ignore"), _opened(path) as image:
        found = []
        for number in range(_count(image)):
            if image.format == "TIFF":  # the only kind whose pages may differ
                image.seek(number)
            lies = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
            found.append(image.size if lies else image.size[::-1])
        return found


def _count(image: Image.Image) -> int:
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def told(error: Exception) -> str:
    """The error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def flat(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "H W ..."]:
    """Pixels [H, W], [H, W, 1] or [H, W, 3] without an axis of one channel.

    Raises:
        ValueError: for another shape.
    """
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] != 3):
        raise ValueError(f"expected pixels [H, W], [H, W, 1] or [H, W, 3], got {values.shape}")
    return values


def channelled(
    values: Float32[np.ndarray, "*shape"], channels: int, *, colour: bool
) -> Float32[np.ndarray, "*channelled"]:
    """Values with an axis of channels at the end: colour as luma (ITU-R 601), grey as three."""
    if colour:
        return values if channels == 3 else (values @ LUMA)[..., None]
    return np.repeat(values[..., None], channels, -1)


def _colour(image: Image.Image) -> Image.Image:
    """The image in 8-bit red, green and blue on black."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def decode(content: bytes, size: int) -> Float32[np.ndarray, "size size channels"]:
    """Decodes an encoded image, made square with black, antialiased, in [0, 1]."""
    image = _square(Image.open(io.BytesIO(content)))
    values = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.float32)
    return (values[..., None] if values.ndim == 2 else values) / np.float32(255)


def decode_mask(content: bytes, size: int) -> Bool[np.ndarray, "size size"]:
    """Decodes an encoded mask, made square: a pixel is in it where at least half covered.

    A mask too small for that keeps the pixels most covered: it does not vanish.
    """
    image = _square(Image.open(io.BytesIO(content)).convert("L"))
    covered = np.asarray(image.resize((size, size), Image.Resampling.BOX))
    return (covered >= min(128, covered.max())) & (covered > 0)


def _square(image: Image.Image) -> Image.Image:
    side = max(image.size)
    if image.size == (side, side):
        return image
    square = Image.new(image.mode, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
