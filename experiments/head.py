"""The head in a slice, and the four regions that it and a tumour divide the slice into."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxsal.metrics.regions import ring

REGIONS = ("tumour", "surround", "rest of head", "background")
"""From the inside out."""


def head(image: Float[Array, "*space channels"]) -> Bool[Array, "*space"]:
    """The head: all that lies between bright pixels along every axis.

    Bright is above `min + 0.1 (99th percentile - min)` of the channels' mean, with a third of the
    neighbourhood (3x3) bright too, which specks of noise lack. A line sweep then fills: a pixel
    is inside when there are bright pixels on both sides of it in its row AND in its column, which
    closes ventricles, sinuses and dark skull. A constant image has no head.
    """
    grey = jnp.mean(image, axis=-1)
    axes = grey.ndim
    low = jnp.min(grey)
    high = lax.top_k(grey.ravel(), -(-grey.size // 100))[0][-1]
    bright = (grey > low + 0.1 * (high - low)).astype(jnp.int32)
    crowd = lax.reduce_window(bright, 0, lax.add, (3,) * axes, (1,) * axes, "SAME")
    bright &= (crowd >= 3 ** (axes - 1)).astype(bright.dtype)
    inside = jnp.ones_like(bright)
    for axis in range(axes):
        before = lax.cummax(bright, axis=axis)
        after = lax.cummax(bright, axis=axis, reverse=True)
        inside &= before & after
    return inside == 1


def regions(
    image: Float[Array, "*space channels"], mask: Bool[Array, "*space"], *, width: float | int = 0.5
) -> dict[str, Bool[Array, "*space"]]:
    """Divides an image: tumour (the mask), surround (`ring` in the head), rest of head, background.

    Each pixel is in exactly one of `REGIONS`; the tumour counts as head wherever it lies.
    """
    inside = head(image) | mask
    surround = ring(mask, width=width) & inside
    parts = (mask, surround, inside & ~mask & ~surround, ~inside)
    return dict(zip(REGIONS, parts, strict=True))


@functools.partial(jax.jit, static_argnames="width")
def _regions_of(images: ArrayLike, masks: ArrayLike, *, width: float | int) -> dict[str, Array]:
    # In batches: distances in thousands of large images need not be held at once.
    divide = functools.partial(regions, width=width)
    return lax.map(lambda example: divide(*example), (images, masks), batch_size=64)


def regions_of(
    images: Float[np.ndarray, "batch ..."],
    masks: Bool[np.ndarray, "batch ..."],
    *,
    width: float | int = 0.5,
) -> dict[str, Bool[Array, "batch ..."]]:
    """`regions` of N images, in the order of `REGIONS`."""
    found = _regions_of(images, masks, width=width)
    return {name: found[name] for name in REGIONS}  # a jitted function sorts its dicts
