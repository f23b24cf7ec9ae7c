"""A normal head as signed distances: an oblique slice through a three-dimensional model.

Lengths are millimetres: x to the side, y to the front, z up; the sella is at (0, 24, 0).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsal.data.phantom.noise import Noise
from jaxsal.types import Key, Scalar

Field = Float[Array, "..."]
"""One value per pixel, or a scalar for one point."""

FIELD_OF_VIEW = 224.0
"""Side of the image in millimetres."""


class Pixels(NamedTuple):
    """Where the pixels lie in the head, how far apart they are, and how wide they blur."""

    x: Field
    y: Field
    z: Field
    pitch: Scalar
    width: Scalar


class Head(NamedTuple):
    """What differs between healthy people, positions and sequences; the ranges are in `PEOPLE`."""

    shift_x: Scalar
    shift_y: Scalar
    rotation: Scalar
    scale: Scalar
    pitch: Scalar
    roll: Scalar
    skew: Scalar
    half_width: Scalar
    half_length: Scalar
    egg: Scalar
    skin: Scalar
    fat: Scalar
    bone: Scalar
    subarachnoid: Scalar
    sulcus: Scalar
    folds: Scalar
    cortex: Scalar
    ventricle: Scalar
    ventricle_skew: Scalar
    gland: Scalar
    white: Scalar
    grey: Scalar
    fluid: Scalar
    scalp: Scalar
    marrow: Scalar
    blood: Scalar
    vessels: Scalar
    choroid: Scalar
    pineal: Scalar
    sinus: Scalar
    patches: Scalar
    fold_phase: Scalar


PEOPLE = {
    "shift_x": (-9.0, 9.0),
    "shift_y": (-9.0, 9.0),
    "rotation": (-0.2, 0.2),
    "scale": (0.87, 1.06),
    "pitch": (-0.12, 0.2),
    "roll": (-0.06, 0.06),
    "skew": (-0.06, 0.06),
    "half_width": (74.0, 82.0),
    "half_length": (93.0, 101.0),
    "egg": (0.04, 0.14),
    "skin": (1.2, 2.2),
    "fat": (2.5, 6.5),
    "bone": (5.0, 8.5),
    "subarachnoid": (0.8, 3.0),
    "sulcus": (0.3, 1.5),
    "folds": (15.0, 22.0),
    "cortex": (2.6, 3.8),
    "ventricle": (0.7, 1.45),
    "ventricle_skew": (-0.15, 0.15),
    "gland": (0.7, 1.0),
    "white": (0.37, 0.47),
    "grey": (0.68, 0.86),
    "fluid": (0.18, 0.36),
    "scalp": (0.65, 1.0),
    "marrow": (0.12, 0.45),
    "blood": (0.5, 0.85),
    "vessels": (0.0, 1.2),
    "choroid": (0.5, 1.0),
    "pineal": (0.0, 3.5),
    "sinus": (3.0, 6.5),
    "patches": (0.0, 0.3),
    "fold_phase": (-3.14, 3.14),
}

# Ellipsoids: centre x, y, z and radii, in millimetres; x counts from the midline on both sides.
VENTRICLES = (
    (8.0, 31.0, 34.0, 5.5, 15.0, 12.0),
    (11.0, 4.0, 45.0, 6.0, 29.0, 8.0),
    (23.0, -31.0, 31.0, 6.5, 16.0, 13.0),
    (31.0, 2.0, 1.0, 2.6, 11.0, 3.0),
    (0.0, 5.0, 20.0, 2.2, 13.0, 13.0),
    (0.0, -25.0, -6.0, 7.0, 5.0, 11.0),
)
CISTERNS = (
    (0.0, 19.0, 6.0, 12.0, 9.0, 8.0),
    (11.0, 15.0, 5.0, 9.0, 5.0, 8.0),
    (27.0, 21.0, 7.0, 13.0, 1.8, 7.0),
    (41.0, 9.0, 17.0, 1.2, 13.0, 13.0),
    (48.0, 4.0, 16.0, 6.0, 1.8, 13.0),
    (57.0, 1.0, 17.0, 10.0, 1.6, 13.0),
    (0.0, -22.0, 14.0, 9.0, 4.0, 7.0),
)
DEEP_GREY = (
    (15.0, 25.0, 34.0, 5.0, 11.0, 11.0),
    (25.0, 9.0, 22.0, 8.0, 17.0, 12.0),
    (11.0, -6.0, 24.0, 9.0, 14.0, 11.0),
)
CHOROID = ((24.0, -30.0, 31.0, 3.2, 6.0, 8.0), (5.0, 14.0, 38.0, 1.2, 5.0, 4.0))
BRAINSTEM = ((0.0, -4.0, -14.0, 17.0, 14.0, 22.0), (7.0, 0.0, 6.0, 9.0, 11.0, 14.0))
CEREBELLUM = ((0.0, -46.0, -15.0, 58.0, 41.0, 34.0),)
CAVERNOUS = ((11.0, 22.0, -4.0, 5.0, 8.0, 5.0),)
ARTERIES = (
    (12.0, 21.0, 4.0, 2.0, 2.2, 9.0),
    (0.0, 12.0, -2.0, 1.8, 1.8, 14.0),
    (24.0, 22.0, 7.0, 12.0, 1.3, 2.0),
    (3.0, 34.0, 10.0, 1.2, 6.0, 5.0),
    (15.0, 4.0, 9.0, 1.3, 10.0, 2.5),
)
SPHENOID = ((0.0, 36.0, -12.0, 20.0, 14.0, 12.0), (0.0, 13.0, -12.0, 12.0, 5.0, 12.0))
AIR = (
    (7.0, 38.0, -13.0, 6.0, 9.0, 10.0),
    (5.0, 66.0, -8.0, 4.0, 18.0, 18.0),
    (12.0, 86.0, 14.0, 9.0, 5.0, 12.0),
    (57.0, -27.0, -10.0, 8.0, 9.0, 9.0),
)
GLOBES = ((31.0, 69.0, -3.0, 12.0, 12.5, 12.0),)
EYE_MUSCLES = (
    (19.0, 55.0, -3.0, 2.0, 16.0, 5.0),
    (40.0, 54.0, -3.0, 2.0, 15.0, 5.0),
    (26.0, 46.0, -3.0, 2.2, 14.0, 2.5),
)


def draw_head(key: Key) -> Head:
    """Draws a healthy head, uniformly over `PEOPLE`."""
    low, high = jnp.array([PEOPLE[name] for name in Head._fields]).T
    return Head(*(low + (high - low) * jax.random.uniform(key, low.shape)))


def locate(head: Head, level: Scalar, noise: Noise) -> tuple[Pixels, Pixels]:
    """Places the pixels of a slice `level` mm above the sella in the head, posed as `head` says.

    Smooth random displacements of some millimetres make the two sides and two people differ;
    the skull's (first) are smoother than the brain's (second).
    """
    size = noise.wide_x.shape[0]
    centre = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size - 0.5
    right, up = jnp.meshgrid(centre * FIELD_OF_VIEW, -centre * FIELD_OF_VIEW)
    right, up = right - head.shift_x, up - head.shift_y
    cos, sin = jnp.cos(head.rotation) / head.scale, jnp.sin(head.rotation) / head.scale
    x, y = right * cos + up * sin, up * cos - right * sin
    x = x + head.skew * y * jnp.abs(y) / 100.0
    z = level + head.pitch * (y - 24.0) + head.roll * x
    pitch = FIELD_OF_VIEW / size / head.scale
    # The scanner's own blur, in mm, adds to the pixel's.
    width = length(pitch, jnp.asarray(1.1))
    skull = Pixels(x + 1.3 * noise.wide_x, y + 1.3 * noise.wide_y, z, pitch, width)
    x, y = x + 2.0 * noise.wide_x + 1.1 * noise.fine_x, y + 2.0 * noise.wide_y + 1.1 * noise.fine_y
    return skull, Pixels(x, y, z + 2.0 * noise.lift, pitch, width)


def length(x: Array, y: Array) -> Array:
    """`sqrt(x^2 + y^2)` with a gradient everywhere (and much shorter code than `jnp.hypot`)."""
    return jnp.sqrt(x * x + y * y + 1e-6)


def ellipsoids(
    table: tuple[tuple[float, ...], ...], x: Field, y: Field, z: Field, grow: Array | float = 1.0
) -> Field:
    """In-plane signed distance to a union of ellipsoids, to first order `(q - 1) / |grad q|`."""

    nearest = jnp.full_like(x, jnp.inf)
    for cx, cy, cz, rx, ry, rz in table:
        ax, ay, az = 1.0 / (rx * grow), 1.0 / (ry * grow), 1.0 / (rz * grow)
        u, v, w = (x - cx) * ax, (y - cy) * ay, (z - cz) * az
        slope = (u * ax) ** 2 + (v * ay) ** 2 + 1e-6
        distance = 0.5 * (u * u + v * v + w * w - 1.0) * jax.lax.rsqrt(slope)
        nearest = jnp.minimum(nearest, distance)
    return nearest


def cover(distance: Field, width: Scalar) -> Field:
    """Share of a pixel inside a surface at this signed distance (partial volume), in [0, 1]."""
    return jnp.clip(0.5 - distance / width, 0.0, 1.0)


def band(distance: Field, half: Array | float, width: Scalar) -> Field:
    """Share of a pixel inside the sheet `|distance| < half`, even one thinner than the pixel."""
    return cover(distance - half, width) - cover(distance + half, width)


def mix(image: Field, tissue: Array | float, share: Field) -> Field:
    """Paints `tissue` over `image` where `share` is 1."""
    return image + share * (tissue - image)


def skull_depth(head: Head, x: Field, y: Field, z: Field) -> Field:
    """Depth under the skin along the ray from the axis, in mm; negative outside the head."""
    dome = jnp.sqrt(jnp.clip(1.0 - (jnp.maximum(z - 15.0, 0.0) / 95.0) ** 2, 0.1))
    wide = head.half_width * dome * (1.0 - head.egg * y / 100.0)
    radius = jnp.sqrt(x * x + y * y + 1e-3)
    # The superellipse of exponent 4, blended with the ellipse, without any power function.
    u, v = (x / wide) ** 2, (y / (head.half_length * dome)) ** 2
    k = 0.7 * jnp.sqrt(u + v + 1e-6) + 0.3 * jnp.sqrt(jnp.sqrt(u * u + v * v + 1e-6))
    return radius * (1.0 / k - 1.0)


def wall(head: Head, x: Field, y: Field, z: Field) -> Field:
    """Depth of the dura in mm: skin, fat, the temporal muscle on the sides, and bone."""
    beside = jax.nn.sigmoid((jnp.abs(x) - 48.0) / 5.0) * jnp.exp(-(((y - 22.0) / 26.0) ** 2))
    muscle = 7.0 * beside * jax.nn.sigmoid((24.0 - z) / 5.0)
    return head.skin + head.fat + muscle + head.bone
