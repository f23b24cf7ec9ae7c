"""Infidelity, sensitivity and completeness: exact on linear scores, stated where undefined."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal import metrics

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 20)
SHAPE = (8, 6, 2)


def normal(seed, shape=SHAPE):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


WEIGHTS, IMAGE, OTHER = normal(0), normal(1), normal(2)


def linear(image):
    return jnp.sum(WEIGHTS * image)


def affine_of_pixels(image):
    """A baseline of zero makes a pixel's loss its part of the sum."""
    return linear(image) + 3.0


@pytest.mark.parametrize("perturbation", [metrics.remove_square, metrics.add_noise])
def test_the_gradient_of_a_linear_score_has_no_infidelity(perturbation):
    infidelity = partial(metrics.infidelity, linear, IMAGE, samples=5, perturbation=perturbation)

    @jax.jit
    @jax.vmap
    def found(key):
        return (
            infidelity(WEIGHTS, key=key),
            infidelity(-7 * WEIGHTS, key=key, normalize=True),
            infidelity(-7 * WEIGHTS, key=key),
        )

    exact, fitted, wrong = found(KEYS)
    assert jnp.max(exact) < 1e-8 and jnp.max(fitted) < 1e-7 and jnp.min(wrong) > 1e-3


@pytest.mark.parametrize("baseline", [0.0, 0.3])
def test_contributions_to_a_linear_score_have_no_infidelity(baseline):
    contributions = WEIGHTS * (IMAGE - baseline)
    removed = partial(metrics.remove_square, baseline=baseline)
    options = {"samples": 5, "perturbation": removed, "key": KEY}
    infidelity = partial(metrics.infidelity, linear, IMAGE, **options)
    told = {"contributions": True, "baseline": baseline}
    assert infidelity(contributions, **told) < 1e-8
    assert infidelity(contributions) > 1e-3
    # With noise, too, a contribution changes as its input does.
    noisy = partial(infidelity, perturbation=metrics.add_noise)
    assert noisy(contributions, **told) < 1e-6


def test_the_contributions_of_pixels_count_once_for_all_channels():
    """Occlusion of single pixels is exact for a linear score, with or without its channels.

    A square's pixels that have no input in some channels, or in none, are pixels all the same.
    """
    image = IMAGE.at[2:4, :, 0].set(0).at[5].set(0)
    infidelity = partial(metrics.infidelity, linear, image, contributions=True, key=KEY, samples=9)
    losses = jaxsal.occlusion(linear, image, window=1)
    maps = jnp.stack([losses, 2 * losses])
    exact, wrong = jax.jit(jax.vmap(infidelity))(maps)
    assert exact < 1e-8 and wrong > 1e-3
    for map in (losses[..., 0], losses[..., :1]):
        np.testing.assert_allclose(jax.jit(infidelity)(map), exact, atol=1e-8)


def test_a_map_that_forecasts_nothing_gets_the_mean_square_of_the_changes():
    infidelity = partial(metrics.infidelity, linear, IMAGE, key=KEY, samples=9)
    zero = jnp.zeros(SHAPE)
    expected = infidelity(zero)
    assert expected > 0
    np.testing.assert_allclose(infidelity(zero, normalize=True), expected, rtol=1e-6)
    assert infidelity(OTHER, normalize=True) <= expected


def test_a_removed_square_is_a_square():
    taken = jax.vmap(lambda key: metrics.remove_square(key, jnp.ones((12, 8, 1)), side=0.5))(
        jax.random.split(KEY, 500)
    )[..., 0]
    assert set(np.unique(taken)) == {0.0, 1.0}
    np.testing.assert_array_equal(taken.sum((1, 2)), 6 * 4)
    np.testing.assert_array_equal(taken.any(2).sum(1), 6)
    assert (taken.sum(0) > 0).all()  # no pixel is out of reach


@pytest.mark.parametrize("side", [0.0, -0.5, 1.5])
def test_a_square_of_no_or_too_many_pixels_is_an_error(side):
    with pytest.raises(ValueError, match="side: expected a number"):
        metrics.remove_square(KEY, IMAGE, side=side)


def test_a_constant_method_has_no_sensitivity_and_a_linear_score_neither():
    """Insensitive is not faithful: the centre prior is perfectly so."""
    sensitivity = partial(metrics.sensitivity_max, linear, IMAGE, IMAGE, key=KEY)
    assert sensitivity(method=metrics.centre_prior) == 0
    assert sensitivity(method=jaxsal.gradient) == 0


def test_sensitivity_of_the_image_itself_is_that_of_the_noise():
    """M(x) = x moves by e: at most r times the root of the number of values, over the norm."""
    sensitivity = metrics.sensitivity_max(
        linear, IMAGE, IMAGE, method=lambda score, image: image, key=KEY, radius=0.1, samples=20
    )
    size = float(jnp.linalg.norm(IMAGE.ravel()))
    uniform = 0.1 * np.sqrt(IMAGE.size / 3) / size
    assert uniform < float(sensitivity) < np.sqrt(3) * uniform


def test_a_methods_own_draws_are_no_sensitivity():
    noisy = jaxsal.smoothgrad(jaxsal.gradient, samples=2)
    value = metrics.sensitivity_max(linear, IMAGE, IMAGE, method=noisy, key=KEY, samples=3)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    uniform = metrics.uniform_random
    assert metrics.sensitivity_max(linear, IMAGE, IMAGE, method=uniform, key=KEY, samples=3) == 0


def test_an_all_zero_map_that_stays_zero_is_not_sensitive():
    zero = lambda score, image: jnp.zeros(SHAPE)  # noqa: E731
    assert metrics.sensitivity_max(linear, IMAGE, IMAGE, method=zero, key=KEY) == 0


@pytest.mark.parametrize("factor", [1, -3])
def test_input_x_gradient_foretells_an_affine_score_exactly(factor):
    sensitivity = partial(metrics.sensitivity_n, affine_of_pixels, IMAGE, samples=6, chunk=4)
    found = jax.jit(jax.vmap(lambda key: sensitivity(factor * WEIGHTS * IMAGE, key=key)))(KEYS)
    np.testing.assert_allclose(found, np.sign(factor), atol=1e-3)


def test_sets_are_those_of_their_keys_and_the_correlation_is_numpys():
    """Set j of share k draws from `fold_in(key, k * samples + j)`; a score that is not linear."""
    bent = lambda image: jnp.sum(jnp.sin(WEIGHTS * image)) * image[0, 0, 0]  # noqa: E731
    options = {"shares": (0.1, 0.5), "samples": 7, "baseline": 0.3, "key": KEY}
    found = jax.jit(partial(metrics.sensitivity_n, bent, **options))(IMAGE, OTHER)
    draw = lambda i: jax.random.permutation(jax.random.fold_in(KEY, i), 48)  # noqa: E731
    order = np.asarray(jax.vmap(draw)(jnp.arange(14))).reshape(2, 7, 48)
    relevance = np.asarray(OTHER).sum(-1).ravel()
    for n, places, correlation in zip((5, 24), order, found, strict=True):
        taken = places < n
        images = jnp.where(taken.reshape(7, 8, 6, 1), 0.3, IMAGE[None])
        losses = np.asarray(bent(IMAGE) - jax.vmap(bent)(images))
        expected = np.corrcoef(taken @ relevance, losses)[0, 1]
        np.testing.assert_allclose(correlation, expected, rtol=1e-4)


def test_a_constant_map_foretells_nothing():
    for map in (jnp.zeros(SHAPE), jnp.ones(SHAPE)):
        assert jnp.isnan(metrics.sensitivity_n(linear, IMAGE, map, key=KEY)).all()
    flat = lambda image: 0 * jnp.sum(image)  # noqa: E731
    assert jnp.isnan(metrics.sensitivity_n(flat, IMAGE, OTHER, key=KEY)).all()


# Losses are multiples of 1/64, of one pixel 3/64 at most: with a bias of 2^14 still exact.
SIGNS, STEPS = jnp.sign(WEIGHTS), jnp.round(jnp.clip(IMAGE, -1.5, 1.5)) / 64


@jax.jit
def measured(bias, map_bias):
    """Every metric of the change of a score, for a score and a map with something added."""

    def score(image):
        return jnp.sum(SIGNS * image) + bias

    map = SIGNS * STEPS + 0.5 * OTHER
    half = jnp.round(32 * map) / 32 + map_bias
    infidelity = partial(metrics.infidelity, score, STEPS, map, samples=6, key=KEY)
    return {
        "sensitivity_n": metrics.sensitivity_n(score, STEPS, half, samples=9, key=KEY),
        "infidelity": infidelity(),
        "fitted": infidelity(normalize=True),
        "completeness": metrics.completeness(score, STEPS, map),
        "sensitivity_max": metrics.sensitivity_max(
            lambda x: jnp.sum(jnp.sin(x)) + bias, STEPS, map, method=jaxsal.gradient, key=KEY
        ),
        "road": metrics.road(score, STEPS, map, removed=(0.5,), noise=0, key=KEY),
        "deletion": metrics.deletion(score, STEPS, map, steps=96) - bias,
        "insertion": metrics.insertion(score, STEPS, map, steps=96, baseline=0.0) - bias,
    }


def test_what_is_added_to_a_score_or_to_a_map_changes_no_metric():
    """Equal up to rounding is a question of the losses, not of the score's size."""
    plain = jax.device_get(measured(0.0, 0.0))
    assert np.isfinite(plain["sensitivity_n"]).all()
    for given in ((2.0**14, 0.0), (-(2.0**14), 0.0), (0.0, 2.0**12)):
        found = jax.device_get(measured(*given))
        np.testing.assert_allclose(
            found["sensitivity_n"], plain["sensitivity_n"], atol=1e-5, err_msg=str(given)
        )
        for name in ("infidelity", "fitted", "completeness", "sensitivity_max"):
            np.testing.assert_allclose(found[name], plain[name], rtol=1e-5, err_msg=name)
        # These are means of scores: exact to the last place of a score of that size.
        for name in ("road", "deletion", "insertion"):
            np.testing.assert_allclose(found[name], plain[name], atol=2.0**-9, err_msg=name)


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_neither_gradients_nor_scores_vanish_or_overflow_when_squared(factor):
    """A saturated probability has gradients of 1e-25: float32 has no squares of them."""

    @jax.jit
    def found(factor):
        score = lambda image: factor * linear(image)  # noqa: E731
        bent = lambda image: factor * jnp.sum(jnp.sin(WEIGHTS * image))  # noqa: E731
        return (
            metrics.sensitivity_n(linear, IMAGE, factor * OTHER, samples=5, key=KEY),
            metrics.sensitivity_n(score, IMAGE, OTHER, samples=5, key=KEY),
            metrics.infidelity(linear, IMAGE, factor * OTHER, samples=5, normalize=True, key=KEY),
            metrics.sensitivity_max(bent, IMAGE, IMAGE, method=jaxsal.gradient, key=KEY),
        )

    for got, expected in zip(found(factor), found(1.0), strict=True):
        assert jnp.all(jnp.abs(expected) > 1e-6)
        np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_losses_below_a_scores_last_place_are_foretold_by_nothing():
    noisy = lambda image: 1000 + 1e-5 * linear(image)  # noqa: E731
    assert jnp.isnan(metrics.sensitivity_n(noisy, IMAGE, OTHER, key=KEY)).all()
    even = 1000 + 1e-5 * OTHER
    assert jnp.isnan(metrics.sensitivity_n(linear, IMAGE, even, key=KEY)).all()


def test_completeness_is_a_number_and_no_test_of_equality():
    """Quantus asks whether two float32 sums are the same number."""
    map = WEIGHTS * IMAGE
    assert metrics.completeness(affine_of_pixels, IMAGE, map) < 1e-5
    np.testing.assert_allclose(
        metrics.completeness(affine_of_pixels, IMAGE, 1.5 * map), 0.5, rtol=1e-4
    )
    shifted = WEIGHTS * (IMAGE - OTHER)
    assert metrics.completeness(linear, IMAGE, shifted, baseline=OTHER) < 1e-5
    assert jnp.isnan(metrics.completeness(linear, IMAGE, map, baseline=IMAGE))


def test_a_blind_map_may_be_complete():
    map = metrics.centre_prior(None, IMAGE)
    scaled = map * linear(IMAGE) / jnp.sum(map)
    assert metrics.completeness(linear, IMAGE, scaled) < 1e-5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (partial(metrics.sensitivity_n, shares=(0.0,)), "shares"),
        (partial(metrics.sensitivity_n, samples=1), "samples"),
        (partial(metrics.infidelity, samples=0), "samples"),
        (partial(metrics.sensitivity_max, method=jaxsal.gradient, radius=-1.0), "radius"),
    ],
)
def test_bad_options_raise(call, words):
    with pytest.raises(ValueError, match=words):
        call(linear, IMAGE, OTHER, key=KEY)
