"""Where does the relevance lie? Shares of |map| by region, and agreement with a mask.

Every measure is a function of ONE image, its map and its mask (`[*space]`, True inside the object).
The relevance of a pixel is |map| summed over channels, so that signed maps have shares in [0, 1].

What is not defined is NaN, and `exclusions` counts it; it is never a hit:

- an empty mask, a map without relevance (all zero) or with a value not finite: NaN everywhere;
- an empty region (a head that fills the image has no background): share 0, density NaN;
- a constant map is no special case: ties count by their expectation, so it scores exactly chance.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxsal import ranks
from jaxsal.regions import REGIONS
from jaxsal.regions import regions as part
from jaxsal.types import Image, Key, Map, Scalar, ScoreFn

Mask = Bool[Array, "*space"]


def relevance_mass(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """Relevance mass accuracy: `sum of |map| in the mask / sum of |map|` (Arras et al. 2022)."""
    del score, image
    relevance, defined = _relevance(map, mask)
    return jnp.where(defined, _share(relevance, mask), jnp.nan)


def rank_accuracy(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """Relevance rank accuracy: `|top-K pixels in the mask| / K`, K = |mask| (Arras et al. 2022).

    Pixels tied at the K-th place share the places left: the expectation over random orders.
    """
    del score, image
    relevance, defined = _relevance(map, mask)
    k = jnp.sum(mask)
    # The same sort as in the ROC AUC, so that XLA sorts once for both.
    ordered, _ = ranks.sort_marked(relevance.ravel(), mask.ravel())
    last = ordered[relevance.size - jnp.maximum(k, 1)]
    above, tied = relevance > last, relevance == last
    places = (k - jnp.sum(above)) / jnp.sum(tied)
    hits = jnp.sum(above & mask) + places * jnp.sum(tied & mask)
    return jnp.where(defined, hits / k, jnp.nan)


def pointing_game(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """Pointing game: is the most relevant pixel inside the mask? (Zhang et al. 2018)

    Where several pixels share the maximum: the fraction of them inside.
    """
    del score, image
    relevance, defined = _relevance(map, mask)
    top = relevance == jnp.max(relevance)
    return jnp.where(defined, jnp.sum(top & mask) / jnp.sum(top), jnp.nan)


def roc_auc(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """ROC AUC of |map| as a classifier of the mask's pixels; NaN too for a mask of all pixels."""
    del score, image
    relevance, defined = _relevance(map, mask)
    ordered, hits = ranks.sort_marked(relevance.ravel(), mask.ravel())
    return jnp.where(defined, ranks.roc_auc_in_order(ordered, hits), jnp.nan)


MEASURES = {
    "relevance_mass": relevance_mass,
    "rank_accuracy": rank_accuracy,
    "pointing_game": pointing_game,
    "roc_auc": roc_auc,
}
"""Agreement of a map with a mask, each in [0, 1], higher is better."""


def region_measures(
    score: ScoreFn | None,
    image: Image | None,
    map: Map,
    *,
    mask: Mask,
    regions: dict[str, Bool[Array, "*space"]],
) -> dict[str, dict[str, Scalar]]:
    """Share, density and area of each region (`jaxsal.regions.regions`) of one image.

    `share = sum of |map| in the region / sum of |map|`, `area = the region's pixels / all pixels`,
    `density = share / area`: 1 is what a map that knows nothing gives.
    """
    del score, image
    relevance, defined = _relevance(map, mask)

    def measure(region: Array) -> dict[str, Scalar]:
        share = jnp.where(defined, _share(relevance, region), jnp.nan)
        area = jnp.mean(region, dtype=jnp.float32)
        return {"share": share, "density": share / jnp.where(area > 0, area, jnp.nan), "area": area}

    return {name: measure(region) for name, region in regions.items()}


def localize(maps: Any, masks: Any, images: Any, *, width: float | int = 0.5) -> dict[str, Any]:
    """All localization measures of N images at once, on the device.

    Args:
        maps: `[N, *space]` or signed `[N, *space, channels]`, numpy or jax; or a dict of such, by
            method: the regions are then found once for all.
        masks: bool `[N, *space]`, True in the tumour.
        images: float `[N, *space, channels]`; the head is found in them.
        width: width of the surround, in equivalent diameters of the tumour.

    Returns:
        `{region: {"share", "density", "area"}, ..., "relevance_mass", "rank_accuracy",
        "pointing_game", "roc_auc"}` of numpy float32 arrays `[N]`, NaN where undefined; for a dict
        of maps a dict of that.

    Raises:
        ValueError: shapes that do not belong together. TypeError: masks that are not bool.
    """
    several = isinstance(maps, Mapping)
    maps = {name: jnp.asarray(batch) for name, batch in (maps if several else {"": maps}).items()}
    masks, images = jnp.asarray(masks), jnp.asarray(images)
    for batch in maps.values():
        _check(batch, masks)
    if images.shape[:-1] != masks.shape:
        raise ValueError(
            f"images {images.shape}: expected {masks.shape} as the masks, and channels"
        )
    measures = jax.tree.map(np.asarray, _localize(list(maps.values()), masks, images, width=width))
    table = {name: _ordered(measures, column) for column, name in enumerate(maps)}
    return table if several else table[""]


def exclusions(maps: Any, masks: Any) -> dict[str, int]:
    """How many of N examples have undefined measures, by reason; each example counts once.

    Args:
        maps: `[N, *space]` or `[N, *space, channels]`. masks: bool `[N, *space]`.
    """
    maps, masks = np.asarray(maps), np.asarray(masks)
    _check(maps, masks)
    empty = ~masks.any(tuple(range(1, masks.ndim)))
    top = np.abs(maps).max(tuple(range(1, maps.ndim)))
    return {
        "empty mask": int(empty.sum()),
        "map not finite": int((~empty & ~np.isfinite(top)).sum()),
        "map without relevance": int((~empty & (top == 0)).sum()),
    }


def centre_prior(score: ScoreFn | None, image: Image) -> Image:
    """A control: a Gaussian at the image's centre, its deviation a quarter of each side.

    A method like any other, blind to model and image; above chance where tumours lie centrally.
    """
    del score
    space = image.shape[:-1]
    axes = jnp.meshgrid(*((jnp.arange(n) - (n - 1) / 2) / (n / 4) for n in space), indexing="ij")
    prior = jnp.exp(-sum(axis**2 for axis in axes) / 2)
    return jnp.broadcast_to(prior[..., None], image.shape)


def uniform_random(score: ScoreFn | None, image: Image, *, key: Key) -> Image:
    """A control: independent uniform values in [0, 1). A method like any other, blind to all."""
    del score
    return jax.random.uniform(key, image.shape)


CONTROLS = {"centre prior": centre_prior, "uniform random": uniform_random}
"""Methods that know nothing of the model: what a measure must be compared with."""


def _check(map: Any, mask: Any) -> None:
    if mask.dtype != bool:
        raise TypeError(f"mask: expected bool, got {mask.dtype}")
    if mask.shape not in (map.shape, map.shape[:-1]):
        raise ValueError(
            f"map {map.shape}: expected {mask.shape} as the mask, with or without channels"
        )


def _relevance(map: Map, mask: Mask) -> tuple[Float[Array, "*space"], Bool[Array, ""]]:
    """|map| summed over channels, largest value 1, and whether measures are defined."""
    _check(map, mask)
    magnitude = jnp.abs(map.astype(jnp.float32))
    # Divided first: sums of very large or very small gradients would overflow or vanish.
    top = jnp.max(magnitude)
    magnitude = magnitude / jnp.where(top > 0, top, 1.0)
    relevance = magnitude if map.ndim == mask.ndim else jnp.sum(magnitude, axis=-1)
    return relevance, jnp.any(mask) & (top > 0) & jnp.isfinite(top)


def _share(relevance: Float[Array, "*space"], region: Mask) -> Scalar:
    return jnp.sum(relevance, where=region) / jnp.sum(relevance)


def _ordered(measures: dict[str, Any], column: int) -> dict[str, Any]:
    """One method's, regions from the inside out first: a jitted function sorts its dicts."""
    column_of = functools.partial(jax.tree.map, lambda values: values[:, column])
    return {name: column_of(measures[name]) for name in (*REGIONS, *MEASURES)}


@functools.partial(jax.jit, static_argnames="width")
def _localize(maps: list[Array], masks: Array, images: Array, *, width: float | int) -> Any:
    """Every measure `[N, methods]`."""

    def one(example: Any) -> Any:
        maps, mask, image = example
        regions = part(image, mask, width=width)

        def measure(map: Array) -> dict[str, Any]:
            lies = region_measures(None, image, map, mask=mask, regions=regions)
            return lies | {name: f(None, image, map, mask=mask) for name, f in MEASURES.items()}

        # Of one shape without channels, so that one program serves all methods.
        return jax.vmap(measure)(jnp.stack([_relevance(map, mask)[0] for map in maps]))

    # In batches: thousands of large images, their sorts and distances need not be held at once.
    return lax.map(one, (maps, masks, images), batch_size=64)
