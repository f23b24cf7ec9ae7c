"""What a model's outputs are said to be decides its classes, its scores and what it predicts."""

import copy
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import toy

W = jnp.asarray(toy.images(3, shape=(4, 4)).transpose(1, 2, 0))
ONE = W[..., :1]
X = toy.images(6, seed=2, shape=(4, 4))
Z = np.tensordot(X, np.asarray(W), 2)
P = 1 / (1 + np.exp(8 - 3 * Z[:, 0]))
METHODS = {"gradient": jaxsal.gradient, "path": jaxsal.integrated_gradients}


def chance(weights: jax.Array, images: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(3 * toy.linear(weights, images) - 8)


def chances(weights: jax.Array, images: jax.Array) -> jax.Array:
    return jax.nn.softmax(toy.linear(weights, images))


def by_image(factors: np.ndarray, k: int = 0) -> np.ndarray:
    """Maps that are the weights of output k times a factor an image."""
    return np.asarray(factors)[:, None, None] * np.asarray(W[..., k])


def test_one_probability_scores_its_class_and_what_is_left_the_other() -> None:
    found = jaxsal.explainer(chance, jaxsal.gradient, output="probability").record(ONE, X)
    assert 0 < (P > 0.5).sum() < 6 and P.min() < 0.004  # which a logit would take for class 1
    np.testing.assert_array_equal(found.targets, P > 0.5)
    toy.close(found.maps, by_image(np.where(P > 0.5, 3, -3) * P * (1 - P)), 1e-4)
    toy.close(found.logits, P[:, None])
    scores = jaxsal.explainer(chance, lambda score, image: score(image), output="probability")
    toy.close(scores(ONE, X, "all"), np.stack([1 - P, P], 1))


def test_the_largest_of_several_probabilities_is_explained() -> None:
    found = jaxsal.explainer(chances, jaxsal.gradient, output="probability").record(W, X)
    probability = jax.vmap(lambda x, k: chances(W, x[None])[0, k])
    np.testing.assert_array_equal(found.targets, Z.argmax(-1))
    exact = jax.vmap(jax.grad(lambda x, k: probability(x[None], k[None])[0]))
    toy.close(found.maps, exact(X, jnp.asarray(Z.argmax(-1))))


@pytest.mark.parametrize("targets", [None, 0, "all"])
def test_a_regression_keeps_its_sign_below_zero(targets: object) -> None:
    assert 0 < (Z[:, 0] < 0).sum() < 6
    explain = jaxsal.explainer(toy.linear, METHODS, output="value")
    found = explain.record(ONE, X, targets)
    several = (slice(None), None) if targets == "all" else ()
    toy.close(found.maps["gradient"], by_image(np.ones(6))[several])
    toy.close(found.maps["path"], (X * np.asarray(ONE)[..., 0])[several], 1e-4)
    np.testing.assert_array_equal(found.targets, np.zeros(6, int)[several])


def test_of_several_values_a_target_picks_one() -> None:
    explain = jaxsal.explainer(toy.linear, jaxsal.gradient, output="value")
    toy.close(explain(W, X, [0, 1, 2, 2, 1, 0])[3], W[..., 2])
    toy.close(explain(W, X, "all")[:, 1], by_image(np.ones(6), 1))
    with pytest.raises(ValueError, match=r'targets: a model of 3 values .*"all", got None'):
        explain(W, X)


def test_a_traced_target_that_is_no_output_gives_nan() -> None:
    explain = jaxsal.explainer(toy.linear, jaxsal.gradient, output="value")
    maps = jax.jit(lambda targets: explain(ONE, X, targets))(jnp.arange(6))
    toy.close(maps[0], ONE[..., 0])
    assert np.isnan(maps[1:]).all()


def test_an_objective_gets_what_the_model_returns() -> None:
    explain = jaxsal.explainer(
        chance, jaxsal.gradient, output="probability", objective=lambda p, t: jnp.log(p[0])
    )
    toy.close(explain(ONE, X), by_image(3 * (1 - P)), 1e-4)


def test_a_metric_sees_the_same_scores() -> None:
    first = jaxsal.evaluator(toy.linear, lambda score, image, map: score(image), output="value")
    toy.close(first(ONE, X, X), Z[:, 0])
    second = jaxsal.evaluator(chance, lambda score, image, map: score(image), output="probability")
    toy.close(second(ONE, X, X, 0), 1 - P)


def test_it_is_told_in_the_identity_and_kept_by_a_copy() -> None:
    explain = jaxsal.explainer(toy.linear, jaxsal.gradient, output="value")
    assert explain.identity(ONE, X)["output"] == "value"
    assert jaxsal.explainer(toy.linear, jaxsal.gradient).identity(ONE, X)["output"] == "logits"
    toy.close(copy.copy(explain)(ONE, X), by_image(np.ones(6)))
    compiled = explain.lower(ONE, X).compile()
    toy.close(compiled(ONE, X), by_image(np.ones(6)))


def squeezed(weights: jax.Array, images: jax.Array) -> jax.Array:
    return jax.jit(jax.nn.sigmoid)(toy.linear(weights, images)).reshape(-1)[:, None]


def both(weights: jax.Array, images: jax.Array) -> jax.Array:
    p = jax.nn.sigmoid(toy.linear(weights, images)[:, 0])
    return jnp.stack([1 - p, p], axis=1)


def narrow(weights: jax.Array, images: jax.Array) -> jax.Array:
    half = toy.linear(weights, images).astype(jnp.bfloat16)
    return jax.lax.stop_gradient(jax.nn.softmax(half)).astype(jnp.float32)


@pytest.mark.parametrize("apply", [chance, chances, squeezed, both, narrow])
def test_probabilities_are_not_taken_for_logits(apply: Callable) -> None:
    with pytest.raises(ValueError, match=r'^output: expected logits.*output="probability"'):
        jaxsal.explainer(apply, jaxsal.gradient)(W if apply in (chances, narrow) else ONE, X)


def gated(weights: jax.Array, images: jax.Array) -> jax.Array:
    gate = jax.nn.sigmoid(images.mean((1, 2), keepdims=True))
    return toy.linear(weights, images * gate)


def log_chances(weights: jax.Array, images: jax.Array) -> jax.Array:
    return jax.nn.log_softmax(toy.linear(weights, images))


def squashed(weights: jax.Array, images: jax.Array) -> jax.Array:
    return jnp.tanh(toy.linear(weights, images))


@pytest.mark.parametrize("apply", [gated, log_chances, squashed])
def test_logits_are_not_taken_for_probabilities(apply: Callable) -> None:
    found = jaxsal.explainer(apply, jaxsal.gradient).record(W, X)
    np.testing.assert_array_equal(found.targets, apply(W, X).argmax(-1))


WRONG = {
    "another output": (
        lambda: jaxsal.explainer(chance, METHODS, output="p"),
        "output: .*, got 'p'",
    ),
    "no output": (lambda: jaxsal.evaluator(chance, METHODS, output=None), "output: .*, got None"),
    "a second value": (
        lambda: jaxsal.explainer(toy.linear, METHODS, output="value")(ONE, X, 1),
        r"targets: .*\[0, 1\), got 1",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_output_or_target_is_named(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises(ValueError, match="^" + message):
        call()
