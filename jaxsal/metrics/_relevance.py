"""What a map says of each pixel, one policy for all metrics: |map| summed over channels.

Signed maps thus have shares in [0, 1]; where the sign matters, a metric says so. Where pixels are
tied, counts take the expectation over their orders, and orders are drawn once and for all, so that
a constant map is never an order by position.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from jaxsal import ranks
from jaxsal.types import Image, Map, Scalar

Mask = Bool[Array, "*space"]
Pixels = Float[Array, "*space"]


def check_mask(map: Any, mask: Any) -> None:
    """Raises unless the mask is bool and of the map's spatial shape.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: another shape.
    """
    if mask.dtype != bool:
        raise TypeError(f"mask: expected bool, got {mask.dtype}")
    if mask.shape not in (map.shape, map.shape[:-1]):
        raise ValueError(
            f"map {map.shape}: expected {mask.shape} as the mask, with or without channels"
        )


def relevance(map: Map, mask: Mask) -> tuple[Pixels, Bool[Array, ""]]:
    """|map| summed over channels, largest value 1, and whether measures are defined.

    They are not for an empty mask, an all-zero map, or a map with a value that is not finite.
    """
    check_mask(map, mask)
    magnitude = jnp.abs(map.astype(jnp.float32))
    # Divided first: sums of very large or very small gradients would overflow or vanish.
    top = jnp.max(magnitude)
    magnitude = magnitude / jnp.where(top > 0, top, 1.0)
    values = magnitude if map.ndim == mask.ndim else jnp.sum(magnitude, axis=-1)
    return values, jnp.any(mask) & (top > 0) & jnp.isfinite(top)


def pixels(map: Map, image: Image, *, signed: bool = False) -> Pixels:
    """The map's value for each pixel of its image, |map| or (signed) map summed over channels.

    Raises:
        ValueError: a map of neither the image's shape nor its spatial shape.
    """
    values = as_image(map, image)
    return jnp.sum(values if signed else jnp.abs(values), axis=-1)


def as_image(map: Map, image: Image) -> Map:
    """The map in float32 with a channel axis: the image's own shape, or with one channel.

    Raises:
        ValueError: a map of neither the image's shape nor its spatial shape.
    """
    if map.shape not in (image.shape, image.shape[:-1], (*image.shape[:-1], 1)):
        raise ValueError(
            f"map: expected the image's shape {image.shape}, with or without its channels, "
            f"got {map.shape}"
        )
    values = map.astype(jnp.float32)
    return values[..., None] if map.shape == image.shape[:-1] else values


def places(values: Pixels) -> Int[Array, "*space"]:
    """Each pixel's place in decreasing order, from 0; ties in an order drawn once, never by place.

    The order of ties is a fixed random permutation: what a constant map removes first is a random
    set of pixels, the same one in every image of a shape.
    """
    shuffled = np.random.default_rng(0).permutation(values.size).astype(np.int32)
    # Pixels in shuffled order, sorted stably: one key where two would cost twice.
    _, order = lax.sort((-values.ravel()[shuffled], jnp.asarray(shuffled)), num_keys=1)
    rank = jnp.arange(values.size, dtype=jnp.int32)
    return jnp.zeros(values.size, jnp.int32).at[order].set(rank).reshape(values.shape)


def hits_among_top(values: Pixels, mask: Mask, count: Num[Array, ""] | int) -> Scalar:
    """How many of the `count` largest pixels lie in the mask; ties at the end by expectation."""
    # The same sort as in the ROC AUC, so that XLA sorts once for both.
    ordered, _ = ranks.sort_marked(values.ravel(), mask.ravel())
    last = ordered[values.size - jnp.maximum(count, 1)]
    above, tied = values > last, values == last
    left = (count - jnp.sum(above)) / jnp.sum(tied)
    sure, maybe = (jnp.sum(some & mask).astype(left.dtype) for some in (above, tied))
    return sure + left * maybe
