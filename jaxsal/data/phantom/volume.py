"""The phantom in three dimensions: slices of one head, and a ball for a tumour."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxsal.common.options import count as checked_count
from jaxsal.data.examples import Dataset
from jaxsal.data.phantom import SMALLEST, acquire, anatomy, as_dataset, dealt, lesion, tissue
from jaxsal.data.phantom.noise import draw_noise
from jaxsal.types import Key

HEIGHTS = (-12.0, 66.0)
"""Of the lowest and the highest slice above the sella, in mm."""


def volume(
    key: Key, label: Int[Array, ""] | int, *, size: int
) -> tuple[Float[Array, "{size} {size} {size} 1"], Bool[Array, "{size} {size} {size}"]]:
    """Draws a head as [X, Y, Z, 1], from left to right, back to front, feet to head; its tumour.

    Every slice is one of `phantom.phantom`'s, of one head with one tumour, whose radius in a slice
    is that of a ball: none above and below. Voxels are flat: all heights are `HEIGHTS`.

    Args:
        key: consumed.
        label: index into `CLASSES`; may be traced.
        size: voxels a side, 32 or more; static.

    Raises:
        ValueError: `size` is below 32.
    """
    size = checked_count("size", size, least=SMALLEST)
    label = jnp.asarray(label, jnp.int32)
    keys = jax.random.split(key, 5)
    head = anatomy.draw_head(keys[0])
    centre = lesion.draw_level(keys[1], label)
    tumour = lesion.draw_lesion(keys[2], head, centre, label)
    noise = draw_noise(keys[3], size=size)

    def at(level: Float[Array, ""]) -> tuple[Array, Array]:
        radius = tumour.radius
        squared = radius * jnp.abs(radius) - (level - centre) ** 2
        ball = tumour._replace(radius=jnp.sign(squared) * jnp.sqrt(jnp.abs(squared)))
        outer, inner = anatomy.locate(head, level, noise)
        healthy = tissue.paint(noise, head, outer, lesion.displace(ball, inner))
        image, distance = lesion.paint(noise, ball, outer, healthy)
        return image, (distance < 0.0) & (label > 0)

    levels = jnp.linspace(*HEIGHTS, size)
    slices, masks = jax.lax.map(at, levels)
    seen = acquire(keys[4], jnp.broadcast_to(noise.coil, slices.shape), slices)
    # [Z, rows, columns], as a radiologist sees them: rows to the back, columns to the left.
    images, outlines = (x[:, ::-1, ::-1].transpose(2, 1, 0) for x in (seen, masks))
    return images[..., None], outlines


@partial(jax.jit, static_argnames="size")
def _generate(
    key: Key, indices: Int[Array, " N"], labels: Int[Array, " N"], *, size: int
) -> tuple[Array, Array]:
    def one(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        return volume(jax.random.fold_in(key, pair[0]), pair[1], size=size)

    return jax.lax.map(one, (indices, labels))


def dataset(seed: int, count: int, *, size: int) -> Dataset:
    """Generates `count` heads: balanced classes, shuffled, each a patient of its own.

    Arguments and errors as of `phantom.dataset`.
    """
    size = checked_count("size", size, least=SMALLEST)
    count = checked_count("count", count)
    labels, folds = dealt(seed, count)
    found = _generate(jax.random.key(seed), jnp.arange(count), jnp.asarray(labels), size=size)
    images, masks = (np.asarray(each) for each in found)
    source = f"phantom: {count} synthetic heads of {size}x{size}x{size} voxels, seed {seed}"
    return as_dataset(images, masks, labels, folds, source)
