"""What a map says of each pixel, one policy for all metrics: |map| summed over channels.

Signed maps thus have shares in [0, 1]; where the sign matters, a metric says so. Where pixels are
tied, counts take the expectation over their orders, and orders are drawn once and for all, so that
a constant map is never an order by position.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from jaxsal.common.options import channel_axes, over_image, spatial_shape
from jaxsal.metrics import ranks
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.types import ArrayOrShape, Image, Map, Scalar, ScoreFn

Mask = Bool[Array, "*space"]
Pixels = Float[Array, "*space"]


def check_mask(map: ArrayOrShape, mask: ArrayOrShape, *, batch: int = 0) -> None:
    """Raises unless the mask is bool and has the map's shape, all of it or without channels.

    Args:
        batch: how many axes come before those of one image.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: another shape.
    """
    if mask.dtype != bool:
        raise TypeError(f"mask: expected bool, got {mask.dtype}")
    same = map.shape[:batch] == mask.shape[:batch]
    if not same or not placings(map.shape[batch:], mask.shape[batch:]):
        raise ValueError(
            f"map {map.shape}: expected {mask.shape} as the mask, with or without channels"
        )


def placings(map: tuple[int, ...], mask: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The choices of a map's axes, in order, that have the mask's lengths."""
    choices = itertools.combinations(range(len(map)), len(mask))
    return [axes for axes in choices if tuple(map[axis] for axis in axes) == mask]


def _axes_under(mask: Mask, map: Map, score: ScoreFn | None) -> tuple[int, ...]:
    """The axes of a map that a mask lies over; where its shape leaves a choice, the score's.

    Raises:
        ValueError: the score's are none of them.
    """
    choices = placings(map.shape, mask.shape)
    if len({tuple(axis for axis in axes if map.shape[axis] > 1) for axes in choices}) == 1:
        return choices[0]
    read = spatial_axes(score, map)
    if read not in choices:
        raise ValueError(
            f"mask: expected the map's {map.shape} along its axes {read}, got {mask.shape}"
        )
    return read


def relevance(score: ScoreFn | None, map: Map, mask: Mask) -> tuple[Pixels, Bool[Array, ""]]:
    """|map| summed over channels, largest value 1, and whether measures are defined.

    They are not for an empty mask, an all-zero map, or a map with a value that is not finite.
    """
    check_mask(map, mask)
    scaled, top = by_largest(map.astype(jnp.float32))
    channels = channel_axes(map, _axes_under(mask, map, score))
    values = jnp.sum(jnp.abs(scaled), axis=channels)
    return values, jnp.any(mask) & (top > 0) & jnp.isfinite(top)


def pixels(score: ScoreFn | None, map: Map, image: Image, *, signed: bool = False) -> Pixels:
    """The map's value for each pixel of its image, |map| or (signed) map summed over channels.

    Raises:
        ValueError: a map of neither the image's shape nor its spatial shape, or spatial axes that
            cannot be read (`jaxsal.rewrite.axes.spatial`).
    """
    values = as_image(score, map, image)
    channels = channel_axes(image, spatial_axes(score, image))
    return jnp.sum(values if signed else jnp.abs(values), axis=channels)


def as_image(score: ScoreFn | None, map: Map, image: Image) -> Map:
    """The map in float32 with channel axes: the image's own shape, or with one channel.

    Raises:
        ValueError: as of `pixels`.
    """
    values = map.astype(jnp.float32)
    if map.shape == image.shape:
        return values
    axes = spatial_axes(score, image)
    if map.shape == spatial_shape(image, axes):
        return over_image(values, image, axes)
    single = [n if axis in axes else 1 for axis, n in enumerate(image.shape)]
    if map.shape == tuple(single):
        return values
    raise ValueError(
        f"map: expected the image's shape {image.shape}, with or without its channels, "
        f"got {map.shape}"
    )


def by_largest(values: Float[Array, "..."]) -> tuple[Float[Array, "..."], Scalar]:
    """The values over their largest magnitude, and that; zeros stay zeros.

    Sums of the squares of very large or very small gradients would overflow or vanish.
    """
    top = jnp.max(jnp.abs(values))
    return values / jnp.where(top == 0, 1, top), top


def descending_ranks(values: Pixels) -> Int[Array, "*space"]:
    """Each pixel's rank in decreasing order, from 0; ties in an order drawn once, never by place.

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
