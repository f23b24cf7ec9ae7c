"""Integrated and expected gradients: axioms, quadrature rules, baselines, chunks, errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.methods.path import expected_gradients, gradients_over, integrated_gradients
from jaxsal.methods.quadrature import RULES, quadrature

SHAPE = (4, 3, 2)
DEGREES = {
    "gausslegendre": lambda n: 2 * n - 1,
    "riemann_left": lambda n: 0,
    "riemann_right": lambda n: 0,
    "riemann_middle": lambda n: 1,
    "riemann_trapezoid": lambda n: 1,
}
SEEDS = st.integers(0, 2**20)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def explained(method, score, image, **options):
    """The map, from one compiled program."""
    return jax.jit(partial(method, score, **options))(image)


integrated = partial(explained, integrated_gradients)


def network(seed):
    """A smooth score of an image of SHAPE."""
    first, second = normal(seed, 24, 16) / 5, normal(seed + 1, 16) / 4
    return lambda x: jnp.tanh(x.ravel() @ first) @ second


@given(st.sampled_from(sorted(RULES)), st.integers(2, 40))
def test_rules_sum_to_one_and_are_exact_up_to_their_degree(rule, steps):
    positions, weights = quadrature(rule, steps)
    assert positions.shape == weights.shape == (steps,)
    assert np.all(np.diff(positions) > 0) and positions[0] >= 0 and positions[-1] <= 1
    degree = DEGREES[rule](steps)
    for power in {0, degree // 2, degree}:
        np.testing.assert_allclose(weights @ positions**power, 1 / (power + 1), atol=1e-12)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_rules_are_not_exact_beyond_their_degree(rule):
    positions, weights = quadrature(rule, 3)
    power = DEGREES[rule](3) + 1
    assert abs(weights @ positions**power - 1 / (power + 1)) > 1e-5


@pytest.mark.parametrize("rule", sorted(RULES))
def test_of_a_linear_model_is_weights_times_difference(rule):
    weights, image, baseline = (normal(i, *SHAPE) for i in range(3))
    score = lambda x: jnp.sum(weights * x) + 2  # noqa: E731
    map = integrated(score, image, baseline=baseline, steps=5, rule=rule, chunk=2)
    np.testing.assert_allclose(map, weights * (image - baseline), rtol=1e-5, atol=1e-6)


@given(SEEDS, st.floats(-1, 1))
def test_completeness(seed, level):
    score, image = network(7), normal(seed, *SHAPE)
    map = complete(image, level)
    np.testing.assert_allclose(
        jnp.sum(map), score(image) - score(jnp.full(SHAPE, level)), atol=2e-5
    )


complete = jax.jit(
    lambda image, level: integrated_gradients(network(7), image, baseline=level, steps=24, chunk=24)
)


@jax.jit
def of_a_symmetric_score(image):
    return integrated_gradients(lambda x: jnp.tanh(x[0] * x[1] + x[0] + x[1]), image, steps=8)


@given(SEEDS)
def test_symmetry_and_dummy(seed):
    """Equal inputs in symmetric roles get equal shares, an input that the score ignores none."""
    a, b = np.random.default_rng(seed).normal(size=2)
    map = of_a_symmetric_score(jnp.array([a, a, b]))
    np.testing.assert_allclose(map[0], map[1], rtol=1e-5)
    assert map[2] == 0


def test_swapping_image_and_baseline_flips_the_sign():
    image, baseline = normal(0, *SHAPE), normal(1, *SHAPE)
    there = integrated(network(2), image, baseline=baseline, steps=9)
    back = integrated(network(2), baseline, baseline=image, steps=9)
    np.testing.assert_allclose(there, -back, atol=1e-6)


def test_any_chunk_gives_the_same_map():
    image = normal(0, *SHAPE)
    one = integrated(network(1), image, steps=7)
    for chunk in (2, 3, 7, 50):
        map = integrated(network(1), image, steps=7, chunk=chunk)
        np.testing.assert_allclose(map, one, atol=1e-6)


def test_baselines_of_every_kind_agree():
    image = normal(0, *SHAPE)
    integrate = partial(integrated, network(3), image, steps=4)
    expected = integrate(baseline=jnp.full(SHAPE, image.min()))
    for baseline in (float(image.min()), image.min(), np.asarray(image.min()), jnp.min):
        np.testing.assert_allclose(integrate(baseline=baseline), expected, atol=1e-6)
    np.testing.assert_array_equal(integrate(baseline=lambda x: x), jnp.zeros(SHAPE))


def test_is_differentiable_and_jvpable():
    """IG of w Σ x² from 0 is w x²; its sum's derivative is 2 w x in x and Σ x² in w."""
    image = normal(0, *SHAPE)

    def total(weight, x):
        return jnp.sum(integrated_gradients(lambda v: weight * jnp.sum(v**2), x, steps=3, chunk=2))

    in_weight, in_image = jax.jit(jax.grad(total, (0, 1)))(2.0, image)
    np.testing.assert_allclose(in_weight, jnp.sum(image**2), rtol=1e-5)
    np.testing.assert_allclose(in_image, 4 * image, rtol=1e-5)
    tangent = jax.jit(partial(jax.jvp, total))((2.0, image), (0.0, jnp.ones(SHAPE)))[1]
    np.testing.assert_allclose(tangent, jnp.sum(4 * image), rtol=1e-4)


def test_sums_are_float32_for_a_bfloat16_score():
    """In bfloat16 the sum of 1000 equal terms would stall far below its value."""
    score = lambda x: jnp.sum(x.astype(jnp.bfloat16)).astype(jnp.float32)  # noqa: E731
    for dtype in (jnp.float32, jnp.bfloat16):
        map = integrated(score, jnp.ones((3, 1), dtype), steps=1000, rule="riemann_left")
        assert map.dtype == jnp.float32
        np.testing.assert_allclose(map, 1.0, rtol=1e-4)


def test_memory_is_flat_in_steps():
    def temporaries(steps):
        explain = lambda x: integrated_gradients(network(0), x, steps=steps, chunk=2)  # noqa: E731
        compiled = jax.jit(explain).lower(jnp.zeros(SHAPE)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(400) <= 1.05 * temporaries(10)


@pytest.mark.parametrize(
    "options, error, name",
    [
        ({"steps": 0}, ValueError, "steps"),
        ({"steps": 2.5}, TypeError, "steps"),
        ({"steps": True}, TypeError, "steps"),
        ({"steps": 1, "rule": "riemann_trapezoid"}, ValueError, "steps"),
        ({"rule": "simpson"}, ValueError, "rule"),
        ({"chunk": 0}, ValueError, "chunk"),
        ({"baseline": np.zeros((4, 3))}, ValueError, "baseline"),
        ({"baseline": np.zeros(SHAPE, complex)}, TypeError, "baseline"),
        ({"baseline": "black"}, TypeError, "baseline"),
    ],
)
def test_bad_options_raise(options, error, name):
    with pytest.raises(error, match=name):
        integrated_gradients(network(0), jnp.zeros(SHAPE), **options)


def test_expected_gradients_of_a_linear_model_is_weights_times_mean_difference():
    """With one baseline and no noise every draw gives w (x - b)."""
    weights, image, baseline = (normal(i, *SHAPE) for i in range(3))
    map = explained(
        expected_gradients,
        lambda x: jnp.sum(weights * x),
        image,
        baselines=baseline[None],
        samples=5,
        key=jax.random.key(0),
        chunk=2,
    )
    np.testing.assert_allclose(map, weights * (image - baseline), rtol=1e-5, atol=1e-6)


def test_expected_gradients_is_complete_in_expectation():
    """The sum over the map estimates s(x) - mean s(b) without bias: 4 standard errors."""
    score, image, baselines = network(5), normal(0, *SHAPE), normal(1, 3, *SHAPE)

    def total(key):
        map = expected_gradients(score, image, baselines=baselines, samples=20, key=key, chunk=20)
        return jnp.sum(map)

    totals = jax.jit(jax.vmap(total))(jax.random.split(jax.random.key(2), 200))
    truth = score(image) - np.mean([score(baseline) for baseline in baselines])
    assert abs(jnp.mean(totals) - truth) < 4 * jnp.std(totals) / np.sqrt(200)


def test_expected_gradients_replays_draws():
    """The core on given draws is the average written out."""
    score, image = network(4), normal(0, *SHAPE)
    starts, ends, positions = normal(1, 5, *SHAPE), normal(2, 5, *SHAPE), jnp.linspace(0, 1, 5)
    draw = lambda j: (starts[j], ends[j], positions[j])  # noqa: E731
    map = explained(gradients_over, score, image, draw=draw, samples=5, chunk=3)
    slope = jax.jit(jax.grad(score))
    terms = [
        (x - b) * slope(a * x + (1 - a) * b)
        for b, x, a in zip(starts, ends, positions, strict=True)
    ]
    np.testing.assert_allclose(map, sum(terms) / 5, atol=1e-6)


def test_expected_gradients_depends_on_the_key_and_not_on_the_chunk():
    image, baselines = normal(0, *SHAPE), normal(1, 3, *SHAPE)

    @partial(jax.jit, static_argnames="chunk")
    def explain(key, chunk=1):
        options = {"baselines": baselines, "noise": 0.1, "samples": 7, "key": key, "chunk": chunk}
        return expected_gradients(network(1), image, **options)

    one = explain(jax.random.key(0))
    np.testing.assert_allclose(explain(jax.random.key(0), chunk=3), one, atol=1e-6)
    assert jnp.max(jnp.abs(explain(jax.random.key(1)) - one)) > 1e-3


@pytest.mark.parametrize(
    "options, error, name",
    [
        ({"baselines": np.zeros(SHAPE)}, ValueError, "baselines"),
        ({"baselines": np.zeros((0, *SHAPE))}, ValueError, "baselines"),
        ({"noise": -1.0}, ValueError, "noise"),
        ({"samples": 0}, ValueError, "samples"),
    ],
)
def test_bad_options_of_expected_gradients_raise(options, error, name):
    good = {"baselines": np.zeros((2, *SHAPE), np.float32), "key": jax.random.key(0)}
    with pytest.raises(error, match=name):
        expected_gradients(network(0), jnp.zeros(SHAPE), **{**good, **options})
