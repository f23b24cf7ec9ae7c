"""What is left of a head, on an image where every part is known."""

import functools

import jax
import numpy as np
import pytest

from experiments import parts

SIZE = 48
ROW, COLUMN = np.mgrid[:SIZE, :SIZE] - 23.5
HEAD = np.hypot(ROW, COLUMN) <= 20
TUMOUR = (np.abs(ROW - 4) <= 3) & (np.abs(COLUMN) <= 4)
IMAGE = np.where(HEAD, np.random.default_rng(0).uniform(0.4, 1, HEAD.shape), 0)
IMAGE = IMAGE[..., None].astype(np.float32)


@functools.cache
def reduced() -> dict[str, list[np.ndarray]]:
    seen = parts.Scene(IMAGE, TUMOUR, HEAD, parts.matched(IMAGE[None])[0], jax.random.key(0))
    run = jax.jit(lambda seen: {n: [way(seen) for way in ways] for n, ways in parts.PARTS.items()})
    return jax.device_get(run(seen))


def test_the_head_is_found() -> None:
    found = parts.scene(IMAGE, TUMOUR, IMAGE, jax.random.key(0)).inside
    assert np.mean(np.asarray(found) != HEAD) < 0.01


@pytest.mark.parametrize(
    ("name", "part"),
    [("tumour alone", TUMOUR), ("untouched", HEAD), ("black", np.zeros_like(HEAD))],
)
def test_what_is_left_is_as_it_was_and_all_else_black(name: str, part: np.ndarray) -> None:
    np.testing.assert_array_equal(reduced()[name][0], IMAGE * part[..., None])


@pytest.mark.parametrize(
    ("name", "part"), [("tumour's outline alone", TUMOUR), ("head's outline alone", HEAD)]
)
def test_outlines_hold_the_heads_mean_and_nothing_else(name: str, part: np.ndarray) -> None:
    expected = IMAGE[HEAD].mean() * part[..., None]
    np.testing.assert_allclose(reduced()[name][0], expected, rtol=1e-5)


def test_surround_is_added_to_the_tumour_and_taken_from_the_rest() -> None:
    both = reduced()["tumour and surround alone"][0]
    kept = both[..., 0] > 0
    assert TUMOUR.sum() * 2 < kept.sum() < HEAD.sum() and kept[TUMOUR].all()
    rest = reduced()["rest of head alone"][0]
    np.testing.assert_array_equal(rest[~kept], IMAGE[~kept])
    assert not np.isclose(rest[kept], IMAGE[kept]).any()


def test_the_gap_has_the_noise_of_what_is_around_it() -> None:
    gap = reduced()["tumour and surround alone"][0][..., 0] > 0
    smooth = reduced()["rest of head alone"][0]
    noisy = reduced()["rest of head, noise in the gap"][0]
    np.testing.assert_array_equal(noisy[~gap], IMAGE[~gap])
    # Of independent values between 0.4 and 1 the deviation; at the head's edge steps are larger.
    assert (noisy - smooth)[gap].std() == pytest.approx(0.6 / 12**0.5, rel=0.2)
    assert abs((noisy - smooth)[gap].mean()) < 0.03


def test_skull_and_what_it_holds_are_the_head() -> None:
    alone, masked = (reduced()[name][0] for name in ("skull alone", "skull masked"))
    np.testing.assert_array_equal(alone + masked, IMAGE)
    rim = alone[..., 0] > 0
    # A tenth of the diameter: the ring between 0.8 and 1 of the radius.
    assert rim.sum() / HEAD.sum() == pytest.approx(1 - 0.8**2, abs=0.05)
    assert not rim[TUMOUR].any()


def test_shifts_go_all_four_ways() -> None:
    by = round(parts.SHIFT * SIZE)
    down, up, right, left = reduced()["head shifted"]
    np.testing.assert_array_equal(down[by:], IMAGE[:-by])
    np.testing.assert_array_equal(up[:-by], IMAGE[by:])
    np.testing.assert_array_equal(right[:, by:], IMAGE[:, :-by])
    np.testing.assert_array_equal(left[:, :-by], IMAGE[:, by:])
    assert not down[:by].any() and not up[-by:].any()


def test_blurred_heads_keep_their_brightness() -> None:
    blurred = reduced()["head blurred"][0]
    assert blurred.mean() == pytest.approx(IMAGE.mean(), rel=3e-2)
    assert blurred[HEAD].std() < IMAGE[HEAD].std()


def test_matched_heads_have_the_grey_values_of_all_and_keep_their_order() -> None:
    dark = IMAGE * 0.3
    found = parts.matched(np.stack([IMAGE, dark]))
    np.testing.assert_allclose(found[0][HEAD], found[1][HEAD], atol=1e-5)
    assert found[0][~HEAD].max() == 0
    order = np.argsort(IMAGE[HEAD], axis=0)[:, 0]
    assert (np.diff(found[0][HEAD][order, 0]) >= 0).all()
    pooled = np.concatenate([IMAGE[HEAD], dark[HEAD]])
    for share in (0.1, 0.5, 0.9):
        own = np.quantile(found[0][HEAD], share)
        assert own == pytest.approx(np.quantile(pooled, share), abs=0.02)
    np.testing.assert_allclose(parts.matched(IMAGE[None])[0], IMAGE, atol=5e-3)
