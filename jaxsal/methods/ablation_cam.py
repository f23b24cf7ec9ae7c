"""Ablation-CAM: channels weighted by how much the score falls without each of them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxsal.common.options import count
from jaxsal.common.points import map_points
from jaxsal.methods._featuremaps import (
    Layers,
    Resize,
    Spatial,
    channels_last,
    over_layers,
    weighted,
)
from jaxsal.rewrite.split_at_layer import SplitScore
from jaxsal.types import Image, Map, Scalar, ScoreFn


def ablation_cam(
    score: ScoreFn,
    image: Image,
    *,
    layer: Layers = None,
    relu: bool = True,
    resize: Resize = True,
    spatial: Spatial | None = None,
    chunk: int = 1,
) -> Map:
    """Channels weighted by the fall of the score when each alone is set to zero, no gradients.

    `Σ_c w_c A_c` with `w_c = f - f(A_c := 0)`. The paper divides by f, which only scales the map of
    a positive score, and negates that of a negative one. `chunk` channels are evaluated at a time.
    What `spatial` leaves out of the layer's value (a class token) is not set to zero.

    Arguments, other options, result and errors: `jaxsal.methods.cam`.

    References:
        Desai, Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via
        Gradient-free Localization", WACV 2020, https://doi.org/10.1109/WACV45572.2020.9093360
    """
    count("chunk", chunk)

    def raw(parts: SplitScore) -> Float[Array, "*s"]:
        values = channels_last(parts.value, parts, spatial)
        return weighted(values, falls(parts, values, spatial, chunk))

    return over_layers(raw, score, image, layer, relu, resize)


ablation_cam.forward_only = True  # type: ignore[attr-defined]


def falls(
    parts: SplitScore, values: Float[Array, "*s C"], spatial: Spatial | None, chunk: int
) -> Float[Array, " C"]:
    """`f - f(A_c := 0)` of every channel c."""
    _, back = jax.vjp(lambda value: channels_last(value, parts, spatial), parts.value)
    whole = parts.head(parts.value)

    def fall(channel: Int[Array, ""]) -> Scalar:
        # `spatial` moves and selects: its transpose marks where in the value a channel lies.
        chosen = jnp.arange(values.shape[-1], dtype=channel.dtype) == channel
        (marked,) = back(jnp.broadcast_to(chosen.astype(values.dtype), values.shape))
        left = parts.head(jnp.where(marked != 0, 0, parts.value))
        return (whole - left).astype(jnp.float32)

    return map_points(fall, jnp.arange(values.shape[-1], dtype=jnp.int32), chunk=chunk)
