"""How alike are two maps, over the image and in the head alone.

On a black background most maps are zero whatever the network says: two of them agree there, and a
rank correlation over the whole image counts that. So the head goes with each map, as one more
channel.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.stats import rankdata
from jaxtyping import Array

from experiments.head import head
from jaxsal.metrics import SIMILARITIES
from jaxsal.types import Scalar

_heads = jax.jit(jax.vmap(head))


def headed(explain: Callable[..., Array], images: Array) -> Callable[..., Array]:
    """`explain` with the head of each image as the last channel of its map."""
    heads = _heads(images)[..., None].astype(jnp.float32)

    def explained(*args: Any, **keywords: Any) -> Array:
        maps = explain(*args, **keywords)
        maps = maps if maps.ndim == images.ndim else maps[..., None]
        return jnp.concatenate([maps, heads], -1)

    return explained


def in_head(first: Array, second: Array) -> Scalar:
    """Spearman's correlation of |first| and |second| over the pixels of the head."""
    inside = first[..., -1].ravel() > 0
    count = jnp.sum(inside, dtype=jnp.float32)

    def centred(map: Array) -> Array:
        values = jnp.sum(jnp.abs(map[..., :-1]), -1).ravel()
        # All else comes before the head, which shifts the head's own ranks alike.
        rank = rankdata(jnp.where(inside, values, -1.0)) / values.size
        return jnp.where(inside, rank - jnp.sum(rank, where=inside) / count, 0)

    a, b = centred(first), centred(second)
    norm = jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))
    # What rounding leaves of a constant map's ranks is far below a single step's (1 / pixels).
    ordered = jnp.minimum(jnp.ptp(a), jnp.ptp(b)) >= 0.1 / inside.size
    ordered &= jnp.all(jnp.isfinite(first)) & jnp.all(jnp.isfinite(second))
    return jnp.sum(a * b) / jnp.where(ordered, norm, jnp.nan)


def _of_maps(similarity: Callable[[Array, Array], Scalar]) -> Callable[[Array, Array], Scalar]:
    return lambda first, second: similarity(first[..., :-1], second[..., :-1])


HEAD_SIMILARITIES = {"in_head": in_head} | {
    name: _of_maps(similarity) for name, similarity in SIMILARITIES.items()
}
"""Of two maps that `headed` has made: the rank correlation in the head, and `SIMILARITIES`."""
