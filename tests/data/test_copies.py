"""The same image is found whatever its file, and stands on one side of a split."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxsal.data import copies, pipeline
from tests.data import files

draw = np.random.default_rng(0)


def _scans(count: int) -> np.ndarray:
    """Smooth pictures no two of which are alike, [N, 64, 64, 1]."""
    coarse = draw.integers(0, 256, (count, 8, 8)).astype(np.uint8)
    resized = [
        np.asarray(Image.fromarray(c).resize((64, 64), Image.Resampling.BICUBIC)) for c in coarse
    ]
    return np.array(resized, np.float32)[..., None] / 255


def _stored(image: np.ndarray, **options: object) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * image[..., 0]).astype(np.uint8)).save(buffer, **options)
    return np.asarray(Image.open(buffer).convert("L"), np.float32)[..., None] / 255


def test_identical_pixels_have_the_first_ones_number_and_black_slices_none():
    images = _scans(3)
    some = np.concatenate([images, images[1:2], 0 * images[:2]])
    assert copies.identical(some).tolist() == [0, 1, 2, 1, 4, 5]
    assert copies.pairs(copies.identical(some)) == {1: [3]}
    assert copies.identical(images[:0]).tolist() == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5)), min_size=1))
def test_patients_who_share_an_image_are_one_group(drawn):
    patients = [patient for patient, _ in drawn]
    first = {}
    same = np.array([first.setdefault(image, row) for row, (_, image) in enumerate(drawn)])
    groups = copies.groups(patients, same)
    for one, group in enumerate(groups):
        for other, another in enumerate(groups):
            if patients[one] == patients[other] or same[one] == same[other]:
                assert group == another
    assert {*groups} <= {*patients}


def test_pictures_stored_anew_are_nearly_identical_and_others_are_not():
    images = _scans(20)
    small = copies.thumbnails(images)
    for options in ({"format": "JPEG", "quality": 60}, {"format": "WEBP", "quality": 80}):
        again = np.array([_stored(image, **options) for image in images])
        assert copies.near(copies.thumbnails(again), small).tolist() == list(range(20))
    assert (copies.near(small[:10], small[10:]) == -1).all()
    assert copies.near(small, small[:0]).tolist() == [-1] * 20


def test_copies_are_dealt_to_one_fold(tmp_path):
    for label in "ab":
        for n in range(10):
            files.save(tmp_path / label / f"{label}{n}.png", files.grey(ord(label) + 10 * n))
    for n in range(5):  # as another file
        files.save(tmp_path / "a" / f"copy{n}.bmp", files.grey(ord("a") + 10 * n))
    examples = pipeline.folder(tmp_path, image_size=12).examples
    fold = dict(zip(examples.names.tolist(), examples.folds.tolist(), strict=True))
    assert len(fold) == 25
    assert all(fold[f"a/copy{n}.bmp"] == fold[f"a/a{n}.png"] for n in range(5))
