"""DeepLIFT: parity with shap and captum where they are right, and completeness where not."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import golden2 as golden
from tests import toy

BASELINE = golden.channels_last(golden.ROWS["baseline"])[0]
BASELINES = golden.channels_last(golden.ROWS["baselines"])
METHODS = {
    "deeplift": partial(jaxsal.deep_lift, baseline=BASELINE),
    "deeplift_shap": partial(jaxsal.deep_lift_shap, baselines=BASELINES),
}
ROWS = {
    "own/deeplift": "deeplift",
    "own/deeplift_shap": "deeplift_shap",
    "captum/deeplift": "deeplift",
    "captum/deeplift_shap": "deeplift_shap",
    "shap/deep": "deeplift_shap",
    "b/own/deeplift": "deeplift",
    "b/own/deeplift_shap": "deeplift_shap",
    "b/shap/deep": "deeplift_shap",
}
TRAPS = {
    "b/captum/trap_deeplift": ("deeplift", 0.1),
    "b/captum/trap_deeplift_shap": ("deeplift_shap", 0.4),
}


@cache
def maps(network):
    apply, params = golden.NETWORKS[network]
    found = jaxsal.explainer(apply, METHODS)(params, golden.IMAGES, golden.TARGETS)
    return jax.device_get(found)


def row(name):
    return golden.channels_last(golden.ROWS[name])


def of(name):
    return "b/" if name.startswith("b/") else ""


@pytest.mark.parametrize("name", ROWS)
def test_peers(name):
    toy.close(maps(of(name))[ROWS[name]], row(name))


@pytest.mark.parametrize("name", TRAPS)
def test_captum_is_wrong_beside_a_pool(name):
    method, least = TRAPS[name]
    found, wrong = maps(of(name))[method], row(name)
    assert np.abs(found - wrong).max() > least * np.abs(found).max()


@pytest.mark.parametrize("network", ["", "b/"])
def test_maps_sum_to_the_difference(network):
    apply, params = golden.NETWORKS[network]
    pick = lambda logits: np.asarray(logits)[..., golden.TARGETS][range(4), range(4)]  # noqa: E731
    here = pick(apply(params, jnp.asarray(golden.IMAGES)))
    there = np.asarray(apply(params, jnp.asarray(BASELINES)))[:, golden.TARGETS].mean(0)
    toy.close(maps(network)["deeplift_shap"].sum((1, 2, 3)), here - there)


def pooled(order, window, stride, image):
    """A convolution, a ReLU and a max pool in some order, a dense layer."""
    kernel = jnp.asarray(toy.images(1, seed=2, shape=(3, 3, 1, 3))[0])
    layout = ("NHWC", "HWIO", "NHWC")
    hidden = jax.lax.conv_general_dilated(
        image[None], kernel, (1, 1), "SAME", dimension_numbers=layout
    )
    for each in order:
        if each == "relu":
            hidden = jax.nn.relu(hidden)
        else:
            sizes = [(1, n, n, 1) for n in (window, stride)]
            hidden = jax.lax.reduce_window(hidden, -jnp.inf, jax.lax.max, *sizes, "SAME")
    return jnp.sum(
        hidden * jnp.cos(jnp.arange(hidden.size, dtype=hidden.dtype)).reshape(hidden.shape)
    )


@pytest.mark.parametrize("order", ["relu pool", "pool relu"])
@pytest.mark.parametrize("window, stride", [(2, 2), (3, 2), (3, 1)])
def test_pools_beside_a_relu_overlapping_too(order, window, stride):
    """captum's hooks lose the pool's rule beside a ReLU; both peers lose overlapping windows."""
    score = partial(pooled, order.split(), window, stride)
    image, baseline = map(jnp.asarray, toy.images(2, seed=3))
    found = jax.jit(partial(jaxsal.deep_lift, score, baseline=baseline))(image)
    toy.close(found.sum(), score(image) - score(baseline))


def test_no_example_depends_on_the_others():
    """captum's softmax subtracts a mean over the whole batch, its pool takes example 0's."""
    apply = lambda params, x: jax.nn.softmax(toy.apply(params, x))  # noqa: E731
    explain = jaxsal.explainer(apply, jaxsal.deep_lift, output="probability")
    images, params = jnp.asarray(toy.images(4)), toy.params()
    together = explain(params, images, toy.targets(4))
    toy.close(together[:1], explain(params, images[:1], toy.targets(1)))
    chosen = lambda x: apply(params, x)[np.arange(4), toy.targets(4)]  # noqa: E731
    toy.close(together.sum((1, 2, 3)), chosen(images) - chosen(jnp.zeros_like(images)))


def test_a_softmax_that_is_certain_elsewhere_stays_finite():
    """Scores a hundred apart: a shift shared by image and baseline would leave a sum of zero."""
    score = lambda x: jax.nn.softmax(x)[0]  # noqa: E731
    image, baseline = jnp.array([100.0, 0.0, -5.0]), jnp.array([-90.0, 20.0, 3.0])
    found = jaxsal.deep_lift(score, image, baseline=baseline)
    assert np.isfinite(found).all()
    toy.close(found.sum(), score(image) - score(baseline))


def test_where_nothing_differs_the_derivative_is_taken():
    image = jnp.array([0.3, -0.2])
    found = jaxsal.deep_lift(lambda x: jnp.sum(jnp.tanh(x)), image, baseline=image)
    np.testing.assert_array_equal(found, 0)
    near = jaxsal.deep_lift(lambda x: jnp.sum(jnp.tanh(x)), image, baseline=image - 1e-3, eps=1.0)
    toy.close(near, 1e-3 * (1 - jnp.tanh(image) ** 2), 1e-3)


@pytest.mark.parametrize("shape", [(8, 8, 1), (2, 4, 4, 1), (0, 8, 8, 1)])
def test_baselines_of_another_shape(shape):
    image = jnp.asarray(toy.images(1)[0])
    with pytest.raises(ValueError, match="baselines"):
        jaxsal.deep_lift_shap(jnp.sum, image, baselines=np.zeros(shape))
