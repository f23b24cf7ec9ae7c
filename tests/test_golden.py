"""Parity with five peers on one network: every method they share with jaxsal, one row a figure.

Each row is checked on the bare method and through the explainer in chunks of 1, 3 and all images.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.methods.noise import mean, mean_square, statistic_over, variance
from jaxsal.methods.path import gradients_over
from jaxsal.methods.quadrature import RULES
from jaxsal.rewrite.split_at_layer import cut
from tests.golden import BASELINE, IMAGES, PARAMS, ROWS, TARGETS, apply, channels_last

COUNT = len(IMAGES)
NOISE = channels_last(ROWS["captum/nt_noise"]).reshape(COUNT, 6, *IMAGES.shape[1:])
POSITIONS = ROWS["captum/gradshap_alpha"].astype(np.float32).reshape(COUNT, 6)
LOGITS = np.take_along_axis(ROWS["logits"], TARGETS[:, None], 1)[:, 0]
ATOL = 1e-5


def replayed_noise(score, image, *, statistic, noise, key):
    """A noise combinator over the peer's own draws; the example's key says which example it is."""
    draws = jnp.asarray(noise)[jax.random.key_data(key)[1]]
    draw = lambda j: (draws[j], {})  # noqa: E731
    return statistic_over(statistic, jaxsal.gradient, score, image, draw, samples=6)


def replayed_path(score, image, *, baseline, positions, key):
    """Expected gradients over the peer's own draws."""
    draws = jnp.asarray(positions)[jax.random.key_data(key)[1]]
    return gradients_over(score, image, lambda j: (baseline, image, draws[j]), samples=6)


def at_the_edge(score, image):
    return jaxsal.occlusion(score, image[:15, :15], window=4)


def activation_x_gradient(score, image):
    """What HiResCAM sums over channels, before it does."""
    value, head = cut(score, image, None)
    return jnp.squeeze(value * jax.grad(head)(value), 0)


raw = partial(partial, relu=False, resize=False)
integrate = partial(partial, jaxsal.integrated_gradients)
METHODS = {
    "gradient": jaxsal.gradient,
    "input_x_gradient": jaxsal.input_x_gradient,
    **{
        f"{rule}_{steps}": integrate(baseline=BASELINE, rule=rule, steps=steps)
        for rule in RULES
        for steps in (10, 50)
    },
    "zennit": integrate(rule="riemann_right", steps=20),
    "pair_trapezoid": integrate(rule="riemann_trapezoid", steps=25),
    "pair_left": integrate(rule="riemann_left", steps=1),
    "pair_right": integrate(rule="riemann_right", steps=1),
    "guided_backprop": jaxsal.guided_backprop,
    "deconvnet": jaxsal.deconvnet,
    "occlusion": partial(jaxsal.occlusion, window=5, stride=3),
    "occlusion_edge": at_the_edge,
    "occlusion_pair": partial(jaxsal.occlusion, window=5, stride=1),
    "feature_ablation": partial(
        jaxsal.feature_ablation, segments=channels_last(ROWS["feature_mask"])[0]
    ),
    "smoothgrad": partial(replayed_noise, statistic=mean, noise=NOISE),
    "smoothgrad_squared": partial(replayed_noise, statistic=mean_square, noise=NOISE),
    "vargrad": partial(replayed_noise, statistic=variance, noise=NOISE),
    "grad_cam_c2": raw(jaxsal.grad_cam, layer="c2"),
    "grad_cam": raw(jaxsal.grad_cam),
    "grad_cam_relu": partial(jaxsal.grad_cam, resize=False),
    "grad_cam_plus_plus": raw(jaxsal.grad_cam_plus_plus),
    "x_grad_cam": raw(jaxsal.x_grad_cam),
    "hires_cam": raw(jaxsal.hires_cam),
    "layer_cam": raw(jaxsal.layer_cam),
    "eigen_cam": raw(jaxsal.eigen_cam),
    "guided_grad_cam": jaxsal.guided_grad_cam,
    "activation_x_gradient": activation_x_gradient,
    "expected_gradients": partial(replayed_path, baseline=BASELINE, positions=POSITIONS),
}


def bare():
    """The methods themselves, vmapped."""

    def explain(image, target, key):
        score = lambda x: apply(PARAMS, x[None])[0, target]  # noqa: E731
        keyed = ("smoothgrad", "smoothgrad_squared", "vargrad", "expected_gradients")
        return {
            name: method(score, image, **({"key": key} if name in keyed else {}))
            for name, method in METHODS.items()
        }

    return jax.jit(jax.vmap(explain))(jnp.asarray(IMAGES), jnp.asarray(TARGETS), example_keys())


def explained(batch_size):
    """All methods in one program of the explainer, on one device."""
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("device",))
    explain = jaxsal.explainer(apply, METHODS, batch_size=batch_size, mesh=mesh)
    return explain(PARAMS, jnp.asarray(IMAGES), TARGETS, key=example_keys())


def example_keys():
    return jax.vmap(jax.random.wrap_key_data)(
        jnp.stack([jnp.zeros(COUNT, jnp.uint32), jnp.arange(COUNT, dtype=jnp.uint32)], 1)
    )


@pytest.fixture(scope="module", params=["bare", 1, 3, COUNT])
def maps(request):
    results = bare() if request.param == "bare" else explained(request.param)
    return {name: np.asarray(map) for name, map in results.items()}


def unit_sum(rule, steps):
    """captum's trapezoid weights sum to (n - 1) / n, ours to one."""
    return steps / (steps - 1) if rule == "riemann_trapezoid" else 1.0


def pair_integral(maps):
    """PAIR's plain mean over linspace(0, 1, 25), from the trapezoid (ends halved) and both ends."""
    ends = maps["pair_left"][0] + maps["pair_right"][0]
    return (24 * maps["pair_trapezoid"][0] + ends / 2) / 25


def pair_occlusion(maps):
    """PAIR sums overlapping windows, where the mean over coverage counts none twice."""
    coverage = np.convolve(np.ones(12), np.ones(5))
    return maps["occlusion_pair"][0] * np.multiply.outer(coverage, coverage)[..., None]


def finished(cams):
    """grad-cam's own post-processing of a batch of raw maps."""
    cams = scaled(np.maximum(cams, 0))
    cams = np.asarray(jax.image.resize(cams, IMAGES.shape[:3], "bilinear"))
    return scaled(np.maximum(cams, 0))


def scaled(cams):
    cams = cams - cams.min((1, 2), keepdims=True)
    return cams / (1e-7 + cams.max((1, 2), keepdims=True))


def eigen_cam(maps):
    """The singular vector's sign is the peer's accident: each map takes the one that fits."""
    either = np.stack([finished(maps["eigen_cam"]), finished(-maps["eigen_cam"])])
    error = np.abs(either - ROWS["gradcamlib/EigenCAM"]).max((2, 3))
    return either[error.argmin(0), np.arange(COUNT)]


FIGURES = {
    "captum/saliency": lambda maps: maps["gradient"],
    "captum/saliency_abs": lambda maps: np.abs(maps["gradient"]),
    "captum/ixg": lambda maps: maps["input_x_gradient"],
    **{
        f"captum/ig_{rule}_{steps}": lambda maps, rule=rule, steps=steps: (
            maps[f"{rule}_{steps}"] / unit_sum(rule, steps)
        )
        for rule in RULES
        for steps in (10, 50)
    },
    "zennit/ig_20_riemann_right": lambda maps: maps["zennit"],
    "pair/ig_25": pair_integral,
    "pair/occlusion_5": pair_occlusion,
    "captum/guided_bp": lambda maps: maps["guided_backprop"],
    "captum/deconv": lambda maps: maps["deconvnet"],
    "captum/occlusion_5_s3": lambda maps: maps["occlusion"],
    "captum/occlusion_4_s4_edge": lambda maps: maps["occlusion_edge"],
    "captum/feature_ablation_grid4": lambda maps: maps["feature_ablation"],
    "captum/nt_smoothgrad": lambda maps: maps["smoothgrad"],
    "captum/nt_smoothgrad_sq": lambda maps: maps["smoothgrad_squared"],
    "captum/nt_vargrad": lambda maps: maps["vargrad"],
    "captum/gradcam_c2": lambda maps: maps["grad_cam_c2"][..., None],
    "captum/gradcam_c2_relu": lambda maps: np.maximum(maps["grad_cam_c2"], 0)[..., None],
    "captum/gradcam_r2": lambda maps: maps["grad_cam"][..., None],
    "captum/gradcam_r2_relu": lambda maps: maps["grad_cam_relu"][..., None],
    "captum/layer_gradxact_r2": lambda maps: maps["activation_x_gradient"],
    "captum/guided_gradcam_r2_nearest": lambda maps: maps["guided_grad_cam"],
    "gradcamlib/GradCAM": lambda maps: finished(maps["grad_cam"]),
    "gradcamlib/GradCAMPlusPlus": lambda maps: finished(maps["grad_cam_plus_plus"]),
    "gradcamlib/XGradCAM": lambda maps: finished(maps["x_grad_cam"]),
    "gradcamlib/HiResCAM": lambda maps: finished(maps["hires_cam"]),
    "gradcamlib/LayerCAM": lambda maps: finished(maps["layer_cam"]),
    "gradcamlib/EigenCAM": eigen_cam,
    "captum/gradshap": lambda maps: maps["expected_gradients"],
    "captum/gradshap_check": lambda maps: maps["expected_gradients"],
}


def test_the_network_is_the_peers_network():
    np.testing.assert_allclose(apply(PARAMS, jnp.asarray(IMAGES)), ROWS["logits"], atol=1e-5)


@pytest.mark.parametrize("row", sorted(FIGURES))
def test_row(row, maps):
    expected = ROWS[row]
    expected = channels_last(expected) if expected.ndim == 4 else expected
    figure = FIGURES[row](maps)
    assert figure.shape == expected.shape
    np.testing.assert_allclose(figure, expected, rtol=0, atol=ATOL * np.abs(expected).max())


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_convergence_delta(rule, steps, maps):
    """sum(map) - (s(x) - s(b)): a small difference, to the precision of the scores it is one of."""
    baseline = np.take_along_axis(
        np.asarray(apply(PARAMS, jnp.asarray(BASELINE)[None])), TARGETS[:, None], 1
    )
    scores = LOGITS - baseline[:, 0]
    sums = maps[f"{rule}_{steps}"].sum((1, 2, 3)) / unit_sum(rule, steps)
    expected = ROWS[f"captum/ig_{rule}_{steps}_delta"]
    np.testing.assert_allclose(sums - scores, expected, rtol=0, atol=ATOL * np.abs(scores).max())
