"""Guided backpropagation and the deconvnet against their formulas, on programs as they stand."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

import jaxsal
from jaxsal.methods.backprop import deconvnet, guided_backprop

W1 = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
W2 = np.array([1.0, -2.0, 0.5, -0.1], np.float32)
X = jnp.array([0.3, -1.0, 2.0])


def _score(w1, image):
    return jax.nn.relu(jax.nn.relu(image @ w1) * W2) @ jnp.array([1.0, 2.0, -3.0, -1.0])


def _by_hand(image, guided):
    """Both rules, layer by layer."""
    hidden = image @ W1
    outer = np.maximum(hidden, 0) * W2
    g = np.array([1.0, 2.0, -3.0, -1.0], np.float32)
    g = np.maximum(g, 0) * (outer > 0 if guided else 1) * W2
    g = np.maximum(g, 0) * (hidden > 0 if guided else 1)
    return W1 @ g


@pytest.mark.parametrize("method", [guided_backprop, deconvnet])
def test_formula(method):
    found = jax.jit(lambda x: method(lambda image: _score(W1, image), x))(X)
    np.testing.assert_allclose(found, _by_hand(np.asarray(X), method is guided_backprop), rtol=1e-6)


def test_without_a_relu_there_is_nothing_to_guide():
    for method in (guided_backprop, deconvnet):
        with pytest.raises(ValueError, match="score: expected a program with a ReLU"):
            method(lambda image: jnp.sin(image).sum(), X)


def test_parameters_that_are_traced_stay_differentiable():
    """Maps are piecewise multilinear in the weights: differences are exact but for rounding."""

    def total(w1, image):
        return guided_backprop(lambda image: _score(w1, image), image).sum()

    images = jnp.stack([X, -X, 2 * X])
    found = jax.jit(jax.vmap(jax.grad(total), in_axes=(None, 0)))(W1, images)
    step = 1e-2 * np.eye(12, dtype=np.float32).reshape(12, 3, 4)
    ends = jax.jit(jax.vmap(jax.vmap(total, in_axes=(0, None)), in_axes=(None, 0)))
    difference = (ends(W1 + step, images) - ends(W1 - step, images)) / 2e-2
    np.testing.assert_allclose(found.reshape(3, 12), difference, atol=1e-3)


def test_inside_shard_map():
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    batched = jax.vmap(lambda x: guided_backprop(lambda image: _score(W1, image), x))
    images = jnp.stack([X, -X, 2 * X, X + 1])
    sharded = jax.shard_map(batched, mesh=mesh, in_specs=P("i"), out_specs=P("i"), check_vma=True)
    expected = np.stack([_by_hand(x, True) for x in np.asarray(images)])
    np.testing.assert_allclose(jax.jit(sharded)(images), expected, rtol=1e-5)


def _oracle(guided):
    """A ReLU in plain JAX with the derivative of guided backpropagation, or of the deconvnet."""

    @jax.custom_vjp
    def relu(x):
        return jnp.maximum(x, 0)

    def back(x, g):
        return (jnp.where((g > 0) & ((x > 0) | (not guided)), g, 0),)

    relu.defvjp(lambda x: (relu(x), x), back)
    return relu


IMAGE = np.random.default_rng(0).normal(size=(6, 5, 2)).astype(np.float32)
KERNELS = np.random.default_rng(1).normal(size=(3, 3, 3, 2, 2)).astype(np.float32)
SLOPE = np.float32(-0.3)


def _conv(x, kernel):
    return lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", dimension_numbers=LAYOUT)[0]


LAYOUT = ("NHWC", "HWIO", "NHWC")


def _plain(first, second, x):
    x = second(_conv(first(_conv(x, KERNELS[0])), KERNELS[1]))
    return (_conv(x, KERNELS[2]) * jnp.asarray(IMAGE)).sum()


def _scanned(first, second, x):
    """Layer after layer in a loop, in remat."""
    step = jax.checkpoint(lambda x, kernel: (second(_conv(first(_conv(x, kernel)), kernel)), None))
    return (lax.scan(step, x, KERNELS)[0] * jnp.asarray(IMAGE)).sum()


def _by_rows(first, second, x):
    """The user's `vmap` over rows, and a `jit` within it."""
    rows = jax.vmap(jax.jit(lambda row: second(first(row @ KERNELS[0, 0, 0]) @ KERNELS[1, 0, 0])))
    return (rows(_conv(x, KERNELS[2])) * jnp.asarray(IMAGE)).sum()


WRITTEN = {
    "where": lambda x: jnp.where(x > 0, x, 0),
    "mask": lambda x: x * (x > 0).astype(x.dtype),
    "half a sum": lambda x: (x + jnp.abs(x)) / 2,
    "minus a minimum": lambda x: -jnp.minimum(-x, 0),
}


CASES = [("where", _plain), ("where", _by_rows), ("half a sum", _by_rows), ("mask", _scanned)]


@pytest.mark.parametrize(("name", "network"), [*CASES, ("minus a minimum", _scanned)])
def test_a_relu_is_one_in_whichever_words_it_is_written(name, network):
    """Beside `jax.nn.relu`, before and after it; its own derivative gives another map."""

    def maps(image):
        written = WRITTEN[name]
        pairs = ((jax.nn.relu, written), (written, jax.nn.relu))
        scores = [functools.partial(network, *pair) for pair in pairs]
        found = [[method(score, image) for score in scores] for method in METHODS]
        expected = [
            jax.grad(functools.partial(network, relu, relu))(image)
            for relu in (_oracle(True), _oracle(False))
        ]
        half = jax.grad(functools.partial(network, _oracle(True), jax.nn.relu))(image)
        return found, expected, half

    found, expected, half = jax.jit(maps)(IMAGE)
    for each, right in zip(found, expected, strict=True):
        scale = np.abs(right).max()
        for one in each:
            np.testing.assert_allclose(one / scale, right / scale, atol=1e-5)
    assert np.abs(half - expected[0]).max() > 0.01 * np.abs(expected[0]).max()


METHODS = (guided_backprop, deconvnet)
PRELUS = {
    "where": lambda x: jnp.where(x >= 0, x, SLOPE * x),
    "Linen": lambda x: nn.PReLU().apply({"params": {"negative_slope": SLOPE}}, x),
    "Equinox": lambda x: eqx.nn.PReLU(SLOPE)(x),
    "Keras": lambda x: jax.nn.relu(x) - SLOPE * jax.nn.relu(-x),
    "maximum and minimum": lambda x: jnp.maximum(x, 0) + SLOPE * jnp.minimum(x, 0),
}
PAIRS = {
    "hard_swish": (jax.nn.hard_swish, lambda x: x * jax.nn.relu6(x + 3) / 6),
    "hard_swish by clip": (jax.nn.hard_swish, lambda x: x * jnp.clip(x + 3, 0, 6) / 6),
    "hard_sigmoid": (jax.nn.hard_sigmoid, lambda x: jax.nn.relu6(x + 3) / 6),
    "hard_sigmoid by clip": (jax.nn.hard_sigmoid, lambda x: jnp.clip(x / 6 + 0.5, 0, 1)),
    "celu": (jax.nn.celu, lambda x: jnp.maximum(x, 0) + jnp.expm1(jnp.minimum(x, 0))),
}
PAIRS |= {f"PReLU, {name}": (PRELUS["where"], PRELUS[name]) for name in PRELUS}


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_more_than_a_relu_keeps_its_derivative_in_whichever_words(name):
    one, other = PAIRS[name]

    def maps(image):
        scores = [functools.partial(_plain, jax.nn.relu, each) for each in (one, other)]
        expected = jax.grad(functools.partial(_plain, _oracle(True), other))(image)
        return [guided_backprop(score, image) for score in scores], expected

    with pytest.warns(UserWarning, match="1 others keep their own, and the map mixes the two"):
        (found, again), expected = jax.jit(maps)(IMAGE)
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_an_explainer_warns_once_a_trace_and_describes_what_it_left():
    def apply(params, images):
        hidden = nn.leaky_relu(jax.vmap(lambda x: _conv(x, params[0]))(images))
        hidden = jnp.where(hidden @ params[1, 0, 0] > 0, hidden @ params[1, 0, 0], 0)
        return jax.nn.relu(hidden @ params[2, 0, 0]).sum((1, 2))

    explain = jaxsal.explainer(apply, guided_backprop)
    with pytest.warns(UserWarning, match="where f32.* at test_backprop.py"):
        explain(KERNELS, IMAGE[None], 0)
    explain(KERNELS, IMAGE[None], 1)
    with pytest.warns(UserWarning, match="keep their own"):
        described = explain.describe(KERNELS, IMAGE[None])
    assert sum("relu" in each for each in described["rewritten"]) == 2
    (left,) = (each for each in described["passed_over"] if each.startswith("backward"))
    assert "where f32" in left and "keeps its own derivative" in left
