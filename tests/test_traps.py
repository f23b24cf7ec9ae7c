"""What the peers get wrong (or silently do otherwise), as tests of the right behaviour."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.methods.noise import statistic_over, variance
from jaxsal.methods.quadrature import RULES, quadrature
from tests import toy

KEY = jax.random.key(0)
SHAPE = (6, 6, 2)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


WEIGHTS = normal(0, 3, 3, 2, 4)


def apply(relu, weights, images):
    """A convolution, a ReLU written in some way, a mean: [B, 4] logits."""
    hidden = jax.lax.conv_general_dilated(
        images, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.mean(relu(hidden) * jnp.arange(-1.0, 3.0)[None, None, None], (1, 2))


def explained(method, score, image, **options):
    return jax.jit(partial(method, score, **options))(image)


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("steps", [2, 10, 50])
def test_no_rule_loses_completeness_on_a_linear_model(rule, steps):
    """captum's trapezoid weights sum to (n - 1) / n, and Quantus asks for ten of them."""
    _, weights = quadrature(rule, steps)
    assert abs(weights.sum() - 1) < 1e-12


def test_variance_of_large_gradients_is_not_negative():
    """captum's E[g²] - E[g]² in float32 gave -24 for gradients near 1e4."""
    gradients = 1e4 + normal(1, 20, *SHAPE)
    draw = lambda j: (gradients[j], {})  # noqa: E731
    replay = partial(statistic_over, variance, lambda score, image: image, draw=draw, samples=20)
    got = explained(replay, jnp.sum, jnp.zeros(SHAPE))
    naive = jnp.mean(gradients**2, 0) - jnp.mean(gradients, 0) ** 2
    assert jnp.min(naive) < 0 <= jnp.min(got)
    np.testing.assert_allclose(got, np.var(np.asarray(gradients, np.float64), 0), rtol=1e-3)


RELUS = {
    "jax.nn.relu": jax.nn.relu,
    "jitted": jax.jit(lambda x: jax.nn.relu(x)),
    "maximum": lambda x: jnp.maximum(x, 0),
    "clip": lambda x: jnp.clip(x, 0),
    "lax.max": lambda x: jax.lax.max(x, jnp.zeros_like(x)),
}


@pytest.mark.parametrize("form", sorted(RELUS))
def test_functional_and_compiled_relus_are_overridden(form):
    """captum's hooks miss `F.relu` and compiled modules, and return the plain gradient."""
    model = jax.jit(partial(apply, RELUS[form]))
    image = normal(2, *SHAPE)
    score = lambda x: model(WEIGHTS, x[None])[0, 0]  # noqa: E731
    guided = explained(jaxsal.guided_backprop, score, image)
    plain = explained(jaxsal.gradient, score, image)
    assert jnp.max(jnp.abs(plain)) > 0
    # Class 0's ReLU outputs get a negative cotangent everywhere: nothing is let through.
    np.testing.assert_array_equal(guided, 0)


def test_a_model_without_relu_is_an_error_and_no_plain_gradient():
    score = lambda x: apply(jnp.tanh, WEIGHTS, x[None])[0, 0]  # noqa: E731
    with pytest.raises(ValueError, match="ReLU"):
        jaxsal.guided_backprop(score, normal(2, *SHAPE))


def test_fewer_targets_than_images_raises():
    """grad-cam returns all-zero maps for the images without a target."""
    explain = jaxsal.explainer(partial(apply, jax.nn.relu), jaxsal.gradient)
    with pytest.raises(ValueError, match="targets"):
        explain(WEIGHTS, normal(2, 3, *SHAPE), np.array([0, 1]))


def test_smoothgrad_averages_signed_maps():
    """captum's NoiseTunnel over Saliency averages absolute values: no sign, and a bias."""
    score = lambda x: -jnp.sum(x**3)  # noqa: E731
    method = jaxsal.smoothgrad(jaxsal.gradient, samples=2)
    assert jnp.max(explained(method, score, 1 + jnp.abs(normal(3, *SHAPE)), key=KEY)) < 0


SEGMENTS = np.arange(36).reshape(6, 6) // 12
OPTIONS = {
    "integrated_gradients": {"steps": 3},
    "expected_gradients": {"baselines": np.zeros((1, *SHAPE), np.float32), "samples": 3},
    "deep_lift_shap": {"baselines": np.zeros((1, *SHAPE), np.float32)},
    "occlusion": {"window": 3},
    "feature_ablation": {"segments": SEGMENTS},
    "rise": {"samples": 3, "grid": 2},
    "lime": {"segments": SEGMENTS, "samples": 3},
    "kernel_shap": {"segments": SEGMENTS, "samples": 3},
    "shapley_sampling": {"segments": SEGMENTS, "samples": 2},
    "shapley_values": {"segments": SEGMENTS},
    "sobol": {"grid": 2, "designs": 2},
    "hsic": {"grid": 2, "designs": 3},
    "xrai": {"segments": SEGMENTS, "steps": 2, "min_pixels": 5},
}


OF_TOKENS = ("attention_rollout", "generic_attention")  # of another network


@pytest.mark.parametrize("image", ["zero", "constant"])
def test_flat_images_and_all_zero_maps_give_no_nan(image):
    """Min-max scaling, relative noise and CAM weights all divide by what is zero here."""
    images = jnp.full((2, *SHAPE), {"zero": 0.0, "constant": 0.5}[image])
    methods = {
        name: partial(method, **OPTIONS.get(name, {}))
        for name, method in jaxsal.METHODS.items()
        if name not in OF_TOKENS
    }
    for name, combinator in jaxsal.COMBINATORS.items():
        methods[name] = combinator(jaxsal.gradient, samples=3)
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("device",))
    explain = jaxsal.explainer(partial(apply, jax.nn.relu), methods, mesh=mesh)
    for name, maps in explain(0 * WEIGHTS, images, 1, key=KEY).items():
        assert np.all(np.isfinite(maps)), name
        if name != "internal_influence":  # of weights after the layer, whatever the image
            np.testing.assert_allclose(maps, 0, atol=1e-6, err_msg=name)
    of_tokens = {name: jaxsal.METHODS[name] for name in OF_TOKENS}
    nothing = jax.tree.map(np.zeros_like, toy.token_params(channels=2))
    found = jaxsal.explainer(toy.attended, of_tokens, mesh=mesh)(nothing, images, 1)
    # Of ten tokens each has a tenth: in two layers (A + 1) / 2 keeps 1/4, and 3/4 are even.
    np.testing.assert_allclose(found["attention_rollout"], 3 / 40, rtol=1e-6)
    np.testing.assert_array_equal(found["generic_attention"], 0)


def test_overlapping_windows_are_not_counted_twice():
    """PAIR and xplique add up overlapping windows: pixels amid the image look important."""
    map = explained(jaxsal.occlusion, jnp.sum, jnp.ones(SHAPE), window=3, stride=1)
    np.testing.assert_allclose(map, 3 * 3 * 2, rtol=1e-5)


def test_zero_is_the_default_baseline_and_not_the_minimum():
    """Quantus's "black" is the image's minimum: on z-scored images another experiment."""
    image = normal(4, *SHAPE)
    zero = explained(jaxsal.integrated_gradients, jnp.sum, image, steps=2)
    np.testing.assert_allclose(zero, image, rtol=1e-5)
    minimum = explained(jaxsal.integrated_gradients, jnp.sum, image, steps=2, baseline=jnp.min)
    np.testing.assert_allclose(minimum, image - image.min(), rtol=1e-5, atol=1e-6)


def test_the_batch_around_an_image_does_not_change_its_map():
    """Normalising by a batch's maximum couples its samples."""
    explain = jaxsal.explainer(partial(apply, jax.nn.relu), jaxsal.input_x_gradient)
    images = normal(5, 3, *SHAPE)
    alone = explain(WEIGHTS, images[:1], 2)
    together = explain(WEIGHTS, images * jnp.array([1.0, 100.0, 0.0])[:, None, None, None], 2)
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_answer_does_not_depend_on_the_chunk(batch_size):
    """PAIR's Blur IG changed by 43 % between batch sizes 1 and 8."""
    images = normal(6, 2, *SHAPE)
    model = partial(apply, jnp.tanh)
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("device",))
    explain = jaxsal.explainer(
        model, jaxsal.integrated_gradients, steps=7, batch_size=batch_size, mesh=mesh
    )
    singles = [
        explained(
            jaxsal.integrated_gradients,
            lambda x: model(WEIGHTS, x[None])[0, 3],
            image,
            steps=7,
        )
        for image in images
    ]
    np.testing.assert_allclose(explain(WEIGHTS, images, 3), jnp.stack(singles), atol=1e-6)


def normed(dtype, image):
    """A convolution, a norm with running statistics and a ReLU, in a dtype; a sum in float32."""
    hidden = jax.lax.conv_general_dilated(
        image[None].astype(dtype),
        WEIGHTS.astype(dtype),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    shift = jnp.arange(-1.0, 3.0).reshape(1, 1, 1, 4)
    hidden = jax.nn.relu((hidden.astype(jnp.float32) * 0.5 - shift).astype(dtype))
    return jnp.sum(hidden.astype(jnp.float32))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_layer_reaches_over_casts_to_its_activation(dtype):
    """A cast is no convolution, whatever its name begins with: norm and ReLU are inside."""
    value, _ = jaxsal.cut(partial(normed, dtype), normal(3, *SHAPE))
    assert value.shape == (1, 6, 6, 4) and value.min() >= 0


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_keys_of_any_generator_give_maps_that_no_batch_size_changes(impl):
    method = jaxsal.smoothgrad(jaxsal.gradient, samples=3)
    key, images = jax.random.key(0, impl=impl), normal(4, 6, *SHAPE)
    one, four = (
        jaxsal.explainer(partial(apply, jnp.tanh), method, batch_size=size)(
            WEIGHTS, images, 0, key=key
        )
        for size in (1, 4)
    )
    np.testing.assert_allclose(one, four, rtol=0, atol=1e-5 * np.abs(one).max())


def test_images_may_be_overwritten_once_the_call_is_back():
    """On a CPU JAX shares the memory of an aligned NumPy array, and runs later."""
    room = np.empty(64 * 64 * 64 * 4 + 64, np.uint8)
    start = -room.ctypes.data % 64
    images = room[start:-64].view(np.float32)[: 64 * 36 * 36 * 2].reshape(64, 36, 36, 2)
    images[:] = np.random.default_rng(0).normal(size=images.shape)
    explain = jaxsal.explainer(partial(apply, jnp.tanh), jaxsal.gradient)
    expected = np.array(explain(WEIGHTS, images.copy(), 0))
    maps = explain(WEIGHTS, images, 0)
    images[:] = 0
    np.testing.assert_array_equal(maps, expected)
