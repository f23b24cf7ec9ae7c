"""Regions of an image around an object: the ring around it, the head that holds it, the rest.

Functions of ONE mask `[*space]` or image `[*space, channels]`, any number of axes, on the device.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

REGIONS = ("tumour", "surround", "rest of head", "background")
"""The regions that part an image, from the inside out."""


def distance(mask: Bool[Array, "*space"]) -> Float[Array, "*space"]:
    """Euclidean distance of each pixel to the nearest True pixel, exact; infinite without one.

    `d(p)^2 = min over q in mask of |p - q|^2`, one axis at a time: squared distances add up over
    axes (Felzenszwalb and Huttenlocher 2012; the minimum by enumeration, which suits a device).
    """
    squared = jnp.where(mask, 0.0, jnp.inf)
    for axis in range(mask.ndim):
        lines = jnp.moveaxis(squared, axis, 0)
        position = jnp.arange(len(lines), dtype=jnp.float32)
        position = jnp.expand_dims(position, range(1, mask.ndim))

        def through(k: Array, nearest: Array, lines: Array = lines, at: Array = position) -> Array:
            line = lax.dynamic_index_in_dim(lines, k, axis=0)
            return jnp.minimum(nearest, (at - k.astype(at.dtype)) ** 2 + line)

        nearest = lax.fori_loop(0, len(lines), through, jnp.full_like(lines, jnp.inf))
        squared = jnp.moveaxis(nearest, 0, axis)
    return jnp.sqrt(squared)


def ring(mask: Bool[Array, "*space"], *, width: float | int = 0.5) -> Bool[Array, "*space"]:
    """The pixels around an object: those at most `width` equivalent diameters away from it.

    The equivalent diameter is that of the disc (ball) of the object's area. A ring is at least one
    pixel wide; that of an empty mask is empty.
    """
    axes = mask.ndim
    unit_ball = math.pi ** (axes / 2) / math.gamma(axes / 2 + 1)
    diameter = 2 * (jnp.sum(mask).astype(jnp.float32) / unit_ball) ** (1 / axes)
    away = distance(mask)
    return (away > 0) & (away <= jnp.maximum(width * diameter, 1.0))


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
    """Part an image: tumour (the mask), surround (`ring` in the head), rest of head, background.

    Each pixel is in exactly one of `REGIONS`; the tumour counts as head wherever it lies.
    """
    inside = head(image) | mask
    surround = ring(mask, width=width) & inside
    parts = (mask, surround, inside & ~mask & ~surround, ~inside)
    return dict(zip(REGIONS, parts, strict=True))
