"""Brain tumours as a contrast-enhanced T1 scan shows them: where they grow and how they look."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxsal.data.phantom import anatomy
from jaxsal.data.phantom.anatomy import Field, Head, Pixels, cover, length, mix
from jaxsal.data.phantom.noise import Noise
from jaxsal.data.phantom.tissue import Healthy
from jaxsal.types import Key, Scalar


class Lesion(NamedTuple):
    """One tumour; lengths in mm, brightness in units of the image, angles in radians.

    Attributes:
        x, y: of the centre.
        radius: of the disc that shape starts from; below zero where there is no tumour.
        stretch, tilt: of the ellipse that the disc becomes.
        ragged: irregularity of its outline, as a share of the radius.
        rim, rim_value: thickness and brightness of the enhancing rim.
        core: brightness of the rest, as a share of the rim's.
        texture: of the brightness, as a share.
        fringe: width of the transition to the brain.
        oedema, reach: share of brightness lost around the tumour, and how far.
        push: share of the tumour's area by which the brain makes room.
        cleft: half the width of the film of fluid between tumour and brain.
        inward, sunk: the centre's distance from the axis is `inward` of the dura's less `sunk`
            radii.
    """

    x: Scalar
    y: Scalar
    radius: Scalar
    stretch: Scalar
    tilt: Scalar
    ragged: Scalar
    rim: Scalar
    rim_value: Scalar
    core: Scalar
    texture: Scalar
    fringe: Scalar
    oedema: Scalar
    reach: Scalar
    push: Scalar
    cleft: Scalar
    inward: Scalar
    sunk: Scalar


Ranges = dict[str, tuple[float, float]]
"""By field of `Lesion` the range that it is drawn from; `x` and `y` are added to the place."""

Kinds = Mapping[str, Ranges]
"""By class, in the order of the labels."""

ABSENT: Ranges = dict.fromkeys(Lesion._fields, (0.0, 0.0)) | {
    "radius": (-1e3, -1e3),
    "stretch": (1.0, 1.0),
}
GLIOMA = ABSENT | {
    "radius": (14.0, 22.0),
    "stretch": (1.0, 1.35),
    "tilt": (0.0, 3.14),
    "ragged": (0.12, 0.24),
    "rim": (3.0, 6.5),
    "rim_value": (0.72, 0.95),
    "core": (0.15, 0.45),
    "texture": (0.2, 0.4),
    "fringe": (1.0, 3.0),
    "oedema": (0.25, 0.5),
    "reach": (6.0, 15.0),
    "push": (0.1, 0.5),
    "inward": (0.46, 0.68),
}
MENINGIOMA = ABSENT | {
    "radius": (11.0, 19.0),
    "stretch": (1.0, 1.2),
    "tilt": (0.0, 3.14),
    "ragged": (0.0, 0.06),
    "rim": (3.0, 5.0),
    "rim_value": (0.75, 0.98),
    "core": (0.93, 1.0),
    "texture": (0.02, 0.07),
    "fringe": (0.0, 0.6),
    "oedema": (0.0, 0.25),
    "reach": (2.0, 8.0),
    "push": (0.3, 0.8),
    "cleft": (0.6, 1.6),
    "inward": (1.0, 1.0),
    "sunk": (0.55, 0.85),
}
PITUITARY = ABSENT | {
    "x": (-1.5, 1.5),
    "y": (22.0, 26.0),
    "radius": (10.5, 15.0),
    "stretch": (1.0, 1.2),
    "tilt": (-0.1, 0.1),
    "ragged": (0.02, 0.09),
    "rim": (2.0, 4.0),
    "rim_value": (0.7, 0.95),
    "core": (0.8, 1.0),
    "texture": (0.04, 0.12),
    "fringe": (0.0, 0.6),
    "push": (0.3, 0.7),
    "cleft": (0.0, 0.8),
}
KINDS: Kinds = {
    "no_tumor": ABSENT,
    "glioma": GLIOMA,
    "meningioma": MENINGIOMA,
    "pituitary": PITUITARY,
}

SELLAR = (-3.0, 12.0)
"""Heights above the sella in mm at which a slice shows it."""

HIGHEST = 62.0


def draw_level(key: Key, label: Int[Array, ""], kinds: Kinds = KINDS) -> Scalar:
    """Draws the slice's height above the sella in mm: always within `SELLAR` for the pituitary."""
    which, where = jax.random.uniform(key, (2,))
    low, high = SELLAR
    sellar = jnp.where(_is("pituitary", label, kinds), 1.0, 0.6)
    return jnp.where(which < sellar, low + (high - low) * where, high + (HIGHEST - high) * where)


def _is(name: str, label: Int[Array, ""], kinds: Kinds) -> Bool[Array, ""]:
    """Whether the label is of this class; never where there is no such class."""
    return label == (list(kinds).index(name) if name in kinds else -1)


def draw_lesion(
    key: Key, head: Head, level: Scalar, label: Int[Array, ""], kinds: Kinds = KINDS
) -> Lesion:
    """Draws a tumour of class `label` and places it in the head."""
    looks, place = jax.random.uniform(key, (2, len(Lesion._fields)))
    table = jnp.array([[kind[name] for name in Lesion._fields] for kind in kinds.values()])
    low, high = table[label].T
    lesion = Lesion(*(low + (high - low) * looks))
    lesion = _grade(place[0], _is("glioma", label, kinds), lesion)
    angle = _direction(place[1:4], level)
    distance = lesion.inward * _brain_radius(head, level, angle) - lesion.sunk * lesion.radius
    falx = _is("meningioma", label, kinds) & (place[4] < 0.25) & (level > 28.0)
    beside = jnp.sign(angle) * 0.8 * lesion.radius
    ahead = jnp.where(jnp.abs(angle) < 1.4, 58.0, -55.0)
    return lesion._replace(
        x=lesion.x + jnp.where(falx, beside, distance * jnp.sin(angle)),
        y=lesion.y + jnp.where(falx, ahead, distance * jnp.cos(angle)),
    )


def _grade(share: Scalar, is_glioma: Bool[Array, ""], lesion: Lesion) -> Lesion:
    """One glioma in twelve is of low grade: it does not enhance; one in four has no necrosis."""
    low, solid = is_glioma & (share < 0.08), is_glioma & (share > 0.75)
    return lesion._replace(
        radius=jnp.where(low, 1.3, 1.0) * lesion.radius,
        rim_value=jnp.where(low, 0.2, lesion.rim_value),
        core=jnp.where(low, 1.0, jnp.where(solid, 0.75, lesion.core)),
    )


def _direction(share: Float[Array, "3"], level: Scalar) -> Scalar:
    """Angle from the front; at the sella's level that of a temporal lobe or of the cerebellum."""
    sellar, behind = level < SELLAR[1], share[2] < 0.35
    front = jnp.where(sellar, jnp.where(behind, 2.3, 1.2), 0.35)
    back = jnp.where(sellar & ~behind, 1.95, 2.75)
    return jnp.sign(share[0] - 0.5) * (front + (back - front) * share[1])


def _brain_radius(head: Head, level: Scalar, angle: Scalar) -> Scalar:
    """Distance from the axis to the dura in mm, in the direction `angle` from the front."""
    radius = jnp.full_like(angle, 70.0)
    for _ in range(3):  # The depth is nearly linear along a ray: three steps of Newton suffice.
        x, y = radius * jnp.sin(angle), radius * jnp.cos(angle)
        z = level + head.pitch * (y - 24.0) + head.roll * x
        radius = radius + anatomy.skull_depth(head, x, y, z) - anatomy.wall(head, x, y, z)
    return radius


def displace(lesion: Lesion, at: Pixels) -> Pixels:
    """Where each pixel's tissue lay before the tumour grew: `r' = sqrt(r^2 - push R^2)`."""
    x, y = at.x - lesion.x, at.y - lesion.y
    squared = x * x + y * y
    pushed = lesion.push * jnp.maximum(lesion.radius, 0.0) ** 2 * jnp.exp(-squared / 60.0**2)
    shrink = jnp.sqrt(jnp.clip(1.0 - pushed / (squared + 1.0), 0.05))
    return at._replace(x=lesion.x + x * shrink, y=lesion.y + y * shrink)


def paint(noise: Noise, lesion: Lesion, at: Pixels, healthy: Healthy) -> tuple[Field, Field]:
    """Paints the tumour into the slice: its image, and the signed distance to the tumour."""
    x, y = at.x - lesion.x, at.y - lesion.y
    cos, sin = jnp.cos(lesion.tilt), jnp.sin(lesion.tilt)
    along, across = (x * cos + y * sin) / lesion.stretch, (y * cos - x * sin) * lesion.stretch
    rough = lesion.ragged * (noise.lump + 0.6 * noise.ragged)
    distance = length(along, across) - lesion.radius * (1.0 + jnp.clip(rough, -0.5, 0.6))
    distance = jnp.maximum(distance, -healthy.depth)
    reach = lesion.reach * (1.0 + 0.5 * noise.ragged)
    swollen = lesion.oedema * healthy.parenchyma * jax.nn.sigmoid((reach - distance) / 1.5)
    image = healthy.image * (1.0 - swollen)
    image = mix(
        image,
        0.12,
        jnp.where(lesion.cleft > 0, cover(jnp.abs(distance) - lesion.cleft, at.width), 0.0)
        * healthy.parenchyma,
    )
    thickness = lesion.rim * (1.0 + 0.45 * noise.lump)
    value = lesion.rim_value * (1.0 + lesion.texture * noise.mottle)
    value = mix(value, value * lesion.core, cover(distance + thickness, at.width + 1.0))
    return mix(image, value, cover(distance, length(at.width, lesion.fringe))), distance
