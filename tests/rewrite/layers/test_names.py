"""Layers by the parameters that they read, in frameworks without scopes; what a refusal shows."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxsal

RNG = np.random.default_rng(4)


def _conv(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def _plain():
    """No module: a list of layers, a norm, weights that are normed and cast on the way."""
    draw = lambda *shape: jnp.asarray(RNG.normal(size=shape), jnp.float32)  # noqa: E731
    params = {
        "layers": [{"w": draw(3, 3, 1, 4), "b": draw(4)}, {"w": draw(3, 3, 4, 4), "b": draw(4)}],
        "norm": {"scale": draw(4)},
        "head.weight": draw(4, 3),
    }

    def apply(params, x):
        for layer in params["layers"]:
            kernel = layer["w"] / jnp.linalg.norm(layer["w"])
            x = jnp.tanh(_conv(x, kernel) + layer["b"][None, None, None])
        x = x * params["norm"]["scale"][None, None, None]
        return x.mean((1, 2)) @ params["head.weight"]

    return apply, params, (8, 6, 1)


class _Nnx(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List(
            [nnx.Conv(1, 4, (3, 3), rngs=rngs), nnx.Conv(4, 4, (3, 3), rngs=rngs)]
        )
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = nnx.tanh(layer(x))
        return self.head(self.norm(x).mean((1, 2)))


def _from_nnx():
    graph, state = nnx.split(_Nnx(nnx.Rngs(0)))
    return lambda state, x: nnx.merge(graph, state)(x), state, (8, 6, 1)


def _from_equinox():
    keys = jax.random.split(jax.random.key(0), 3)
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 4, 3, padding=1, key=keys[0]),
            eqx.nn.Lambda(jnp.tanh),
            eqx.nn.Conv2d(4, 4, 3, padding=1, key=keys[1]),
            eqx.nn.Lambda(jnp.tanh),
            eqx.nn.Lambda(lambda x: x.mean((1, 2))),
            eqx.nn.Linear(4, 3, key=keys[2]),
        ]
    )
    params, static = eqx.partition(model, eqx.is_array)
    return lambda p, x: jax.vmap(eqx.combine(p, static))(x), params, (1, 8, 6)


# How the two convolutions are called, by a leaf and by a module.
NETS = {
    "plain": (_plain, ("layers/0/w", "layers/1"), ("w", "layers")),
    "NNX": (_from_nnx, ("layers/0/kernel", "layers/1"), ("kernel", "bias")),
    "Equinox": (_from_equinox, ("layers/0/weight", "layers/2"), ("weight", "bias")),
}


@pytest.mark.parametrize("name", NETS)
def test_a_parameter_names_the_layer_that_reads_it(name):
    make, named, ambiguous = NETS[name]
    apply, params, shape = make()
    images = jnp.asarray(RNG.normal(size=(2, *shape)), jnp.float32)
    cam = lambda layer: lambda score, image: jaxsal.hires_cam(score, image, layer=layer)  # noqa: E731
    explain = jaxsal.explainer(apply, {str(x): cam(x) for x in (0, 1, *named)})
    maps = explain(params, images, 1)
    assert np.abs(maps["0"] - maps["1"]).max() > 1e-3
    for number, layer in enumerate(named):
        np.testing.assert_array_equal(maps[str(number)], maps[layer])
    for layer in ambiguous:
        if name == "plain" and layer == "layers":  # one module: its last layer
            continue
        with pytest.raises(ValueError, match=f"layer: '{layer}' is ambiguous, it may be any of"):
            jaxsal.explainer(apply, jaxsal.grad_cam, layer=layer)(params, images, 1)


def test_collections_hold_parts_of_one_module():
    """Parameters and running statistics of one name are one layer, not two."""
    layer = lambda: {"w": jnp.asarray(RNG.normal(size=(3, 3, 1, 4)), jnp.float32)}  # noqa: E731
    params = {"params": {"layers": [layer()]}, "stats": {"layers": [{"mean": jnp.ones(4)}]}}

    def apply(params, x):
        x = _conv(x, params["params"]["layers"][0]["w"])
        return (x - params["stats"]["layers"][0]["mean"][None, None, None]).max((1, 2))

    cam = jaxsal.explainer(apply, jaxsal.hires_cam, layer="layers/0", relu=False)
    number = jaxsal.explainer(apply, jaxsal.hires_cam, layer=0, relu=False)
    images = jnp.asarray(RNG.normal(size=(1, 6, 6, 1)), jnp.float32)
    np.testing.assert_allclose(cam(params, images, 0), number(params, images, 0), rtol=1e-6)


def test_the_name_that_all_convolutions_have_is_ambiguous():
    apply, params, shape = _from_equinox()
    images = jnp.ones((1, *shape))
    told = r"the program enters that scope 2 times: give a number, or a parameter .*layers/2/weight"
    with pytest.raises(ValueError, match=told):
        jaxsal.explainer(apply, jaxsal.grad_cam, layer="eqx.nn.Conv")(params, images, 1)


def test_names_with_dots_and_whole_paths():
    """A converted PyTorch model; a path from the root on means no other."""
    names = {"conv1.weight": (3, 3, 1, 4), "layer1.0.conv1.weight": (3, 3, 4, 4), "fc": (4, 3)}
    params = {name: jnp.asarray(RNG.normal(size=n), jnp.float32) for name, n in names.items()}

    def apply(params, x):
        x = jnp.tanh(_conv(x, params["conv1.weight"]))
        return jnp.tanh(_conv(x, params["layer1.0.conv1.weight"])).mean((1, 2)) @ params["fc"]

    named = (0, "conv1.weight", "conv1", 1, "layer1.0.conv1.weight", "layer1/0/conv1", "layer1")
    cam = lambda layer: lambda score, image: jaxsal.hires_cam(score, image, layer=layer)  # noqa: E731
    images = jnp.asarray(RNG.normal(size=(1, 6, 6, 1)), jnp.float32)
    maps = jaxsal.explainer(apply, {str(x): cam(x) for x in named})(params, images, 0)
    for layer in named[1:3]:
        np.testing.assert_array_equal(maps[layer], maps["0"])
    for layer in named[4:]:
        np.testing.assert_array_equal(maps[layer], maps["1"])


def test_a_layer_that_only_a_loop_holds_is_named_by_its_stacked_parameters():
    params = {
        "stem": jnp.ones((3, 3, 1, 4)) / 9,
        "turns": {"w": jnp.asarray(RNG.normal(size=(3, 3, 3, 4, 4)), jnp.float32)},
    }

    def apply(params, x):
        turn = lambda y, own: (jnp.tanh(_conv(y, own["w"]) + y), None)  # noqa: E731
        x = jax.lax.scan(turn, _conv(x, params["stem"]), params["turns"])[0]
        return x.max((1, 2))

    images = jnp.asarray(RNG.normal(size=(1, 6, 6, 1)), jnp.float32)
    cam = lambda layer: lambda score, image: jaxsal.hires_cam(score, image, layer=layer)  # noqa: E731
    explain = jaxsal.explainer(apply, {str(x): cam(x) for x in (None, -1, "turns/w", "turns")})
    maps = explain(params, images, 0)
    for each in maps.values():
        np.testing.assert_allclose(each, maps["None"], atol=1e-6)


def test_a_refusal_fits_a_screen_and_shows_the_last():
    class Deep(nn.Module):
        @nn.compact
        def __call__(self, x):
            for i in range(60):
                x = nn.relu(nn.Conv(2, (1, 1), name=f"convolution_{i}")(x))
            return x.mean((1, 2))

    params = Deep().init(jax.random.key(0), jnp.ones((1, 2, 2, 1)))
    with pytest.raises(ValueError, match="there is no 'nothing'") as raised:
        jaxsal.explainer(Deep().apply, jaxsal.grad_cam, layer="nothing")(
            params, jnp.ones((1, 2, 2, 1)), 0
        )
    told = str(raised.value)
    assert len(told) < 2000
    for late in (
        "59: f32[1,2,2,2] in Deep/convolution_59",
        "params/convolution_59/kernel",
        "before",
    ):
        assert late in told
