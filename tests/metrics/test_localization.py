"""Localization: peers' figures, invariances, and a policy for all that is undefined."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.metrics import controls
from jaxsal.metrics import localization as loc

GOLDEN = Path(__file__).parents[1] / "golden.npz"
NAMES = list(loc.MEASURES)

MASK = np.zeros((8, 8), bool)
MASK[2:5, 3:6] = True
REGIONS = {
    "inside": MASK,
    "beside": MASK.T & ~MASK,
    "outside": ~(MASK | MASK.T),
    "nowhere": 0 * MASK,
}
REGIONS = {name: np.asarray(region, bool) for name, region in REGIONS.items()}
"""Every pixel is in one of them."""
CHANCE = {
    "relevance_mass": 9 / 64,
    "rank_accuracy": 9 / 64,
    "pointing_game": 9 / 64,
    "roc_auc": 0.5,
}


def random_map(seed, shape=(8, 8)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def regions(count):
    return {name: np.tile(region, (count, 1, 1)) for name, region in REGIONS.items()}


def measure(name, map, mask=MASK):
    return float(loc.MEASURES[name](None, None, jnp.array(map), mask=jnp.array(mask)))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("relevance_mass", "RelevanceMassAccuracy"),
        ("rank_accuracy", "RelevanceRankAccuracy"),
        ("pointing_game", "PointingGame"),
        ("roc_auc", "AUC"),
    ],
)
def test_parity_with_quantus(name, row):
    with np.load(GOLDEN) as golden:
        maps = jnp.moveaxis(golden["quantus/a"], 1, -1)
        masks, expected = jnp.array(golden["quantus/s"][:, 0]), golden[f"quantus/{row}"]
    metric = jax.vmap(lambda map, mask: loc.MEASURES[name](None, None, map, mask=mask))
    np.testing.assert_allclose(metric(maps, masks), expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**32 - 1))
def test_measures_ignore_sign_scale_and_the_order_of_pixels(name, seed):
    map = random_map(seed)
    value = measure(name, map)
    assert 0 <= value <= 1
    order = np.random.default_rng(seed).permutation(64)
    shuffled = measure(name, map.ravel()[order].reshape(8, 8), MASK.ravel()[order].reshape(8, 8))
    for other in (measure(name, -3e30 * map), measure(name, 1e-30 * map), shuffled):
        np.testing.assert_allclose(other, value, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_itself_is_perfect_and_its_complement_worst(name):
    assert measure(name, MASK.astype(np.float32)) == 1.0
    assert measure(name, (~MASK).astype(np.float32)) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_map_scores_exactly_chance(name):
    np.testing.assert_allclose(measure(name, np.full((8, 8), -2.0)), CHANCE[name], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_undefined_is_never_a_hit(name):
    broken = random_map(0)
    broken[0, 0] = np.inf
    assert np.isnan(measure(name, random_map(0), np.zeros((8, 8), bool)))
    assert np.isnan(measure(name, np.zeros((8, 8), np.float32)))
    assert np.isnan(measure(name, broken))
    assert np.isnan(measure(name, broken * np.nan))


def test_signed_mass_stays_in_bounds_and_channels_add_up():
    map = np.zeros((8, 8, 2), np.float32)
    map[3, 4] = [2.0, -1.0]
    map[0, 0] = [-0.5, 0.5]
    assert measure("relevance_mass", map) == 0.75
    assert measure("relevance_mass", np.abs(map).sum(-1)) == 0.75


def test_ties_count_by_their_expectation():
    map = np.zeros((8, 8), np.float32)
    map[3, 4] = map[0, 0] = map[0, 1] = 1.0
    np.testing.assert_allclose(measure("pointing_game", map), 1 / 3, rtol=1e-6)
    # One of three above; six places left for 61 tied pixels, eight of them inside.
    expected = (1 + 6 * 8 / 61) / 9
    np.testing.assert_allclose(measure("rank_accuracy", map), expected, rtol=1e-6)


def test_shares_sum_to_one_and_density_of_noise_is_one():
    maps = np.random.default_rng(0).random((256, 8, 8)).astype(np.float32)
    got = loc.localize(maps, np.tile(MASK, (256, 1, 1)), regions(256))
    np.testing.assert_allclose(sum(got[r]["share"] for r in REGIONS), 1.0, rtol=1e-5)
    np.testing.assert_allclose(sum(got[r]["area"] for r in REGIONS), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(got["inside"]["share"], got["relevance_mass"])
    assert np.isnan(got["nowhere"]["density"]).all() and not got["nowhere"]["share"].any()
    for region in ("inside", "beside", "outside"):
        assert abs(got[region]["density"].mean() - 1) < 0.06
    for name in NAMES:
        assert abs(got[name].mean() - CHANCE[name]) < 0.06


def test_an_empty_region_has_no_share_and_no_density():
    full = jnp.array(MASK)
    parts = {"everywhere": jnp.ones((8, 8), bool), "nowhere": jnp.zeros((8, 8), bool)}
    got = loc.region_measures(None, None, jnp.array(random_map(3)), mask=full, regions=parts)
    assert got["nowhere"]["share"] == 0 and np.isnan(got["nowhere"]["density"])
    np.testing.assert_allclose([got["everywhere"][k] for k in ("share", "density")], 1, rtol=1e-6)


def test_batches_equal_singles_and_a_dict_its_members():
    maps, signed = random_map(0, (3, 8, 8)), random_map(1, (3, 8, 8, 2))
    masks = np.stack([MASK, MASK.T, ~MASK])
    both = loc.localize({"two": signed, "one": maps}, masks, regions(3))
    assert list(both) == ["two", "one"] and list(both["one"]) == [*REGIONS, *NAMES]
    for name in NAMES:
        singles = [measure(name, signed[i], masks[i]) for i in range(3)]
        np.testing.assert_allclose(both["two"][name], singles, rtol=1e-6)
    alone = loc.localize(maps, masks, regions(3))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), alone, both["one"])


def test_channels_may_come_first_and_the_mask_says_so():
    signed, masks = random_map(1, (3, 8, 6, 2)), np.tile(MASK[:, :6], (3, 1, 1))
    first = np.moveaxis(signed, -1, 1)
    expected = loc.localize({"all": signed, "one": signed[..., 0]}, masks)
    found = loc.localize({"all": first, "one": signed[..., 0]}, masks)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert loc.exclusions(first, masks) == loc.exclusions(signed, masks)


def test_a_mask_as_long_as_the_channels_leaves_it_to_the_option():
    signed, masks = random_map(1, (1, 8, 8, 8)), MASK[None]
    last, first = (
        loc.localize(np.moveaxis(signed, -1, at), masks, spatial_axes=axes)
        for at, axes in ((-1, None), (1, (1, 2)))
    )
    np.testing.assert_allclose(first["roc_auc"], last["roc_auc"])
    score = lambda x: jnp.sum(x)  # noqa: E731
    score.spatial_axes = (1, 2)
    single = loc.roc_auc(
        score, None, jnp.asarray(np.moveaxis(signed[0], -1, 0)), mask=jnp.asarray(MASK)
    )
    np.testing.assert_allclose(single, last["roc_auc"][0])
    with pytest.raises(ValueError, match=r"mask: expected the map's .* along its axes"):
        loc.roc_auc(score, None, jnp.ones((8, 8, 6, 8)), mask=jnp.asarray(MASK))


def test_excluded_examples_are_counted_once_and_are_the_nans():
    maps, masks = random_map(0, (5, 8, 8)), np.tile(MASK, (5, 1, 1))
    masks[0] = False
    maps[0] = maps[1] = 0
    maps[2, 1, 1] = np.nan
    counts = loc.exclusions(maps, masks)
    assert counts == {"empty mask": 1, "map not finite": 1, "map without relevance": 1}
    got = loc.localize(maps, masks, regions(5))
    for name in NAMES:
        np.testing.assert_array_equal(np.isnan(got[name]), [True, True, True, False, False])
    assert np.isnan(got["inside"]["share"][0])


def test_relevance_below_float32_is_none_and_is_counted():
    """The measures are of float32, in which a subnormal number may be zero, or not."""
    maps, masks = np.tile(random_map(0).astype(float), (4, 1, 1)), np.tile(MASK, (4, 1, 1))
    maps[0], maps[1] = 1e-50 * maps[0], 1e-41 * maps[1]
    maps[2, 0, 0] = np.inf
    undefined = np.isnan(loc.localize(maps, masks)["relevance_mass"])
    assert undefined[0] and undefined[2] and not undefined[3]
    counts = loc.exclusions(maps, masks)
    assert counts["map not finite"] == 1 and sum(counts.values()) == undefined.sum()


def test_no_examples_are_no_error():
    empty = np.zeros((0, 8, 8), np.float32)
    got = loc.localize({"m": empty}, empty.astype(bool), {"all": empty == 0})
    assert got["m"]["all"]["density"].shape == got["m"]["roc_auc"].shape == (0,)
    assert set(loc.exclusions(empty, empty.astype(bool)).values()) == {0}


def test_controls():
    image = jnp.zeros((9, 17, 2))
    prior = np.asarray(controls.centre_prior(None, image))
    assert prior.shape == image.shape and prior.argmax() // 2 == 4 * 17 + 8 and prior.max() == 1
    np.testing.assert_allclose(prior, prior[::-1, ::-1], rtol=1e-6)
    down, across = ((np.arange(n) - (n - 1) / 2) / (n / 4) for n in (9, 17))
    bell = np.exp(-(down[:, None] ** 2 + across**2) / 2)[..., None]
    np.testing.assert_allclose(prior, bell.repeat(2, -1), rtol=1e-5)
    noise = controls.uniform_random(None, image, key=jax.random.key(0))
    assert noise.shape == image.shape and 0 <= noise.min() and noise.max() < 1
    assert not np.array_equal(noise, controls.uniform_random(None, image, key=jax.random.key(1)))


@pytest.mark.parametrize(
    ("maps", "masks", "error", "words"),
    [
        ((2, 8, 8), np.ones((2, 8, 8)), TypeError, "mask: expected bool"),
        ((2, 4, 4), np.ones((2, 8, 8), bool), ValueError, r"map \(2, 4, 4\)"),
        ((3, 8, 8), np.ones((3, 8, 8), bool), ValueError, r"regions: .* \(3, 8, 8\)"),
        ((2, 8, 8, 8), np.ones((2, 8, 8), bool), ValueError, "spatial_axes"),
    ],
)
def test_bad_input_is_named(maps, masks, error, words):
    axes = (0, 9) if len(maps) == 4 else None
    with pytest.raises(error, match=words):
        loc.localize(np.ones(maps), masks, regions(2), spatial_axes=axes)
