"""Layers and neurons: the rows of `golden2.npz`, axioms, and what is refused."""

from functools import partial

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import jaxsal
from tests.golden import BASELINE
from tests.golden2 import IMAGES, NETWORKS, ROWS, TARGETS, channels_last

LAYER = {"": ("r1", 0), "b/": ("b2", "b2")}
"""What the arrays call it, and how it is named here."""


def all_maps(network, image, target):
    apply, params = NETWORKS[network]
    layer = LAYER[network][1]
    channel, *place = (int(i) for i in ROWS[f"{network}captum/neuron"])
    score = lambda x: apply(params, x[None])[0, target]  # noqa: E731
    one = jaxsal.neuron(score, layer, (*place, channel))

    def weighted(image):
        """The neuron times what the score makes of it: its integral is the neuron's conductance."""
        value, head = jaxsal.cut(score, image, layer)
        slope = jax.grad(head)(value)[0, place[0], place[1], channel]
        return jax.lax.stop_gradient(slope) * one(image)

    given = {"steps": 10, "baseline": BASELINE}
    integrate = partial(jaxsal.integrated_gradients, **given)
    return {
        "layer_ig_{}_10": jaxsal.layer_integrated_gradients(score, image, layer=layer, **given),
        "internal_influence_{}_10": jaxsal.internal_influence(score, image, layer=layer, **given),
        "layer_conductance_{}_10_right": jaxsal.layer_conductance(
            score, image, layer=layer, chunk=3, **given
        ),
        "layer_gradxact_{}": jaxsal.layer_gradient_x_activation(score, image, layer=layer),
        "neuron_gradient_{}": jaxsal.gradient(one, image),
        "neuron_ig_{}_10": integrate(one, image),
        "neuron_conductance_{}_10": integrate(weighted, image),
    }


@pytest.fixture(scope="module", params=["", "b/"])
def found(request):
    maps = jax.jit(jax.vmap(partial(all_maps, request.param)))(
        jnp.asarray(IMAGES), jnp.asarray(TARGETS)
    )
    name = LAYER[request.param][0]
    return {f"{request.param}captum/{k.format(name)}": np.asarray(v) for k, v in maps.items()}


def test_rows(found):
    for row, got in found.items():
        expected = channels_last(ROWS[row])
        assert got.shape == expected.shape
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=row
        )


def test_conductance_takes_differences_between_both_ends(found):
    """captum's default takes them between Gauss nodes, of which none is an end."""
    (row,) = (row for row in found if row.endswith("_right"))
    peer = channels_last(ROWS[row.removesuffix("_right")])
    assert np.abs(found[row] - peer).max() > 0.01 * np.abs(peer).max()


@hypothesis.given(seed=st.integers(0, 99), steps=st.integers(1, 5))
@hypothesis.settings(max_examples=5, deadline=None)
def test_sums_of_a_layer(seed, steps):
    """Of a layer that all pass: to rounding for any steps where what follows is affine."""
    keys = jax.random.split(jax.random.key(seed), 3)
    first, second = jax.random.normal(keys[0], (6, 4)), jax.random.normal(keys[1], (4,))
    image = jax.random.normal(keys[2], (6,))
    hidden = lambda x: checkpoint_name(jnp.tanh(x @ first), "hidden")  # noqa: E731
    affine = lambda x: hidden(x) @ second + 1  # noqa: E731
    curved = lambda x: jnp.sin(hidden(x) @ second)  # noqa: E731
    for score, count in ((affine, steps), (curved, 2000)):
        total = score(image) - score(jnp.zeros(6))
        conductance = jaxsal.layer_conductance(score, image, layer="hidden", steps=count, chunk=64)
        np.testing.assert_allclose(conductance.sum(), total, rtol=1e-4, atol=4e-3)
        integral = jaxsal.layer_integrated_gradients(score, image, layer="hidden", steps=30)
        np.testing.assert_allclose(integral.sum(), total, rtol=1e-4, atol=1e-4)
        assert conductance.shape == integral.shape == (4,)
    found = jaxsal.layer_conductance(affine, image, layer="hidden", steps=steps)
    expected = affine(image) - affine(jnp.zeros(6))
    np.testing.assert_allclose(found.sum(), expected, rtol=1e-5, atol=1e-5)


def test_a_neuron_is_explained_by_any_method_of_the_explainer():
    """An occlusion of it, whose axes are the image's own, and a class activation map."""
    apply, params = NETWORKS[""]

    def explain(score, image):
        one = jaxsal.neuron(score, -1, (0, 0, 5))
        return {
            "occlusion": jaxsal.occlusion(one, image, window=8),
            "cam": jaxsal.grad_cam(one, image, layer=0),
        }

    first = lambda score, image: explain(score, image)["occlusion"]  # noqa: E731
    second = lambda score, image: explain(score, image)["cam"]  # noqa: E731
    found = jaxsal.explainer(apply, {"occlusion": first, "cam": second})(params, IMAGES, TARGETS)
    assert found["occlusion"].shape == IMAGES.shape and found["cam"].shape == IMAGES.shape[:3]
    away = np.asarray(found["occlusion"])[:, 8:, 8:]  # beyond what the neuron sees
    assert np.abs(found["occlusion"]).max() > 0 and np.abs(away).max() == 0


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ((1, 2), r"index: expected a position in the layer's \(1, 16, 16, 8\), got \(1, 2\)"),
        ((16, 0, 0), r"index: expected a position in the layer's .*, got \(16, 0, 0\)"),
        ((0.5, 0, 0), r"index: expected integers, got 0.5"),
    ],
)
def test_wrong_neurons(index, message):
    apply, params = NETWORKS[""]
    score = lambda x: apply(params, x[None])[0, 0]  # noqa: E731
    with pytest.raises((ValueError, TypeError), match=message):
        jax.eval_shape(jaxsal.neuron(score, 0, index), IMAGES[0])
