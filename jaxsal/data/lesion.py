"""Brain tumours as a contrast-enhanced T1 scan shows them: where they grow and how they look."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxsal.data import anatomy
from jaxsal.data.anatomy import Field, Head, Pixels, cover, mix, smooth_noise
from jaxsal.data.tissue import Healthy
from jaxsal.types import Key, Scalar


class Lesion(NamedTuple):
    """One tumour; lengths in mm, brightness in units of the image, angles in radians."""

    x: Scalar
    y: Scalar
    radius: Scalar
    stretch: Scalar
    tilt: Scalar
    ragged: Scalar
    rim: Scalar
    rim_value: Scalar
    core_value: Scalar
    texture: Scalar
    fringe: Scalar
    oedema: Scalar
    reach: Scalar
    push: Scalar
    cleft: Scalar


# Ranges of everything but the position, drawn uniformly.
GLIOMA = {
    "x": (0.0, 0.0),
    "y": (0.0, 0.0),
    "radius": (10.0, 19.0),
    "stretch": (1.0, 1.35),
    "tilt": (0.0, 3.14),
    "ragged": (0.12, 0.24),
    "rim": (2.2, 6.0),
    "rim_value": (0.6, 0.9),
    "core_value": (0.12, 0.3),
    "texture": (0.2, 0.4),
    "fringe": (1.0, 3.0),
    "oedema": (0.25, 0.5),
    "reach": (6.0, 15.0),
    "push": (0.1, 0.5),
    "cleft": (0.0, 0.0),
}
MENINGIOMA = {
    "x": (0.0, 0.0),
    "y": (0.0, 0.0),
    "radius": (8.5, 17.0),
    "stretch": (1.0, 1.2),
    "tilt": (0.0, 3.14),
    "ragged": (0.0, 0.06),
    "rim": (3.0, 5.0),
    "rim_value": (0.62, 0.88),
    "core_value": (0.95, 1.0),
    "texture": (0.02, 0.07),
    "fringe": (0.0, 0.6),
    "oedema": (0.0, 0.25),
    "reach": (2.0, 8.0),
    "push": (0.3, 0.8),
    "cleft": (0.6, 1.6),
}
PITUITARY = {
    "x": (-1.5, 1.5),
    "y": (22.0, 26.0),
    "radius": (8.0, 12.5),
    "stretch": (1.0, 1.25),
    "tilt": (-0.1, 0.1),
    "ragged": (0.02, 0.09),
    "rim": (2.0, 4.0),
    "rim_value": (0.55, 0.82),
    "core_value": (0.8, 1.0),
    "texture": (0.04, 0.12),
    "fringe": (0.0, 0.6),
    "oedema": (0.0, 0.0),
    "reach": (1.0, 2.0),
    "push": (0.3, 0.7),
    "cleft": (0.0, 0.8),
}

SELLAR = (-3.0, 12.0)
"""Heights above the sella in mm at which a slice shows it."""


def draw_level(key: Key, *, sellar: Scalar) -> Scalar:
    """Draws the slice's height above the sella in mm, within `SELLAR` with probability `sellar`."""
    which, where = jax.random.uniform(key, (2,))
    low, high = SELLAR
    return jnp.where(which < sellar, low + (high - low) * where, high + (62.0 - high) * where)


def draw_lesion(key: Key, head: Head, level: Scalar, label: Int[Array, ""]) -> Lesion:
    """Draws a tumour of class `label`: 0 has radius zero, 1 glioma, 2 meningioma, 3 pituitary."""
    ranges = [[kind[name] for name in Lesion._fields] for kind in (GLIOMA, MENINGIOMA, PITUITARY)]
    low, high = jnp.moveaxis(jnp.array(ranges), 2, 0)
    share = jax.random.uniform(key, (4, *low.shape[1:]))
    glioma, meningioma, pituitary = (Lesion(*row) for row in low + (high - low) * share[:3])
    glioma = _in_the_white_matter(share[3, :4], head, level, _grade(share[3, 4], glioma))
    meningioma = _on_the_dura(share[3, :4], head, level, meningioma)
    none = jnp.zeros_like(glioma.radius)
    absent = glioma._replace(radius=none - 1e3, oedema=none, push=none, cleft=none)
    kinds = jnp.stack([jnp.stack(k) for k in (absent, glioma, meningioma, pituitary)])
    return Lesion(*kinds[label])


def _grade(share: Scalar, glioma: Lesion) -> Lesion:
    """One glioma in six is of low grade: it does not enhance; one in four has no necrosis."""
    core = jnp.where(share > 0.75, 0.75 * glioma.rim_value, glioma.core_value)
    low = share < 0.16
    return glioma._replace(
        core_value=jnp.where(low, 1.0, core / glioma.rim_value),
        rim_value=jnp.where(low, 0.24, glioma.rim_value),
        radius=jnp.where(low, 1.2, 1.0) * glioma.radius,
    )


def _brain_radius(head: Head, level: Scalar, angle: Scalar) -> Scalar:
    """Distance from the axis to the dura in mm, in the direction `angle` from the front."""
    x, y = 80.0 * jnp.sin(angle), 80.0 * jnp.cos(angle)
    z = level + head.pitch * (y - 24.0) + head.roll * x
    return 80.0 + anatomy.skull_depth(head, x, y, z) - anatomy.wall(head, x, y, z)


def _in_the_white_matter(share: Array, head: Head, level: Scalar, lesion: Lesion) -> Lesion:
    """Any lobe; at the level of the sella the temporal lobes and the cerebellum."""
    sellar = level < SELLAR[1]
    behind = sellar & (share[2] < 0.3)
    front = jnp.where(behind, 2.35, jnp.where(sellar, 1.25, 0.45))
    back = jnp.where(behind, 2.75, jnp.where(sellar, 1.9, 2.7))
    turn = jnp.where(share[0] < 0.5, -1.0, 1.0) * (front + (back - front) * share[1])
    distance = (0.48 + 0.2 * share[3]) * _brain_radius(head, level, turn)
    return lesion._replace(x=distance * jnp.sin(turn), y=distance * jnp.cos(turn))


def _on_the_dura(share: Array, head: Head, level: Scalar, lesion: Lesion) -> Lesion:
    """On the convexity, or (one in four well above the sella) on the falx."""
    front = jnp.where(level < SELLAR[1], 1.2, 0.25)
    side = jnp.where(share[0] < 0.5, -1.0, 1.0)
    turn = side * (front + (2.75 - front) * share[1])
    distance = _brain_radius(head, level, turn) - (0.55 + 0.3 * share[2]) * lesion.radius
    falx = (share[3] < 0.25) & (level > 28.0)
    ahead = jnp.where(jnp.abs(turn) < 1.4, 58.0, -55.0)
    return lesion._replace(
        x=jnp.where(falx, side * 0.8 * lesion.radius, distance * jnp.sin(turn)),
        y=jnp.where(falx, ahead, distance * jnp.cos(turn)),
    )


def displace(lesion: Lesion, at: Pixels) -> Pixels:
    """Where each pixel's tissue lay before the tumour grew: `r' = sqrt(r^2 - push R^2)`."""
    x, y = at.x - lesion.x, at.y - lesion.y
    squared = x * x + y * y
    pushed = lesion.push * jnp.maximum(lesion.radius, 0.0) ** 2 * jnp.exp(-squared / 60.0**2)
    shrink = jnp.sqrt(jnp.clip(1.0 - pushed / (squared + 1.0), 0.05))
    return at._replace(x=lesion.x + x * shrink, y=lesion.y + y * shrink)


def paint(key: Key, lesion: Lesion, at: Pixels, healthy: Healthy) -> tuple[Field, Field]:
    """Paints the tumour into the slice: its image, and the signed distance to the tumour."""
    size = at.x.shape[0]
    coarse, fine, mottle = smooth_noise(key, 13, 26, 32, size=size)
    x, y = at.x - lesion.x, at.y - lesion.y
    cos, sin = jnp.cos(lesion.tilt), jnp.sin(lesion.tilt)
    along, across = (x * cos + y * sin) / lesion.stretch, (y * cos - x * sin) * lesion.stretch
    rough = lesion.ragged * (coarse + 0.6 * fine)
    distance = jnp.hypot(along, across) - lesion.radius * (1.0 + jnp.clip(rough, -0.5, 0.6))
    distance = jnp.maximum(distance, -healthy.depth)
    reach = lesion.reach * (1.0 + 0.5 * fine)
    swollen = lesion.oedema * healthy.parenchyma * jax.nn.sigmoid((reach - distance) / 1.5)
    image = healthy.image * (1.0 - swollen)
    image = mix(
        image,
        0.12,
        cover(jnp.abs(distance) - lesion.cleft, at.width) * (lesion.cleft > 0) * healthy.parenchyma,
    )
    thickness = lesion.rim * (1.0 + 0.45 * coarse)
    value = lesion.rim_value * (1.0 + lesion.texture * mottle)
    value = mix(value, value * lesion.core_value, cover(distance + thickness, at.width + 1.0))
    return mix(image, value, cover(distance, jnp.hypot(at.width, lesion.fringe))), distance
