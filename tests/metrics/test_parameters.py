"""Layers in the order in which they meet the image, whatever they are called."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import jaxsal
from jaxsal.metrics import flax_module, layers
from jaxsal.metrics.parameters import Layer, replaced
from jaxsal.metrics.sanity import layer_randomisation
from jaxsal.models import CNN

X = jnp.zeros((2, 4))
W = jnp.ones((4, 4))


def names(apply, params, **options):
    return [layer.name for layer in layers(apply, params, X, **options)]


def test_order_of_use_and_not_of_names():
    def apply(params, x):
        x = jnp.tanh(x @ params["zebra"])
        return x @ params["aardvark"]["kernel"] + params["aardvark"]["bias"][None]

    params = {"aardvark": {"kernel": W, "bias": X[0]}, "zebra": W, "mule": W}
    assert layers(apply, params, X) == [Layer("zebra", (3,)), Layer("aardvark", (0, 1))]


def test_a_cast_of_all_parameters_is_no_use():
    def apply(params, x):
        half = jax.tree.map(lambda w: (w.T.T * 2).astype(jnp.bfloat16), params)
        return (x.astype(jnp.bfloat16) @ half["z"]) @ half["a"]

    assert names(apply, {"a": W, "z": W}) == ["z", "a"]


def test_through_jit_scan_cond_and_custom_derivatives():
    dense = jax.jit(lambda x, w: x @ w)

    @jax.custom_jvp
    def product(x, w):
        return x @ w

    product.defjvp(lambda primals, tangents: (product(*primals), product(*tangents)))

    def apply(params, x):
        x = dense(x, dense(params["e"], params["d"]))  # weights alone first, in the same body
        x, _ = jax.lax.scan(lambda x, w: (dense(x, w), None), x, params["c"])
        x = jax.lax.cond(x[0, 0] > 0, lambda x: x @ params["b"], lambda x: x, x)
        return product(x, params["a"])

    params = {"a": W, "b": W, "c": jnp.stack([W, W]), "d": W, "e": W}
    found = names(apply, params)
    assert set(found[:2]) == {"d", "e"} and found[2:] == ["c", "b", "a"]


def test_flax_variables_by_module():
    model = CNN(classes=3, widths=(4, 4))
    images = jnp.zeros((1, 8, 8, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    found = layers(model.apply, variables, images, group=flax_module)
    assert [
        layer.name for layer in found
    ] == "Conv_0 BatchNorm_0 Conv_1 BatchNorm_1 Dense_0".split()
    assert sum(len(layer.leaves) for layer in found) == len(jax.tree.leaves(variables))


def test_lists_of_pairs():
    apply = lambda params, x: (x @ params[0][0] + params[0][1][None]) @ params[1][0]  # noqa: E731
    assert names(apply, [(W, X[0]), (W, X[0])]) == ["0", "1"]


@pytest.mark.parametrize("which", [[], [0], [0, 1]])
def test_replaced_leaves_are_those_of_the_layers(which):
    params, fresh = {"a": 0 * W, "b": 0 * W}, {"a": W, "b": W}
    two = [Layer("a", (0,)), Layer("b", (1,))]
    got = replaced(params, fresh, [two[i] for i in which])
    assert [bool(x.any()) for x in got.values()] == [i in which for i in (0, 1)]


def test_an_equinox_model_as_it_is():
    """Its functions, flags and integers are in no layer, and stay where weights are replaced."""
    model, fresh = (eqx.nn.MLP(4, 3, 4, 2, key=jax.random.key(seed)) for seed in (0, 1))
    apply = lambda model, x: jax.vmap(model)(x)  # noqa: E731
    found = layers(apply, model, X)
    assert [layer.name for layer in found] == ["layers/0", "layers/1", "layers/2"]
    mixed = replaced(model, fresh, found[:1])
    assert mixed.activation is model.activation
    assert jnp.array_equal(mixed.layers[0].weight, fresh.layers[0].weight)
    assert jnp.array_equal(mixed.layers[1].weight, model.layers[1].weight)

    explain = jaxsal.explainer(apply, jaxsal.gradient)
    images = jax.random.normal(jax.random.key(2), (2, 4))
    scores = dict(layer_randomisation(explain, apply, model, fresh, images, 1))
    assert list(scores) == ["layers/2", "layers/1", "layers/0"]
