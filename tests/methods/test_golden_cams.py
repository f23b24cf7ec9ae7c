"""The class activation maps of `golden2.npz`, a row an array, and what peers get wrong in them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.compiler.outputs import OUTPUTS
from jaxsal.methods._featuremaps import channels_last as last
from jaxsal.methods.ablation_cam import falls
from jaxsal.methods.smooth_cam import smooth_cam_over
from jaxsal.rewrite.split_at_layer import split_at_layer
from tests.golden2 import IMAGES, NETWORKS, ROWS, TARGETS, channels_last

NOISE = channels_last(ROWS["torchcam/noise"].reshape(16, 3, 16, 16)).reshape(4, 4, 16, 16, 3)
RAW = {"relu": False, "resize": False}
BEFORE_RELU = {"": "c2", "b/": "b3"}
SCORES = {
    "": lambda x, t: x[t],
    "_softmax": lambda x, t: jax.nn.softmax(x)[t],
    "_rest": lambda x, t: x[t] + jax.nn.log_softmax(x)[t],
}
"""ShapleyCAM's: the logit, its probability, the logit with the logarithm of that."""


def scored(apply, params, target, of):
    """A score with what the explainer's tell of the other classes."""
    logits = lambda image: apply(params, image[None])[0]  # noqa: E731
    score = lambda image: of(logits(image), target)  # noqa: E731
    score.class_logits, score.target = logits, target
    return score


def all_maps(network, image, target, noise):
    apply, params = NETWORKS[network]
    scores = {name: scored(apply, params, target, of) for name, of in SCORES.items()}
    score, parts = scores[""], split_at_layer(scores[""], image)
    best = scored(apply, params, jnp.argmax(score.class_logits(image)), SCORES[""])
    before = BEFORE_RELU[network]
    return {
        "score": score(image),
        "falls": falls(parts, last(parts.value, parts, None), None, 3),
        "element_wise": jaxsal.element_wise_grad_cam(score, image, **RAW),
        "ablation": jaxsal.ablation_cam(score, image, chunk=4, **RAW),
        "before_relu": jaxsal.ablation_cam(score, image, layer=before, **RAW),
        "kpca": jaxsal.kpca_cam(score, image, **RAW),
        "finer": jaxsal.finer_cam(score, image, **RAW),
        "finer_predicted": jaxsal.finer_cam(best, image, **RAW),
        "plus_plus": jaxsal.grad_cam_plus_plus(score, image, **RAW),
        "smooth": smooth_cam_over(score, image, lambda j: (noise[j], {}), samples=4, **RAW),
    } | {f"shapley{name}": jaxsal.shapley_cam(each, image, **RAW) for name, each in scores.items()}


@pytest.fixture(scope="module", params=["", "b/"])
def found(request):
    """The maps of four images of one network, by method, and its arrays."""
    maps = jax.jit(jax.vmap(partial(all_maps, request.param)))(
        jnp.asarray(IMAGES), jnp.asarray(TARGETS), jnp.asarray(NOISE)
    )
    rows = {
        k.removeprefix(request.param): v for k, v in ROWS.items() if k.startswith(request.param)
    }
    return jax.device_get(maps), rows


def finished(cams):
    """grad-cam's own post-processing of a batch of raw maps."""
    cams = scaled(np.maximum(cams, 0))
    cams = np.asarray(jax.image.resize(cams, IMAGES.shape[:3], "bilinear"))
    return scaled(np.maximum(cams, 0))


def scaled(cams):
    cams = cams - cams.min((1, 2), keepdims=True)
    return cams / (1e-7 + cams.max((1, 2), keepdims=True))


FIGURES = {
    "gradcamlib/GradCAMElementWise": lambda maps: finished(maps["element_wise"]),
    "own/ablation_cam_drop": lambda maps: maps["falls"],
    "gradcamlib/AblationCAM": lambda maps: finished(
        maps["ablation"] / maps["score"][:, None, None]
    ),
    "own/AblationCAM_before_relu": lambda maps: finished(
        maps["before_relu"] / maps["score"][:, None, None]
    ),
    "own/kpca_raw": lambda maps: maps["kpca"],
    "gradcamlib/KPCA_CAM": lambda maps: finished(maps["kpca"]),
    "gradcamlib/FinerCAM": lambda maps: finished(maps["finer_predicted"]),
    "gradcamlib/FinerCAM_target": lambda maps: finished(maps["finer"]),
    "gradcamlib/ShapleyCAM": lambda maps: finished(maps["shapley"]),
    "gradcamlib/ShapleyCAM_softmax": lambda maps: finished(maps["shapley_softmax"]),
    "gradcamlib/ShapleyCAM_rest": lambda maps: finished(maps["shapley_rest"]),
}


@pytest.mark.parametrize("row", FIGURES)
def test_row(row, found):
    maps, rows = found
    tolerance = 1e-4 if row.endswith(("kpca_raw", "KPCA_CAM")) else 1e-5
    tolerance = 2e-5 if "FinerCAM" in row else tolerance  # differences of logits, in float32
    close(FIGURES[row](maps), rows[row], tolerance)


def test_ablation_cam_keeps_its_sign_and_zeroes_one_channel_alone(found):
    """grad-cam divides by the score, which turns maps of negative ones over, and lets its -1e7s of
    one channel grow with each channel before it."""
    maps, rows = found
    own, negative = finished(maps["ablation"]), maps["score"] < 0
    peer = rows["gradcamlib/AblationCAM"]
    assert negative.any()
    close(own[~negative], peer[~negative])
    assert all(apart(own[i], peer[i]) > 0.1 for i in np.flatnonzero(negative))
    before = finished(maps["before_relu"] / maps["score"][:, None, None])
    if "own/fullgrad_b3" in rows:  # a residual comes after the layer
        assert apart(before, rows["gradcamlib/trap_AblationCAM_before_relu"]) > 0.9


def test_smooth_cam_takes_value_and_gradient_of_the_clean_image(found):
    """torchcam takes them of the last noisy one; its Grad-CAM++ never divides."""
    maps, rows = found
    if "own/smooth_grad_cam_pp" in rows:  # of one of the networks
        close(maps["smooth"], rows["own/smooth_grad_cam_pp"])
        assert apart(maps["smooth"], rows["torchcam/SmoothGradCAMpp"]) > 0.2
        same = np.corrcoef(maps["plus_plus"].ravel(), rows["torchcam/trap_GradCAMpp"].ravel())
        assert same[0, 1] < 0.95


@pytest.mark.parametrize(("alpha", "classes"), [(0.5, 2), (1.0, 9)])
def test_finer_cam_is_grad_cam_of_its_score(alpha, classes):
    """The nearest classes are known beforehand; of five, nine are all the others."""
    score, image = scored(*NETWORKS[""], 1, SCORES[""]), jnp.asarray(IMAGES[0])
    values = np.asarray(jax.jit(score.class_logits)(image))
    near = [c for c in np.argsort(np.abs(values - values[1])) if c != 1][:classes]

    def difference(x):
        f = score.class_logits(x)
        p = jax.nn.softmax(f)
        return sum(p[j] * (f[1] - alpha * f[j]) for j in near) / (sum(p[j] for j in near) + 1e-9)

    def both(x):
        finer = jaxsal.finer_cam(score, x, alpha=alpha, classes=classes, **RAW)
        return finer, jaxsal.grad_cam(difference, x, **RAW)

    found, expected = jax.jit(both)(image)
    assert len(near) == min(classes, 4)
    close(found, expected, 1e-4)


def test_finer_cam_says_which_score_it_wants_and_what_it_compares():
    score = lambda image: image.sum()  # noqa: E731
    image = jnp.ones((4, 4, 1))
    with pytest.raises(TypeError, match="score: finer_cam compares classes; expected a score with"):
        jaxsal.finer_cam(score, image)
    explain = jaxsal.explainer(lambda p, x: x.sum((1, 2)), jaxsal.finer_cam, output="value")
    with pytest.raises(ValueError, match="output: values tell no classes to compare"):
        explain((), np.ones((1, 4, 4, 1)), 0)


@pytest.mark.parametrize(
    ("output", "given", "expected"),
    [
        ("logits", [1.0, -2.0, 0.5], [1.0, -2.0, 0.5]),
        ("logits", [3.0], [-1.5, 1.5]),
        ("probability", [0.2], np.log([0.8, 0.2])),
        ("probability", [0.2, 0.5, 0.3], np.log([0.2, 0.5, 0.3])),
    ],
)
def test_logits_of_the_classes_give_the_models_probabilities(output, given, expected):
    found = OUTPUTS[output].class_logits(jnp.asarray(given))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def close(got, expected, tolerance=1e-5):
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def apart(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()
