"""Scores that differ by rounding alone are equal, in whatever dtype they are computed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal import metrics
from jaxsal.common.options import takes_key
from jaxsal.common.rounding import dtype_of, rounding

WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(16, 1)) / 8, jnp.float32)
IMAGES = np.random.default_rng(1).normal(size=(2, 4, 4, 1)).astype(np.float32)
MAPS = IMAGES * np.asarray(WEIGHTS).reshape(4, 4, 1)
KEY = jax.random.key(0)
NARROW = jnp.bfloat16


def model(weights, images):
    """One number near 100, where neighbours of bfloat16 are a half apart."""
    product = images.reshape(len(images), -1) @ weights
    return product + jnp.asarray(100, product.dtype)


def narrow(weights, images):
    return model(weights.astype(NARROW), images.astype(NARROW))


def narrow_inside(weights, images):
    return narrow(weights, images).astype(jnp.float32)


MEASURES = {
    "monotonicity": partial(metrics.monotonicity, steps=8),
    "increase": metrics.average_increase,
    "sensitivity_n": partial(metrics.sensitivity_n, shares=(0.3,), samples=8),
    "correlation": partial(metrics.faithfulness_correlation, subset=5, samples=8),
}
OF_SCORES = MEASURES | {
    "insertion": partial(metrics.insertion, steps=4),
    "infidelity": partial(metrics.infidelity, samples=4),
    "drop": metrics.average_drop,
    "selectivity": partial(metrics.selectivity, patch=2),
    "completeness": metrics.completeness,
}
METHODS = {
    "sobol": partial(jaxsal.sobol, grid=2, designs=4),
    "hsic": partial(jaxsal.hsic, grid=2, designs=8),
}
SAID = {"output": "value", "spatial_axes": (0, 1)}


def found(apply, **options):
    measures = jaxsal.evaluator(apply, MEASURES, **SAID, **options)
    values = measures(WEIGHTS, IMAGES, MAPS, 0, key=KEY)
    maps = jaxsal.explainer(apply, METHODS, **SAID, **options)(WEIGHTS, IMAGES, 0, key=KEY)
    return jax.tree.map(np.asarray, {**values, **maps})


def test_changes_of_a_score_are_seen_in_float32():
    got = found(model)
    assert (got["monotonicity"] < 1).all() and got["increase"].any()
    assert np.isfinite(got["sensitivity_n"]).all() and np.isfinite(got["correlation"]).all()
    assert got["sobol"].any() and got["hsic"].any()


@pytest.mark.parametrize(
    ("apply", "options"),
    [(model, {"dtype": NARROW}), (narrow_inside, {})],
    ids=["dtype", "inside"],
)
def test_steps_of_a_narrow_dtype_are_no_changes(apply, options):
    """By the explainer's dtype, and of a model that computes so and returns wider logits."""
    got = found(apply, **options)
    assert (got["monotonicity"] == 1).all() and not got["increase"].any()
    assert np.isnan(got["sensitivity_n"]).all() and np.isnan(got["correlation"]).all()
    assert not got["sobol"].any() and not got["hsic"].any()


def test_a_plain_score_computes_in_the_dtype_of_its_value():
    image, map = jnp.asarray(IMAGES[0]), jnp.asarray(MAPS[0])
    for apply, expected in ((narrow, NARROW), (model, jnp.float32)):
        score = lambda x: apply(WEIGHTS, x[None])[0, 0]  # noqa: B023, E731
        assert dtype_of(score, image) == expected
        rising = jax.jit(partial(MEASURES["monotonicity"], score))(image, map)
        assert (rising == 1) == (apply is narrow)
        score.dtype = NARROW
        assert dtype_of(jaxsal.neuron(score, 0, 0), image) == dtype_of(score, image) == NARROW


def test_rounding_is_that_of_the_coarser_dtype():
    values = jnp.asarray([-100.0, 3.0])
    assert rounding(values) == pytest.approx(400 * 2**-23)
    assert rounding(values, NARROW) == rounding(values.astype(NARROW)) == 400 * 2**-7
    assert rounding(values.astype(NARROW), jnp.float32) == 400 * 2**-7


def test_a_score_may_count() -> None:
    """Integers are added up in float32, where they do not round."""
    count = lambda image: jnp.sum(image > 0)  # noqa: E731
    image = jnp.asarray(IMAGES[0])
    assert dtype_of(count, image) == jnp.float32
    found = metrics.monotonicity(count, image, jnp.where(image > 0, image, 0.0), steps=8)
    assert np.isfinite(found)


def test_every_metric_of_a_count_is_that_of_its_float() -> None:
    count = lambda image: jnp.sum(image > 0)  # noqa: E731

    def measured(score, image, map):
        given = {name: {"key": KEY} if takes_key(f) else {} for name, f in OF_SCORES.items()}
        return {name: f(score, image, map, **given[name]) for name, f in OF_SCORES.items()}

    found, expected = (
        jax.jit(partial(measured, score))(IMAGES[0], MAPS[0])
        for score in (count, lambda image: count(image).astype(jnp.float32))
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), found, expected)
    assert np.isfinite(found["sensitivity_n"]).all() and np.isfinite(found["correlation"])
