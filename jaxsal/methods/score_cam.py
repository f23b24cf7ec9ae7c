"""Score-CAM: channels weighted by what the score says of the image seen through each of them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsal.common.options import count, over_image
from jaxsal.methods._featuremaps import (
    Layers,
    Resize,
    Spatial,
    channels_last,
    over_layers,
    upsampled,
    weighted,
)
from jaxsal.rewrite.split_at_layer import SplitScore
from jaxsal.types import Image, Map, ScoreFn


def score_cam(
    score: ScoreFn,
    image: Image,
    *,
    layer: Layers = None,
    relu: bool = True,
    resize: Resize = True,
    spatial: Spatial | None = None,
    chunk: int = 1,
) -> Map:
    """Channels weighted by the score of the image seen through them, without gradients.

    `Σ_c w_c A_c` with `w = softmax_c(score(x · M_c))`, M_c the channel resized bilinearly to the
    image and scaled to [0, 1]; `chunk` channels are evaluated at a time.

    Arguments, other options, result and errors: `jaxsal.methods.cam`.

    References:
        Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu, "Score-CAM: Score-Weighted Visual
        Explanations for Convolutional Neural Networks", CVPR workshops 2020,
        https://arxiv.org/abs/1910.01279
    """
    count("chunk", chunk)

    def raw(parts: SplitScore) -> Float[Array, "*s"]:
        values = channels_last(parts.value, parts, spatial)

        def masked_score(channel: Float[Array, "*s"]) -> Float[Array, ""]:
            mask = upsampled(channel, image, parts, "bilinear")
            mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
            mask = over_image(mask, image, parts.spatial).astype(image.dtype)
            return score(image * mask).astype(jnp.float32)

        scores = jax.lax.map(masked_score, jnp.moveaxis(values, -1, 0), batch_size=chunk)
        return weighted(values, jax.nn.softmax(scores))

    return over_layers(raw, score, image, layer, relu, resize)


score_cam.forward_only = True  # type: ignore[attr-defined]
