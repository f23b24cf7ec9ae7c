"""Smooth Grad-CAM++: Grad-CAM++ whose weights come from the gradients of noisy images."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxsal.common.options import count, scale
from jaxsal.common.points import sum_points
from jaxsal.methods._cam_method import gradient_of, over_space, space
from jaxsal.methods._featuremaps import (
    Layers,
    Resize,
    Spatial,
    averaged,
    channels_last,
    finished,
    weighted,
)
from jaxsal.methods.noise import Draw, draw_noise
from jaxsal.rewrite.layers.find import LayerName
from jaxsal.rewrite.split_at_layer import SplitScore, split_at_layer
from jaxsal.types import Image, Key, Map, ScoreFn


def smooth_grad_cam_plus_plus(
    score: ScoreFn,
    image: Image,
    *,
    layer: Layers = None,
    relu: bool = True,
    resize: Resize = True,
    spatial: Spatial | None = None,
    samples: int = 25,
    noise: ArrayLike = 0.15,
    relative: bool = True,
    key: Key,
    chunk: int = 1,
) -> Map:
    """Grad-CAM++ with the second and third moments of the gradient over noisy images.

    `Σ_c w_c A_c` with `w = Σ_s relu(G) a` and `a = g₂ / (2 g₂ + Σ_s(g₃ A) + 1e-8)`, 0 where g₂ = 0;
    g₂ and g₃ are the means of G² and G³ over the noisy images, A and G the clean image's own.

    The numerator g₂ is torchcam's, which calls it a correction of the paper's mean of G. torchcam
    draws 4 samples of deviation 0.3, not relative; outside a, its A and G are those of the last.

    Args:
        samples: noisy images.
        noise: their standard deviation, or its ratio to the image's range where `relative`.
        relative: whether it is `noise` times (max - min) of the image.
        key: the key is consumed; sample j draws from `fold_in(key, j)`.
        chunk: samples evaluated at a time.

    Other arguments, result and errors: `jaxsal.methods.cam`.

    Raises:
        TypeError: `samples` or `chunk` is no integer, `noise` no number.
        ValueError: no samples, negative noise.

    References:
        Omeiza, Speakman, Cintas, Weldermariam, "Smooth Grad-CAM++: An Enhanced Inference Level
        Visualization Technique for Deep Convolutional Neural Network Models", 2019,
        https://arxiv.org/abs/1908.01224
    """
    draw = draw_noise(key, image, noise=scale("noise", noise), relative=relative, needs_key=False)
    return smooth_cam_over(
        score,
        image,
        draw,
        layer=layer,
        relu=relu,
        resize=resize,
        spatial=spatial,
        samples=samples,
        chunk=chunk,
    )


def smooth_cam_over(
    score: ScoreFn,
    image: Image,
    draw: Callable[[Array], Draw],
    *,
    layer: Layers = None,
    relu: bool = True,
    resize: Resize = True,
    spatial: Spatial | None = None,
    samples: int,
    chunk: int = 1,
) -> Map:
    """The deterministic core of `smooth_grad_cam_plus_plus`.

    Args:
        draw: j to `(eⱼ, {})`, the noise added to the image; `draw_noise` draws it, a lookup in an
            array replays it.
    """
    count("samples", samples), count("chunk", chunk)

    def split(image: Image, each: LayerName) -> tuple[SplitScore, Array]:
        parts = split_at_layer(score, image, each)
        return parts, channels_last(gradient_of(parts.head, parts.value), parts, spatial)

    def of_layer(each: LayerName) -> Map:
        def powers(index: Array) -> tuple[Array, Array]:
            _, noisy = split(image + draw(index)[0], each)
            return noisy**2, noisy**3

        weights = np.full(samples, 1 / samples)
        moments = sum_points(powers, np.arange(samples), weights, like=image, chunk=chunk)
        parts, gradients = split(image, each)
        values = channels_last(parts.value, parts, spatial)
        return finished(_raw(values, gradients, *moments), image, parts, relu, resize)

    return averaged(of_layer, layer)


def _raw(
    values: Float[Array, "*s C"],
    gradients: Float[Array, "*s C"],
    second: Float[Array, "*s C"],
    third: Float[Array, "*s C"],
) -> Float[Array, "*s"]:
    total = jnp.expand_dims(over_space(third * values), space(values))
    below = 2 * second + total + 1e-8
    defined = (second != 0) & (below != 0)
    alphas = jnp.where(defined, second / jnp.where(defined, below, 1), 0)
    return weighted(values, over_space(jax.nn.relu(gradients) * alphas))
