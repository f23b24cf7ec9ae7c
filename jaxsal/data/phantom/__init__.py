"""Synthetic axial brain MRI, T1-weighted with contrast agent, with tumour masks.

In four classes as a clinic has them; or in two that differ in the outline alone.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxsal.common.options import count as checked_count
from jaxsal.data.examples import Dataset, Examples
from jaxsal.data.phantom import anatomy, lesion, tissue
from jaxsal.data.phantom.noise import draw_noise
from jaxsal.data.phantom.shapes import SHAPES
from jaxsal.types import Key

CLASSES = tuple(lesion.KINDS)

FAMILIES: dict[str, lesion.Kinds] = {"tumours": lesion.KINDS, "shapes": SHAPES}
"""By name which classes there are: `CLASSES`; or two that differ in the outline alone."""

SMALLEST = 32
"""Pixels a side below which the pituitary is lost between the pixels."""

FOLDS = 5
CHUNK = 128


def phantom(
    key: Key, label: Int[Array, ""] | int, *, size: int, family: str = "tumours"
) -> tuple[Float[Array, "{size} {size} 1"], Bool[Array, "{size} {size}"]]:
    """Draws one synthetic slice and the pixels of its tumour.

    A random oblique plane cuts a three-dimensional model of the head; a tumour displaces the brain
    and is painted in; coil sensitivity, contrast and the magnitude of complex noise follow. The
    same key shows the same head at every size.

    Args:
        key: consumed.
        label: index into the family's classes, as `CLASSES`; may be traced.
        size: pixels a side, 32 or more; static.
        family: of `FAMILIES`; static. The same key shows the same head, and of `shapes`
            the same tumour but for its outline, whatever the label.

    Returns:
        The image, float32 [size, size, 1] in [0, 1], and the mask, bool [size, size]: the tumour
        without its oedema, empty for `no_tumor`.

    Raises:
        ValueError: `size` is below 32, or no such family.
    """
    kinds = _kinds(family)
    size = checked_count("size", size, least=SMALLEST)
    label = jnp.asarray(label, jnp.int32)
    keys = jax.random.split(key, 5)
    head = anatomy.draw_head(keys[0])
    level = lesion.draw_level(keys[1], label, kinds)
    tumour = lesion.draw_lesion(keys[2], head, level, label, kinds)
    noise = draw_noise(keys[3], size=size)
    outer, inner = anatomy.locate(head, level, noise)
    healthy = tissue.paint(noise, head, outer, lesion.displace(tumour, inner))
    image, distance = lesion.paint(noise, tumour, outer, healthy)
    return acquire(keys[4], noise.coil, image)[..., None], distance < 0.0


def _kinds(family: str) -> lesion.Kinds:
    if family not in FAMILIES:
        raise ValueError(f"family: expected one of {', '.join(FAMILIES)}, got {family!r}")
    return FAMILIES[family]


def acquire(
    key: Key, coil: Float[Array, "*space"], image: Float[Array, "*space"]
) -> Float[Array, "*space"]:
    """Coil sensitivity, gain, contrast curve and Rician noise: `|s + n1 + i n2|`."""
    amounts, noise = jax.random.split(key)
    low, high = jnp.array([0.05, 0.85, 0.8, 0.006]), jnp.array([0.22, 1.1, 1.3, 0.025])
    bias, gain, gamma, sigma = low + (high - low) * jax.random.uniform(amounts, (4,))
    image = gain * jnp.clip(image * jnp.exp(bias * coil), 0.0, 1.5) ** gamma
    # The two channels' noise in polar form: a Rayleigh amplitude and a uniform phase.
    chance, turn = jax.random.uniform(noise, (2, *image.shape))
    amplitude = sigma * jnp.sqrt(-2.0 * jnp.log1p(-chance))
    squared = image**2 + 2.0 * image * amplitude * jnp.cos(2.0 * jnp.pi * turn) + amplitude**2
    return jnp.clip(jnp.sqrt(jnp.maximum(squared, 0.0)), 0.0, 1.0)


@partial(jax.jit, static_argnames=("size", "family"))
def _generate(
    key: Key, indices: Int[Array, " N"], labels: Int[Array, " N"], *, size: int, family: str
) -> tuple[Float[Array, "N {size} {size} 1"], Bool[Array, "N {size} {size}"]]:
    keys = jax.vmap(partial(jax.random.fold_in, key))(indices)
    return jax.vmap(partial(phantom, size=size, family=family))(keys, labels)


def dataset(seed: int, count: int, *, size: int, family: str = "tumours") -> Dataset:
    """Generates `count` phantoms in chunks of one compiled program: balanced classes, shuffled.

    Every phantom is a patient of its own; folds 1 to 5 are of equal size. Example `i` depends on
    `seed`, `i` and its label only.

    Args:
        seed: of everything.
        count: number of examples, at least 1.
        size: pixels a side, 32 or more.
        family: of `FAMILIES`.

    Raises:
        ValueError: `count` is below 1, `size` below 32, or no such family.
    """
    classes = tuple(_kinds(family))
    size = checked_count("size", size, least=SMALLEST)
    count = checked_count("count", count)
    labels, folds = dealt(seed, count, classes)
    padded = -(-count // CHUNK) * CHUNK
    indices = np.arange(padded) % count
    key = jax.random.key(seed)
    chunks = [
        _generate(key, jnp.asarray(part), jnp.asarray(labels[part]), size=size, family=family)
        for part in indices.reshape(-1, CHUNK)
    ]
    images, masks = (np.concatenate([np.asarray(c[i]) for c in chunks])[:count] for i in (0, 1))
    source = f"phantom: {count} synthetic slices of {size}x{size} pixels, {family}, seed {seed}"
    return as_dataset(images, masks, labels, folds, source, classes)


def dealt(
    seed: int, count: int, classes: tuple[str, ...] = CLASSES
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Labels, balanced and shuffled, and folds of equal size."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count, dtype=np.int32) % len(classes))
    return labels, rng.permutation(np.arange(count, dtype=np.int32) % FOLDS + 1)


def as_dataset(
    images: Float[np.ndarray, "N ..."],
    masks: Bool[np.ndarray, "N ..."],
    labels: Int[np.ndarray, " N"],
    folds: Int[np.ndarray, " N"],
    source: str,
    classes: tuple[str, ...] = CLASSES,
) -> Dataset:
    """The drawn images as a dataset: each is a patient of its own."""
    names = np.array([f"{classes[label]}/{i}" for i, label in enumerate(labels)])
    patients = np.array([f"phantom-{i}" for i in range(len(labels))])
    return Dataset(Examples(images, labels, masks, folds, patients, names), classes, source)
