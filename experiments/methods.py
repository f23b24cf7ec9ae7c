"""Every method of jaxsal, its options bound to what suits images of the study's size."""

import functools
from typing import Any

import numpy as np

import jaxsal
from experiments.controls import CONTROLS
from experiments.explaining import MOST_POINTS, TOLERANCE

STEPS = 64  # of integrals with a fixed rule
MASKS = 512  # of RISE
THIRDS = 3  # the same for exact Shapley values: 9 segments have 512 coalitions, 16 have 65,536
PARTS = 8  # into how many an image's side is cut for occlusion and segments

SENSITIVITIES = (
    "gradient",
    "guided backprop",
    "deconvnet",
    "guided grad cam",
    "smoothgrad",
    "smoothgrad squared",
    "vargrad",
)
"""Whose maps are changes of the score for a unit of the input; all others say what the input as it
is contributes, or where."""


ELSEWHERE = {
    *("layer_gradient_x_activation", "layer_integrated_gradients", "internal_influence"),
    *("layer_conductance", "attention_rollout", "generic_attention"),
}
"""Whose maps are a layer's, not the image's, or which need attention: not of the study's CNN."""


def every(size: int, background: np.ndarray) -> dict[str, Any]:
    """Each method of `jaxsal.METHODS`, and each combinator over the gradient, by name.

    Args:
        size: the side of the images.
        background: [n, H, W, C], where expected gradients start.
    """
    window = max(size // PARTS, 2)
    along, coarse = np.arange(size) // window, np.arange(size) * THIRDS // size
    options: dict[str, dict[str, Any]] = {
        "integrated_gradients": {"tolerance": TOLERANCE, "max_steps": MOST_POINTS},
        "expected_gradients": {"baselines": background},
        "deep_lift_shap": {"baselines": background},
        "occlusion": {"window": window, "stride": window // 2},
        "feature_ablation": {"segments": along[:, None] * size + along},
        "rise": {"samples": MASKS},
        "lime": {"segments": along[:, None] * size + along},
        "kernel_shap": {"segments": along[:, None] * size + along},
        "shapley_sampling": {"segments": along[:, None] * size + along},
        "xrai": {"segments": along[:, None] * size + along, "min_pixels": window},
        "shapley_values": {"segments": coarse[:, None] * size + coarse},
        "idgi": {"steps": STEPS},
        "blur_integrated_gradients": {"steps": STEPS},
    }
    plain = {
        name: functools.partial(method, **options[name]) if name in options else method
        for name, method in jaxsal.METHODS.items()
        if name not in ELSEWHERE
    }
    noisy = {name: combine(jaxsal.gradient) for name, combine in jaxsal.COMBINATORS.items()}
    return {name.replace("_", " "): method for name, method in (plain | noisy).items()}


def with_controls(size: int, background: np.ndarray) -> dict[str, Any]:
    """`every`, and the maps that know nothing of the network."""
    return every(size, background) | CONTROLS
