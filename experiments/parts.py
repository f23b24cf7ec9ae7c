"""A head reduced to one of its parts or properties: what is left may still tell its class.

Functions of ONE `Scene`, on the device; all else of the image is black.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Bool, Float

from experiments.head import head
from jaxsal.metrics import impute
from jaxsal.metrics.regions import distance, ring
from jaxsal.types import Image, Key

SURROUND = 0.5  # equivalent diameters of the tumour, as in the study
RIM = 0.1  # how much of the head's equivalent diameter is skull and scalp
COARSE = 8  # values along each side of a blurred image
QUANTILES = 1001  # of the grey values of all heads
SHIFT = 0.1  # of the image's side: more than training varies


class Scene(NamedTuple):
    """An image, and what its parts are.

    Attributes:
        mask: of the tumour. inside: of the head, tumour included.
        matched: the image with the grey values of all heads in the place of its own.
        key: of what is drawn.
    """

    image: Image
    mask: Bool[Array, "height width"]
    inside: Bool[Array, "height width"]
    matched: Image
    key: Key


def scene(image: Image, mask: Bool[Array, "height width"], matched: Image, key: Key) -> Scene:
    return Scene(image, mask, head(image) | mask, matched, key)


def untouched(seen: Scene) -> Image:
    """As it was."""
    return seen.image


def black(seen: Scene) -> Image:
    """Nothing."""
    return jnp.zeros_like(seen.image)


def tumour_alone(seen: Scene) -> Image:
    """The tumour on black: its shape, size, place and texture."""
    return _only(seen, seen.mask)


def tumour_and_surround(seen: Scene) -> Image:
    """The tumour and the ring around it, half a diameter wide."""
    return _only(seen, seen.mask | _around(seen))


def tumour_outline(seen: Scene) -> Image:
    """The tumour's shape, size and place on black, filled with the head's mean."""
    return _filled(seen, seen.mask)


def rest_of_head(seen: Scene) -> Image:
    """The head without tumour and surround, which are imputed from their neighbours."""
    return impute(seen.image, seen.mask | _around(seen))


def rest_of_head_noisy(seen: Scene) -> Image:
    """The same with noise in the gap, as strong as the rest of the head's step between pixels."""
    gap = seen.mask | _around(seen)  # a smooth patch could itself tell the class
    outside = seen.inside & ~gap
    steps = jnp.diff(seen.image, axis=1, append=seen.image[:, -1:])
    count = jnp.maximum(jnp.sum(outside, dtype=jnp.float32), 1) * seen.image.shape[-1]
    noise = jnp.sqrt(jnp.sum(steps**2, where=outside[..., None]) / (2 * count))
    drawn = noise * jax.random.normal(seen.key, seen.image.shape, seen.image.dtype)
    return jnp.where(gap[..., None], rest_of_head(seen) + drawn, seen.image)


def head_outline(seen: Scene) -> Image:
    """The head's outline, filled with its mean: the level of the slice and its pose."""
    return _filled(seen, seen.inside)


def head_blurred(seen: Scene) -> Image:
    """The head on 8x8 values: how bright its parts are."""
    height, width, channels = seen.image.shape
    few = jax.image.resize(seen.image, (COARSE, COARSE, channels), "linear")
    return jax.image.resize(few, (height, width, channels), "linear")


def skull_alone(seen: Scene) -> Image:
    """The head's rim: skull and scalp."""
    return _only(seen, _rim(seen))


def skull_masked(seen: Scene) -> Image:
    """The head without its rim."""
    return _only(seen, seen.inside & ~_rim(seen))


def histogram_matched(seen: Scene) -> Image:
    """The head with the grey values of all heads: no brightness or contrast of its own."""
    return seen.matched


def _only(seen: Scene, part: Bool[Array, "height width"]) -> Image:
    return jnp.where(part[..., None], seen.image, 0)


def _filled(seen: Scene, part: Bool[Array, "height width"]) -> Image:
    """A part in the mean of the head, all else black."""
    count = jnp.maximum(jnp.sum(seen.inside, dtype=jnp.float32), 1)
    mean = jnp.sum(seen.image, (0, 1), where=seen.inside[..., None]) / count
    return jnp.where(part[..., None], mean[None, None], 0)


def _around(seen: Scene) -> Bool[Array, "height width"]:
    return ring(seen.mask, width=SURROUND) & seen.inside


def _rim(seen: Scene) -> Bool[Array, "height width"]:
    """What of the head is nearer to its outside than a tenth of its equivalent diameter."""
    area = jnp.sum(seen.inside, dtype=jnp.float32)
    outside = jnp.pad(~seen.inside, 1, constant_values=True)  # beyond the image there is no head
    depth = distance(outside)[1:-1, 1:-1]
    return seen.inside & (depth <= RIM * 2 * jnp.sqrt(area / jnp.pi))


def _moved(rows: float, columns: float) -> Callable[[Scene], Image]:
    def shifted(seen: Scene) -> Image:
        """The image displaced, black where nothing comes in."""
        height, width, _ = seen.image.shape
        down, right = round(rows * height), round(columns * width)
        padded = jnp.pad(seen.image, ((abs(down),) * 2, (abs(right),) * 2, (0, 0)))
        top, left = abs(down) - down, abs(right) - right
        return padded[top : top + height, left : left + width]

    return shifted


PARTS: dict[str, tuple[Callable[[Scene], Image], ...]] = {
    "untouched": (untouched,),
    "tumour alone": (tumour_alone,),
    "tumour's outline alone": (tumour_outline,),
    "tumour and surround alone": (tumour_and_surround,),
    "rest of head alone": (rest_of_head,),
    "rest of head, noise in the gap": (rest_of_head_noisy,),
    "head's outline alone": (head_outline,),
    "head blurred": (head_blurred,),
    "skull alone": (skull_alone,),
    "skull masked": (skull_masked,),
    "histogram matched": (histogram_matched,),
    "head shifted": tuple(
        _moved(*by) for by in ((SHIFT, 0.0), (-SHIFT, 0.0), (0.0, SHIFT), (0.0, -SHIFT))
    ),
    "black": (black,),
}
"""By name what is left; of several ways to do it, the answers are averaged."""


def matched(
    images: Float[np.ndarray, "batch height width channels"],
) -> Float[np.ndarray, "batch height width channels"]:
    """Each head with the grey values of all heads together; what is not head stays as it is.

    The value of rank r among a head's n pixels becomes the quantile (r - 1/2) / n of all heads'.
    """
    heads = np.asarray(jax.jit(jax.vmap(head))(images))
    shares = np.linspace(0, 1, QUANTILES)
    every = np.quantile(images[heads], shares, axis=0)
    changed = images.copy()
    for image, inside in zip(changed, heads, strict=True):
        own = image[inside]
        ranks = (scipy.stats.rankdata(own, axis=0) - 0.5) / max(len(own), 1)
        for channel, values in enumerate(every.T):
            image[inside, channel] = np.interp(ranks[:, channel], shares, values)
    return changed
