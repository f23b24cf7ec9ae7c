"""Distances from an object, and the ring around it.

Functions of ONE mask `[*space]`, any number of axes, on the device.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


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
