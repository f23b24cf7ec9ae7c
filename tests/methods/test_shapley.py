"""Shapley values, exact and estimated: their axioms on games drawn at random."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxsal
from jaxsal.methods._segments import segments_of
from jaxsal.methods.kernel_shap import draw_coalitions, kernel_shap_over
from jaxsal.methods.shapley import draw_orders, shapley_over

PLAYERS = 4
LABELS = np.arange(PLAYERS)
IMAGE = jnp.ones(PLAYERS)
KEY = jax.random.key(0)
COALITIONS = np.arange(2**PLAYERS)[:, None] >> LABELS & 1
BETWEEN = COALITIONS[1:-1]
KERNEL = np.asarray(
    [(PLAYERS - 1) / (math.comb(PLAYERS, k) * k * (PLAYERS - k)) for k in BETWEEN.sum(1)]
)


def game(table):
    """A score that is any function of which of the pixels are shown: [2^players] values."""
    return lambda image: table[jnp.sum(jnp.where(image > 0.5, 2**LABELS, 0))]


@jax.jit
def explained(table):
    """All the methods on a game: what holds of each is asked of one program."""
    score, options = game(table), {"segments": LABELS, "chunk": 6000}
    return {
        "shapley_values": jaxsal.shapley_values(score, IMAGE, **options),
        "shapley_sampling": jaxsal.shapley_sampling(score, IMAGE, **options, samples=3, key=KEY),
        "kernel_shap": jaxsal.kernel_shap(score, IMAGE, **options, samples=9, key=KEY),
        "many orders": jaxsal.shapley_sampling(score, IMAGE, **options, samples=2000, key=KEY),
        "many coalitions": jaxsal.kernel_shap(score, IMAGE, **options, samples=2000, key=KEY),
        "all coalitions": kernel_shap_over(score, IMAGE, BETWEEN, **options, weights=KERNEL),
        "all orders": shapley_over(
            score, IMAGE, np.asarray(list(itertools.permutations(LABELS))), **options
        ),
    }


def drawn(seed):
    return np.random.default_rng(seed).normal(size=2**PLAYERS).astype(np.float32)


@given(st.integers(0, 2**20), st.floats(-1e3, 1e3))
def test_every_method_is_complete(seed, origin):
    """For any number of samples, and wherever the scores lie."""
    table = drawn(seed) + np.float32(origin)
    for name, map in explained(table).items():
        error = abs(jnp.sum(map) - (table[-1] - table[0]))
        assert error < 3e-5 + 2e-6 * abs(origin), name


def test_a_map_is_complete_over_the_sizes_of_its_segments():
    """Every element has its segment's whole value: a sum over elements counts it for each."""
    image = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2)), jnp.float32)
    score = lambda x: jnp.prod(1 + jnp.sum(x, (1, 2)))  # noqa: E731
    labels = np.asarray([[0, 0, 0, 1], [1, 1, 2, 2], [2, 2, 2, 2]])
    sizes = 2.0 * np.bincount(labels.ravel())[labels][..., None].astype(np.float32)

    @jax.jit
    def misses():
        options = {"segments": labels}
        maps = (
            jaxsal.shapley_values(score, image, **options),
            jaxsal.kernel_shap(score, image, **options, samples=4, key=KEY),
        )
        miss = partial(jaxsal.metrics.completeness, score, image)
        return [(miss(map / sizes), miss(map)) for map in maps]

    for divided, whole in misses():
        assert divided < 1e-5 < 0.1 < whole


@given(st.integers(0, 2**20))
def test_all_coalitions_and_all_orders_are_exact(seed):
    found = explained(drawn(seed))
    for name in ("all coalitions", "all orders"):
        np.testing.assert_allclose(found[name], found["shapley_values"], atol=1e-5)


@given(st.integers(0, 2**20))
def test_exact_values_are_linear_symmetric_and_zero_of_a_null_player(seed):
    exact = lambda table: np.asarray(explained(table)["shapley_values"])  # noqa: E731
    first, second = drawn(seed), drawn(seed + 1)
    both = exact(2 * first - second)
    np.testing.assert_allclose(both, 2 * exact(first) - exact(second), atol=1e-5)
    order = np.random.default_rng(seed).permutation(PLAYERS)
    renamed = first[COALITIONS[:, order] @ 2**LABELS]  # player order[i] is called i
    values = np.empty(PLAYERS)
    values[order] = exact(first)
    np.testing.assert_allclose(exact(renamed), values, atol=1e-5)
    null = first[np.arange(2**PLAYERS) & ~2]  # player 1 changes nothing
    found = explained(null)
    for name in ("shapley_values", "shapley_sampling", "all coalitions"):
        assert abs(found[name][1]) < 1e-5


@given(st.lists(st.floats(-10, 10, width=32), min_size=PLAYERS, max_size=PLAYERS))
def test_of_a_sum_each_player_has_its_own_part(parts):
    table = (COALITIONS @ np.asarray(parts) + 1).astype(np.float32)
    for map in explained(table).values():
        np.testing.assert_allclose(map, parts, atol=1e-4)


@given(st.integers(0, 2**20))
def test_many_samples_come_near(seed):
    found = explained(drawn(seed))
    for name in ("many orders", "many coalitions"):
        np.testing.assert_allclose(found[name], found["shapley_values"], atol=0.15, err_msg=name)


def test_sizes_of_coalitions_follow_the_kernel():
    """k of M by chance ~ 1 / (k (M - k)), and each segment as often as another."""
    segments = segments_of(np.arange(6), jnp.sum, jnp.ones(6))
    drawn = np.asarray(draw_coalitions(KEY, 4000, segments))
    sizes = np.arange(1, 6)
    chance = 1 / (sizes * (6 - sizes))
    counted = np.bincount(drawn.sum(1), minlength=7)[1:6] / 4000
    np.testing.assert_allclose(counted, chance / chance.sum(), atol=0.03)
    np.testing.assert_allclose(drawn.mean(0), 0.5, atol=0.03)


def test_orders_are_permutations_each_as_likely():
    segments = segments_of(np.arange(3), jnp.sum, jnp.ones(3))
    found = np.asarray(draw_orders(KEY, 3000, segments))
    orders, counts = np.unique(found, axis=0, return_counts=True)
    assert {tuple(order) for order in orders} == set(itertools.permutations(range(3)))
    np.testing.assert_allclose(counts / 3000, 1 / 6, atol=0.03)


def square(image):
    return jnp.sum(image[:3]) ** 2 + jnp.sum(image)


RANDOM = {
    "lime": partial(jaxsal.lime, samples=20, key=KEY),
    "kernel_shap": partial(jaxsal.kernel_shap, samples=20, key=KEY),
    "shapley_sampling": partial(jaxsal.shapley_sampling, samples=3, key=KEY),
    "shapley_values": jaxsal.shapley_values,
}
ROW = jnp.asarray([1.0, 2, 3, 4, 5, 6])


UNEVEN = np.asarray([7, 7, -2, 3, 3, 5])


@jax.jit
def with_room(segments):
    """Maps of segments that are concrete, of traced ones with room for more, with too little."""
    explain = {name: partial(method, square, ROW, chunk=20) for name, method in RANDOM.items()}
    traced = {name: partial(each, segments=segments) for name, each in explain.items()}
    return {
        "concrete": {name: each(segments=UNEVEN) for name, each in explain.items()},
        "more": {name: each(n_segments=8) for name, each in traced.items()},
        "too little": {name: traced[name](n_segments=3) for name in ("lime", "shapley_values")},
    }


def test_no_map_depends_on_how_many_segments_other_images_have():
    """The explainer makes room for the most of a batch; with too little the map is NaN."""
    found = with_room(UNEVEN)
    for name, map in found["concrete"].items():
        np.testing.assert_allclose(found["more"][name], map, rtol=1e-4, atol=1e-4, err_msg=name)
    for map in found["too little"].values():
        assert jnp.isnan(map).all()


def test_a_segment_for_each_image_is_an_option_of_the_call():
    """Through the explainer: four segments of one image, eight of another."""
    apply = lambda params, x: jnp.stack([jnp.sum(params * x, (1, 2, 3)) ** 2, x[:, 0, 0, 0]], 1)  # noqa: E731
    rng = np.random.default_rng(0)
    params, images = rng.normal(size=(1, 4, 4, 1)), rng.normal(size=(2, 4, 4, 1))
    params, images = params.astype(np.float32), images.astype(np.float32)
    segments = np.stack([np.arange(16).reshape(4, 4) // 4, np.arange(16).reshape(4, 4) // 2])
    explain = jaxsal.explainer(apply, jaxsal.kernel_shap, samples=20, spatial_axes=(0, 1))
    keys, back = jax.random.key_data(jax.random.split(KEY, 2)), slice(None, None, -1)
    of = lambda some: explain(  # noqa: E731
        params, images[some], 0, segments=segments[some], key=jax.random.wrap_key_data(keys[some])
    )
    np.testing.assert_allclose(of(back)[::-1], of(slice(None)), rtol=1e-5)
    assert [len(np.unique(map)) for map in np.asarray(of(slice(None)))] == [4, 8]


def test_what_cannot_be_is_an_error():
    many = np.arange(17)
    with pytest.raises(ValueError, match=r"17 have 2\^17 coalitions"):
        jaxsal.shapley_values(jnp.sum, jnp.ones(17), segments=many)
    with pytest.raises(ValueError, match="samples: expected 16 or more for 17 segments, got 15"):
        jaxsal.kernel_shap(jnp.sum, jnp.ones(17), segments=many, samples=15, key=KEY)
    with pytest.raises(ValueError, match=r"draws: expected \[samples, 4\]"):
        kernel_shap_over(jnp.sum, IMAGE, np.ones((2, 3)), segments=LABELS)
    with pytest.raises(ValueError, match=r"orders: expected \[samples, 4\]"):
        shapley_over(jnp.sum, IMAGE, np.zeros((2, 3), int), segments=LABELS)
    with pytest.raises(TypeError, match="samples: expected an integer"):
        jaxsal.shapley_sampling(jnp.sum, IMAGE, segments=LABELS, samples=True, key=KEY)


def test_one_segment_has_the_whole_difference():
    options = {"segments": np.zeros(4, int), "chunk": 20}
    found = jax.jit(lambda x: [RANDOM[n](jnp.sum, x, **options) for n in RANDOM if n != "lime"])
    for map in found(IMAGE):
        np.testing.assert_allclose(map, 4.0, rtol=1e-6)
