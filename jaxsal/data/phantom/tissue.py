"""The healthy slice: what a T1-weighted scan with contrast agent shows of `anatomy`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxsal.data.phantom import anatomy
from jaxsal.data.phantom.anatomy import Field, Head, Pixels, band, cover, ellipsoids, length, mix
from jaxsal.data.phantom.noise import Noise


class Healthy(NamedTuple):
    """A slice without tumour, and where brain tissue is."""

    image: Field
    parenchyma: Field
    depth: Field


def paint(noise: Noise, head: Head, outer: Pixels, inner: Pixels) -> Healthy:
    """Paints skull, brain and skull base.

    Args:
        noise: makes it irregular.
        head: the person.
        outer: where pixels lie for the skull.
        inner: where they lie for the brain, which a tumour may displace.
    """
    depth = anatomy.skull_depth(head, outer.x, outer.y, outer.z)
    dura = anatomy.wall(head, outer.x, outer.y, outer.z)
    image = _skull(head, outer, depth, dura, noise)
    brain, share = _brain(head, inner, depth - dura, noise)
    image = mix(image, brain, cover(dura - depth, outer.width))
    image = _dura_and_sinuses(head, inner, outer, depth - dura, image)
    image = _skull_base(head, outer, depth, dura, noise, image)
    image = _sella(head, inner, noise, image)
    return Healthy(image, share * cover(dura - depth, outer.width), depth - dura)


def _skull(head: Head, at: Pixels, depth: Field, dura: Field, noise: Noise) -> Field:
    fat_end = head.skin + head.fat
    bone_start = dura - head.bone
    diploe = depth - (dura - 0.5 * head.bone)
    image = 0.0 * depth
    image = mix(image, 0.45 * head.scalp, cover(-depth, at.width))
    image = mix(image, head.scalp * (1.0 + 0.08 * noise.bone), cover(head.skin - depth, at.width))
    image = mix(image, 0.32 + 0.04 * noise.vessel, cover(fat_end - depth, at.width))
    image = mix(image, 0.03, cover(bone_start - depth, at.width))
    marrow = band(diploe, 0.24 * head.bone * (1.0 + 0.4 * noise.bone), at.width)
    return mix(image, head.marrow, jnp.clip(marrow, 0.0, 1.0))


def _brain(head: Head, at: Pixels, depth: Field, noise: Noise) -> tuple[Field, Field]:
    width, side = at.width, jnp.abs(at.x)
    fluid, grey = head.fluid * head.white, head.grey * head.white
    near, deepest, sulcus = _folds(head, at, depth, noise)
    half = head.sulcus * (1.0 - 0.5 * jnp.clip(depth / deepest, 0.0, 1.0))
    patchy = 1.0 - head.patches * jnp.clip(noise.patch - 0.6, 0.0, 1.0)
    brain = mix(head.white * patchy, grey, cover(near - half - head.cortex, width))
    brain = mix(brain, 0.96 * grey, cover(ellipsoids(anatomy.DEEP_GREY, side, at.y, at.z), width))
    swell = head.ventricle * (1.0 + head.ventricle_skew * jnp.sign(at.x))
    ventricles = jnp.minimum(
        ellipsoids(anatomy.VENTRICLES, side / swell, at.y / head.ventricle**0.2, at.z) * swell,
        ellipsoids(anatomy.CISTERNS, side, at.y, at.z),
    )
    brain = brain * (1.0 + 0.03 * noise.grain)
    wet = jnp.maximum(band(sulcus, half, width), cover(ventricles, width + 0.8))
    wet = jnp.maximum(wet, jnp.where(depth < head.subarachnoid, cover(near - half, width), 0.0))
    brain = mix(brain, fluid, wet)
    bright = band(sulcus, 0.8, width) * jnp.clip(noise.vessel - 1.6 + head.vessels, 0.0, 1.0)
    brain = mix(brain, head.blood, bright)
    plexus = cover(ellipsoids(anatomy.CHOROID, side, at.y, at.z, head.choroid), width)
    brain = mix(brain, 0.9 * head.blood, plexus)
    brain, behind = _hindbrain(head, at, brain, noise)
    return brain, jnp.maximum(jnp.where(depth > head.subarachnoid, 1.0 - wet, 0.0), behind)


def _folds(head: Head, at: Pixels, depth: Field, noise: Noise) -> tuple[Field, Field, Field]:
    """Distances to the brain's folded surface, the sulci's reach, and to the nearest sulcus."""
    side = jnp.abs(at.x) - 28.0
    core = 40.0 * (jnp.sqrt(((at.y + 2.0) / 50.0) ** 2 + ((at.z - 14.0) / 36.0) ** 2 + 1e-6) - 1.0)
    fissure = length(at.x, jnp.maximum(-core, 0.0))
    depth = jnp.minimum(depth - head.subarachnoid, fissure - 0.8)
    # The phase's zeros are the sulci; its gradient turns phase into millimetres.
    squared = side * side + at.y * at.y + 60.0
    twist = 3.0 * noise.fold
    phase = head.folds * jnp.arctan2(at.y, side) + jnp.sign(at.x) * head.fold_phase + twist
    rows, columns = jnp.gradient(twist)
    gradient_x = -head.folds * at.y / squared * jnp.sign(at.x) + columns / at.pitch
    gradient_y = head.folds * side / squared - rows / at.pitch
    wrapped = phase - 2 * jnp.pi * jnp.round(phase / (2 * jnp.pi))
    across = wrapped / (length(gradient_x, gradient_y) + 0.06)
    deepest = jnp.clip(13.0 + 9.0 * noise.deep, 2.0, 25.0)
    sulcus = length(across, jnp.maximum(depth - deepest, 0.0))
    return jnp.minimum(depth, sulcus), deepest, sulcus


def _hindbrain(head: Head, at: Pixels, brain: Field, noise: Noise) -> tuple[Field, Field]:
    width, side = at.width, jnp.abs(at.x)
    fluid, grey = head.fluid * head.white, head.grey * head.white
    stem = ellipsoids(anatomy.BRAINSTEM, side, at.y, at.z)
    cerebellum = ellipsoids(anatomy.CEREBELLUM, side, at.y, at.z)
    brain = mix(brain, fluid, 0.9 * cover(stem - 2.2 - 1.2 * noise.lump, width + 1.2))
    tentorium = band(cerebellum - 1.5, 0.6, width) * jnp.clip(0.4 + 0.5 * noise.patch, 0.0, 1.0)
    brain = mix(brain, 0.6 * head.blood, tentorium)
    stripes = jnp.cos(1.25 * length(0.6 * side, at.y + 8.0) + 2.5 * noise.vessel)
    # Folia finer than two pixels would alias.
    folia = 1.0 + 0.07 * jnp.exp(-((0.45 * width) ** 2)) * stripes + 0.04 * noise.grain
    brain = mix(
        brain, fluid, band(cerebellum, 0.7, width) * jnp.clip(0.6 + 0.5 * noise.deep, 0.2, 1.0)
    )
    brain = mix(brain, 1.04 * grey * folia, cover(cerebellum, width))
    core = ellipsoids(((17.0, -40.0, -13.0, 15.0, 11.0, 18.0),), side, at.y, at.z)
    brain = mix(brain, head.white, 0.8 * cover(core + 3.0 * noise.deep, width + 2.0))
    brain = mix(brain, 0.97 * head.white * (1.0 + 0.03 * noise.grain), cover(stem, width))
    fourth = ellipsoids(anatomy.VENTRICLES[-1:], side, at.y, at.z, head.ventricle)
    behind = jnp.maximum(cover(cerebellum, width), cover(stem, width))
    return mix(brain, fluid, cover(fourth, width)), behind


def _dura_and_sinuses(
    head: Head, inner: Pixels, outer: Pixels, depth: Field, image: Field
) -> Field:
    width, side = outer.width, jnp.abs(inner.x)
    core = jnp.sqrt(((inner.y + 2.0) / 50.0) ** 2 + ((inner.z - 14.0) / 36.0) ** 2 + 1e-6) - 1.0
    hind = ellipsoids(anatomy.CEREBELLUM, side, inner.y, inner.z)
    between = cover(-40.0 * core, width) * cover(-hind, width) * cover(-depth, width)
    image = mix(image, head.fluid * head.white, band(side, 1.3, width) * between)
    image = mix(image, 0.75 * head.blood, band(side, 0.5, width) * between)
    image = mix(image, 0.6 * head.blood, band(depth, 0.5, width))
    sagittal = length(outer.x, jnp.abs(depth - 1.5)) - head.sinus * 0.8
    along = jnp.where(outer.y < 0.0, 1.0, jax.nn.sigmoid((outer.z - 30.0) / 4.0))
    image = mix(image, head.blood, cover(sagittal, width) * along * cover(-depth, width))
    transverse = jnp.abs(depth - 0.5 * head.sinus) - 0.5 * head.sinus
    along = jnp.exp(-(((outer.z + 2.0) / 5.0) ** 2)) * jax.nn.sigmoid((-30.0 - outer.y) / 4.0)
    return mix(image, head.blood, cover(transverse, width) * along)


def _skull_base(
    head: Head, at: Pixels, depth: Field, dura: Field, noise: Noise, image: Field
) -> Field:
    width, side = at.width, jnp.abs(at.x)
    within = cover(head.skin + head.fat - depth, width)
    # The temporal poles reach forward between the midline and the skull.
    pole = 12.0 * jnp.exp(-(((side - 38.0) / 17.0) ** 2)) + 3.0 * noise.fold
    front = 38.0 + pole + 3.5 * jnp.maximum(at.z, -2.0) - at.y
    ethmoid = 0.2 + 0.15 * jnp.cos(0.9 * side + noise.bone)
    face = mix(ethmoid, 0.3 + 0.05 * noise.vessel, cover(14.0 - side, width))
    orbit = ellipsoids(((30.0, 60.0, -3.0, 18.0, 26.0, 17.0),), side, at.y, at.z)
    face = mix(face, 0.05, cover(orbit - 2.0, width))
    face = mix(face, 0.85 * head.scalp, cover(orbit, width))
    face = mix(face, 0.4, cover(ellipsoids(anatomy.EYE_MUSCLES, side, at.y, at.z), width))
    globe = ellipsoids(anatomy.GLOBES, side, at.y, at.z)
    face = mix(face, 0.45, cover(globe - 0.8, width))
    face = mix(face, 0.14, cover(globe + 0.8, width))
    image = mix(image, face, cover(front, width) * within)
    image = mix(image, 0.06, band(front, 1.1, width) * within)
    along, across = (
        0.85 * (side - 36.0) - 0.53 * (at.y + 6.0),
        0.53 * (side - 36.0) + 0.85 * (at.y + 6.0),
    )
    petrous = ellipsoids(((0.0, 0.0, -9.0, 27.0, 7.0, 9.0),), along, across, at.z)
    rock = 0.08 + 0.12 * jnp.clip(noise.vessel, 0.0, 2.0)
    image = mix(image, rock, cover(petrous, width) * within)
    sphenoid = ellipsoids(anatomy.SPHENOID, side, at.y, at.z)
    image = mix(image, 0.5 * head.marrow + 0.15, cover(sphenoid, width) * within)
    return mix(image, 0.01, cover(ellipsoids(anatomy.AIR, side, at.y, at.z), width) * within)


def _sella(head: Head, at: Pixels, noise: Noise, image: Field) -> Field:
    width, side = at.width, jnp.abs(at.x)
    image = mix(
        image, 0.7 * head.blood, cover(ellipsoids(anatomy.CAVERNOUS, side, at.y, at.z), width)
    )
    gland = ellipsoids(((0.0, 24.0, -1.0, 6.0, 5.0, 4.5),), side, at.y, at.z, head.gland)
    stalk = ellipsoids(((0.0, 20.5, 5.0, 1.3, 1.3, 8.0),), side, at.y, at.z)
    image = mix(image, head.blood, cover(jnp.minimum(gland, stalk), width))
    arteries = ellipsoids(anatomy.ARTERIES, side, at.y + 2.5 * noise.fold, at.z + 2.0 * noise.deep)
    image = mix(image, 0.95 * head.blood, cover(arteries, width))
    pineal = ellipsoids(((0.0, -17.0, 16.0, 1.0, 1.0, 1.3),), side, at.y, at.z, head.pineal + 0.3)
    return mix(image, 0.8 * head.blood, cover(pineal, width))
