"""Pages: none after the first is lost."""

import numpy as np
import pytest
from PIL import Image

from jaxsal.data import pictures
from jaxsal.data.wanted import Wanted

PAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 9), np.uint8)


def write(path, pages, **options) -> None:
    first, *rest = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=rest, **options)


@pytest.mark.parametrize("kind", ["tif", "gif", "png", "webp"])
def test_every_page_is_a_record(kind, tmp_path) -> None:
    write(tmp_path / f"a.{kind}", PAGES, **({"lossless": True} if kind == "webp" else {}))
    source = pictures.find(str(tmp_path), wanted=Wanted())
    assert [source.name(n) for n in range(len(source))] == [f"a.{kind}/00{n}" for n in range(3)]
    found = np.stack([source[n]["image"][..., 0] for n in range(3)])
    np.testing.assert_allclose(found, PAGES / 255, atol=0.01)


def test_a_stack_of_16_bits_is_stretched_by_percentiles_of_all_pages(tmp_path) -> None:
    deep = np.arange(3 * 400, dtype=np.uint16).reshape(3, 20, 20) * 3 + 100
    write(tmp_path / "a.tif", deep)
    source = pictures.find(str(tmp_path / "a.tif"))
    low, high = np.percentile(deep, (0.5, 99.5))
    found = np.stack([source[n]["image"][..., 0] for n in range(3)])
    np.testing.assert_allclose(found, np.clip((deep - low) / (high - low), 0, 1), atol=1e-5)
    assert source.notes() == [
        "3 images: intensities: percentiles 0.5 and 99.5 of the scan made 0 and 1"
    ]


def test_pages_of_several_sizes_are_pictures_of_their_own(tmp_path) -> None:
    write(tmp_path / "a.tif", [PAGES[0], PAGES[1, :4, :4]])
    source = pictures.find(str(tmp_path), wanted=Wanted(8))
    assert [source[n]["name"] for n in range(2)] == ["a.tif/000", "a.tif/001"]
    with pytest.raises(ValueError, match=r"of 2 sizes, 6x9 \(1\), 4x4 \(1\).*--image-size"):
        pictures.find(str(tmp_path))


def test_pages_of_several_kinds_are_told(tmp_path) -> None:
    write(tmp_path / "a.tif", [PAGES[0], PAGES[1].astype(np.uint16)])
    with pytest.raises(pictures.BrokenImage, match="pages of several kinds"):
        pictures.find(str(tmp_path))[0]


def test_a_turned_page_is_seen_upright(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PAGES[0]).save(tmp_path / "a.png", exif=exif)
    source = pictures.find(str(tmp_path))
    np.testing.assert_allclose(source[0]["image"][..., 0], PAGES[0, ::-1].T / 255, atol=1e-6)


@pytest.mark.parametrize("kind", ["tif", "gif", "png"])
def test_a_file_that_is_cut_short_is_named(kind, tmp_path) -> None:
    write(tmp_path / f"a.{kind}", PAGES)
    content = (tmp_path / f"a.{kind}").read_bytes()
    for length in (0, 9, len(content) // 2):
        (tmp_path / f"a.{kind}").write_bytes(content[:length])
        source = pictures.find(str(tmp_path), wanted=Wanted(8))
        with pytest.raises(pictures.BrokenImage) as stopped:
            [source[n] for n in range(len(source))]
        assert stopped.value.source_name.startswith(f"a.{kind}")
