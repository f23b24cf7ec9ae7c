"""Gradients with another derivative for ReLU: guided backpropagation and the deconvnet."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxsal.rewrite.backward import backward
from jaxsal.types import Image, ScoreFn, accumulator


def guided_backprop(score: ScoreFn, image: Image) -> Image:
    """The gradient that passes each ReLU only where its input and the cotangent are positive.

    Every ReLU's own vjp, `g * 1[x > 0]`, becomes `g * 1[x > 0] * 1[g > 0]`. A ReLU is
    `max(x, 0)` or relu6, however it is written; a leaky or parametric ReLU, ELU, hard_swish and its
    gate are not, as in libraries that replace modules: see `jaxsal.rewrite.activations.relus`.

    Args:
        score: image -> scalar.
        image: `[...]` float.

    Returns:
        `[...]`, the image's shape, float32.

    Warns:
        UserWarning: (when it is traced) the score has activations with a kink that are no ReLUs;
            they keep their own derivative, and the map mixes the two.

    Raises:
        ValueError: the score has no ReLU.

    References:
        Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for Simplicity: The All Convolutional
        Net", ICLR workshop 2015, https://arxiv.org/abs/1412.6806
    """
    return jax.grad(backward(score, _guided))(image).astype(accumulator(image.dtype))


def deconvnet(score: ScoreFn, image: Image) -> Image:
    """The gradient that passes each ReLU only where the cotangent is positive.

    Every ReLU's own vjp, `g * 1[x > 0]`, becomes `max(g, 0)`, whatever its input was. What a
    ReLU is: see `guided_backprop`.

    Args:
        score: image -> scalar.
        image: `[...]` float.

    Returns:
        `[...]`, the image's shape, float32.

    Warns:
        UserWarning: (when it is traced) the score has activations with a kink that are no ReLUs;
            they keep their own derivative, and the map mixes the two.

    Raises:
        ValueError: the score has no ReLU.

    References:
        Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
        https://arxiv.org/abs/1311.2901
    """
    return jax.grad(backward(score, _deconvolved))(image).astype(accumulator(image.dtype))


def _guided(g: Float[Array, "..."], positive: Bool[Array, "..."]) -> Float[Array, "..."]:
    return jnp.where(positive & (g > 0), g, jnp.zeros_like(g))


def _deconvolved(g: Float[Array, "..."], positive: Bool[Array, "..."]) -> Float[Array, "..."]:
    del positive
    return jnp.where(g > 0, g, jnp.zeros_like(g))
