"""Where does the relevance lie? Shares of |map| by region, and agreement with a mask.

Every measure is a function of ONE image, its map and its mask (`[*space]`, True inside the object).
The relevance of a pixel is |map| summed over channels, so that signed maps have shares in [0, 1].
Which axes of a map are channels, the mask says: those that it has not.

What is not defined is NaN, and `exclusions` counts it; it is never a hit:

- an empty mask, a map without relevance (all zero) or with a value not finite: NaN everywhere;
- an empty region (a head that fills the image has no background): share 0, density NaN;
- a constant map is no special case: ties count by their expectation, so it scores exactly chance.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxsal.metrics import ranks
from jaxsal.metrics._relevance import Mask, check_mask, hits_among_top, placings
from jaxsal.metrics._relevance import relevance as relevance_of
from jaxsal.metrics.regions import REGIONS, distance
from jaxsal.metrics.regions import regions as part
from jaxsal.rewrite.axes.spatial import checked
from jaxsal.types import Image, Map, Scalar, ScoreFn, may_be_nan, usual_axes


@may_be_nan
def relevance_mass(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """Relevance mass accuracy: `sum of |map| in the mask / sum of |map|` (Arras et al. 2022)."""
    del image
    relevance, defined = relevance_of(score, map, mask)
    return jnp.where(defined, _share(relevance, mask), jnp.nan)


@may_be_nan
def rank_accuracy(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """Relevance rank accuracy: `|top-K pixels in the mask| / K`, K = |mask| (Arras et al. 2022).

    Pixels tied at the K-th place share the places left: the expectation over random orders.
    """
    del image
    relevance, defined = relevance_of(score, map, mask)
    k = jnp.sum(mask)
    hits = hits_among_top(relevance, mask, k)
    return jnp.where(defined, hits / k.astype(hits.dtype), jnp.nan)


@may_be_nan
def pointing_game(
    score: ScoreFn | None,
    image: Image | None,
    map: Map,
    *,
    mask: Mask,
    tolerance: float | int = 0,
) -> Scalar:
    """Pointing game: is the most relevant pixel inside the mask? (Zhang et al. 2018)

    Where several pixels share the maximum: the fraction of them inside. A pixel at most `tolerance`
    pixels away from the mask counts as inside (15 in the paper, on photographs).
    """
    del image
    relevance, defined = relevance_of(score, map, mask)
    top = relevance == jnp.max(relevance)
    inside = mask if tolerance == 0 else distance(mask) <= tolerance
    return jnp.where(defined, jnp.sum(top & inside) / jnp.sum(top), jnp.nan)


@may_be_nan
def roc_auc(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """ROC AUC of |map| as a classifier of the mask's pixels; NaN too for a mask of all pixels."""
    del image
    relevance, defined = relevance_of(score, map, mask)
    ordered, hits = ranks.sort_marked(relevance.ravel(), mask.ravel())
    return jnp.where(defined, ranks.roc_auc_in_order(ordered, hits), jnp.nan)


MEASURES = {
    "relevance_mass": relevance_mass,
    "rank_accuracy": rank_accuracy,
    "pointing_game": pointing_game,
    "roc_auc": roc_auc,
}
"""Agreement of a map with a mask, each in [0, 1], higher is better."""


@may_be_nan
def region_measures(
    score: ScoreFn | None,
    image: Image | None,
    map: Map,
    *,
    mask: Mask,
    regions: dict[str, Bool[Array, "*space"]],
) -> dict[str, dict[str, Scalar]]:
    """Share, density and area of each region (`jaxsal.metrics.regions.regions`) of one image.

    `share = sum of |map| in the region / sum of |map|`, `area = the region's pixels / all pixels`,
    `density = share / area`: 1 is what a map even over the image gives. On a black background
    most maps are zero; what to compare them with is a map even over the head
    (`jaxsal.metrics.even_in_head`).
    """
    del image
    relevance, defined = relevance_of(score, map, mask)

    def measure(region: Array) -> dict[str, Scalar]:
        share = jnp.where(defined, _share(relevance, region), jnp.nan)
        area = jnp.mean(region, dtype=jnp.float32)
        return {"share": share, "density": share / jnp.where(area > 0, area, jnp.nan), "area": area}

    return {name: measure(region) for name, region in regions.items()}


def localize(
    maps: Any,
    masks: Any,
    images: Any,
    *,
    width: float | int = 0.5,
    spatial_axes: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """All localization measures of N images at once, on the device.

    Args:
        maps: `[N, *space]` or signed, of the images' shape, numpy or jax; or a dict of such, by
            method: the regions are then found once for all.
        masks: bool `[N, *space]`, True in the tumour.
        images: float `[N, *space]` with channels anywhere; the head is found in them.
        width: width of the surround, in equivalent diameters of the tumour.
        spatial_axes: of one image; None: those of the masks' lengths, of several the usual ones.

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
        check_mask(batch, masks, batch=1)
    choices = placings(images.shape[1:], masks.shape[1:])
    usual = usual_axes(images.shape[1:])
    axes = checked(spatial_axes, images.ndim - 1)
    axes = axes or (usual if usual in choices else (*choices, None)[0])
    if images.shape[:1] != masks.shape[:1] or axes not in choices:
        raise ValueError(
            f"images {images.shape}: expected {masks.shape} as the masks, and channels"
        )
    maps = {
        name: _channels_last(b, axes) if b.ndim == images.ndim else b for name, b in maps.items()
    }
    images = _channels_last(images, axes)
    measures = jax.tree.map(np.asarray, _localize(list(maps.values()), masks, images, width=width))
    table = {name: _ordered(measures, column) for column, name in enumerate(maps)}
    return table if several else table[""]


def exclusions(maps: Any, masks: Any) -> dict[str, int]:
    """How many of N examples have undefined measures, by reason; each example counts once.

    Args:
        maps: `[N, *space]`, with or without channels. masks: bool `[N, *space]`.
    """
    maps, masks = np.asarray(maps), np.asarray(masks)
    check_mask(maps, masks, batch=1)
    empty = ~masks.any(tuple(range(1, masks.ndim)))
    top = np.abs(maps).max(tuple(range(1, maps.ndim)))
    return {
        "empty mask": int(empty.sum()),
        "map not finite": int((~empty & ~np.isfinite(top)).sum()),
        "map without relevance": int((~empty & (top == 0)).sum()),
    }


def _channels_last(batch: Array, axes: tuple[int, ...]) -> Array:
    """`[N, ...]` as `[N, *space, channels]`."""
    moved = jnp.moveaxis(batch, [axis + 1 for axis in axes], range(1, len(axes) + 1))
    return moved.reshape(*moved.shape[: len(axes) + 1], math.prod(moved.shape[len(axes) + 1 :]))


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
        return jax.vmap(measure)(jnp.stack([relevance_of(None, map, mask)[0] for map in maps]))

    # In batches: thousands of large images, their sorts and distances need not be held at once.
    return lax.map(one, (maps, masks, images), batch_size=64)
