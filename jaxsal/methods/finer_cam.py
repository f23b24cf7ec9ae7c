"""FinerCAM: Grad-CAM of what sets the target apart from the classes that it is mistaken for."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxsal.common.options import count, scale
from jaxsal.methods._cam_method import by_mean_gradient, raw_map
from jaxsal.methods._classes import classes_of, like
from jaxsal.methods._featuremaps import Layers, Resize, Spatial, over_layers
from jaxsal.types import Image, Map, Scalar, ScoreFn


def finer_cam(
    score: ScoreFn,
    image: Image,
    *,
    layer: Layers = None,
    relu: bool = True,
    resize: Resize = True,
    spatial: Spatial | None = None,
    alpha: ArrayLike = 1.0,
    classes: int = 3,
) -> Map:
    """Grad-CAM of the target's logit less those of the classes nearest to it.

    The score is `Σ_j p_j (f_t - α f_j) / (Σ_j p_j + 1e-9)`: f the logits, p their softmax, t the
    target, j the `classes` whose logits are nearest to f_t (all others, where there are fewer).

    Args:
        score: one of the explainer's, or a function with the attributes `class_logits`
            (image -> [K]) and `target`; its objective is not used.
        alpha: α, how much of the other classes' logits is taken away.
        classes: how many classes the target is compared with.

    Other arguments, result and errors: `jaxsal.methods.cam`.

    Raises:
        TypeError: a score that says nothing of the other classes; `classes` is no integer.
        ValueError: a negative `alpha`, no class, a model of one output that tells no classes.

    References:
        Zhang, Gu, Yu, Chowdhury, Wang, Berger-Wolf, Stewart, Chao, "Finer-CAM: Spotting the
        Difference Reveals Finer Details for Visual Explanation", CVPR 2025,
        https://arxiv.org/abs/2501.11309
    """
    logits, target = classes_of(score, "finer_cam")
    share, most = scale("alpha", alpha), count("classes", classes)

    def apart(image: Image) -> Scalar:
        values = logits(image)
        is_target = jnp.arange(values.size, dtype=jnp.int32) == target
        own = jnp.sum(jnp.where(is_target, values, 0))
        far = jnp.where(is_target, jnp.inf, jnp.abs(values - own))
        _, near = jax.lax.top_k(-far, min(most, values.size - 1))
        chances = jax.nn.softmax(values)[near]
        return jnp.sum(chances * (own - share * values[near])) / (jnp.sum(chances) + 1e-9)

    raw = functools.partial(raw_map, by_mean_gradient, spatial=spatial)
    return over_layers(raw, like(score, apart), image, layer, relu, resize)
