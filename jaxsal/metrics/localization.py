"""Where does the relevance lie? Shares of |map| by region, and agreement with a mask.

Every measure is a function of ONE image, its map and its mask (`[*space]`, True inside the object).
The relevance of a pixel is |map| summed over channels, so that signed maps have shares in [0, 1].
Which axes of a map are channels, the mask says: those that it has not.

What is not defined is NaN, and `exclusions` counts it; it is never a hit:

- an empty mask, a map without relevance (all zero) or with a value not finite: NaN everywhere;
- an empty region: share 0, density NaN;
- a constant map is no special case: ties count by their expectation, so it scores exactly chance.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxsal.metrics import ranks
from jaxsal.metrics._relevance import Mask, check_mask, hits_among_top, placings
from jaxsal.metrics._relevance import relevance as relevance_of
from jaxsal.metrics.regions import distance
from jaxsal.rewrite.axes.spatial import checked
from jaxsal.types import (
    ArrayValues,
    Image,
    Map,
    Results,
    Scalar,
    ScoreFn,
    SpatialAxes,
    Tree,
    may_be_nan,
    usual_axes,
)


@may_be_nan
def relevance_mass(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """Relevance mass accuracy: `sum of |map| in the mask / sum of |map|` (Arras et al. 2022).

    Args:
        score: asked for the spatial axes alone, where the shapes leave a choice; None: without a
            model these are `jaxsal.types.usual_axes`.
        image: not looked at.
        map: floating, of the shape of the mask, or with channels, which are summed.
        mask: bool `[*space]`, True inside the object.

    Returns:
        A number in [0, 1], float32; NaN where it is not defined: of an empty mask, and of a map
        that is all zero or not finite.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: a mask that is not of the spatial shape of the map.
    """
    del image
    relevance, defined = relevance_of(score, map, mask)
    return jnp.where(defined, _share(relevance, mask), jnp.nan)


@may_be_nan
def rank_accuracy(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """Relevance rank accuracy: `|top-K pixels in the mask| / K`, K = |mask| (Arras et al. 2022).

    Pixels tied at the K-th place share the places left: the expectation over random orders.

    Arguments, result and errors as for `relevance_mass`.
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

    Other arguments, result and errors as for `relevance_mass`.
    """
    del image
    relevance, defined = relevance_of(score, map, mask)
    top = relevance == jnp.max(relevance)
    inside = mask if tolerance == 0 else distance(mask) <= tolerance
    return jnp.where(defined, jnp.sum(top & inside) / jnp.sum(top), jnp.nan)


@may_be_nan
def roc_auc(score: ScoreFn | None, image: Image | None, map: Map, *, mask: Mask) -> Scalar:
    """ROC AUC of |map| as a classifier of the mask's pixels; NaN too for a mask of all pixels.

    Arguments, result and errors as for `relevance_mass`.
    """
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
    """Share, density and area of each named region of one image.

    `share = sum of |map| in the region / sum of |map|`, `area = the region's pixels / all pixels`,
    `density = share / area`: 1 is what a map even over the image gives.

    Args:
        score, image, map, mask: as for `relevance_mass`.
        regions: bool `[*space]` by name, of the mask's shape.

    Returns:
        `{region: {"share", "density", "area"}}`, each a number, float32; share and density are NaN
        where relevance mass is, and the density of an empty region.

    Raises:
        TypeError: a mask that is not bool.
        ValueError: a mask that is not of the spatial shape of the map.
    """
    del image
    relevance, defined = relevance_of(score, map, mask)

    def measure(region: Array) -> dict[str, Scalar]:
        share = jnp.where(defined, _share(relevance, region), jnp.nan)
        area = jnp.mean(region, dtype=jnp.float32)
        return {"share": share, "density": share / jnp.where(area > 0, area, jnp.nan), "area": area}

    return {name: measure(region) for name, region in regions.items()}


def localize(
    maps: ArrayValues | Mapping[str, ArrayValues],
    masks: ArrayValues,
    regions: Mapping[str, ArrayValues] = MappingProxyType({}),
    *,
    spatial_axes: SpatialAxes | None = None,
) -> dict[str, Results]:
    """All localization measures of N images at once, on the device.

    Args:
        maps: `[N, *space]`, or with channels anywhere, signed, numpy or jax; or a dict of such, by
            method.
        masks: bool `[N, *space]`, True inside the object.
        regions: bool `[N, *space]` by name, see `region_measures`.
        spatial_axes: of one map with channels; None: those of the masks' lengths, of several the
            usual ones.

    Returns:
        `{region: {"share", "density", "area"}, ..., "relevance_mass", "rank_accuracy",
        "pointing_game", "roc_auc"}` of numpy float32 arrays `[N]`, NaN where undefined; for a dict
        of maps a dict of that.

    Raises:
        ValueError: shapes that do not belong together. TypeError: masks that are not bool.
    """
    by_method = maps if isinstance(maps, Mapping) else {"": maps}
    inside = jnp.asarray(masks)
    parts = {name: jnp.asarray(region) for name, region in regions.items()}
    for name, region in parts.items():
        if region.shape != inside.shape or region.dtype != bool:
            raise ValueError(
                f"regions: expected bool {inside.shape} as the masks, got {region.dtype} "
                f"{region.shape} in {name!r}"
            )
    batches = [_channels_last(jnp.asarray(b), inside, spatial_axes) for b in by_method.values()]
    found = jax.tree.map(np.asarray, _localize(batches, inside, [*parts.values()]))
    names = (*parts, *MEASURES)  # in this order: a jitted function sorts its dicts

    def of(column: int) -> dict[str, Results]:
        own = jax.tree.map(lambda values: values[:, column], found)
        return dict(zip(names, own, strict=True))

    table = {name: of(column) for column, name in enumerate(by_method)}
    return table if isinstance(maps, Mapping) else table[""]


def exclusions(maps: ArrayValues, masks: ArrayValues) -> dict[str, int]:
    """How many of N examples have undefined measures, by reason; each example counts once.

    Args:
        maps: `[N, *space]`, with or without channels. masks: bool `[N, *space]`.
    """
    values, masks = jnp.asarray(maps), np.asarray(masks)
    check_mask(values, masks, batch=1)
    empty = ~masks.any(tuple(range(1, masks.ndim)))
    broken, blank = map(np.asarray, _without_measures(values))
    return {
        "empty mask": int(empty.sum()),
        "map not finite": int((~empty & broken).sum()),
        "map without relevance": int((~empty & blank).sum()),
    }


@jax.jit
def _without_measures(maps: Array) -> tuple[Bool[Array, " n"], Bool[Array, " n"]]:
    """Which maps are not finite and which all zero, as the measures see them: in float32, here."""
    top = jnp.max(jnp.abs(maps.astype(jnp.float32)), tuple(range(1, maps.ndim)))
    return ~jnp.isfinite(top), top == 0


def _channels_last(batch: Array, masks: Array, spatial_axes: SpatialAxes | None) -> Array:
    """Maps `[N, ...]` as `[N, *space, channels]`; those without channels as they are."""
    check_mask(batch, masks, batch=1)
    if batch.ndim == masks.ndim:
        return batch
    shape = batch.shape[1:]
    choices, usual = placings(shape, masks.shape[1:]), usual_axes(shape)
    axes = checked(spatial_axes, len(shape)) or (usual if usual in choices else choices[0])
    if axes not in choices:
        raise ValueError(f"map {shape}: expected {masks.shape[1:]} as the mask along axes {axes}")
    moved = jnp.moveaxis(batch, [axis + 1 for axis in axes], range(1, len(axes) + 1))
    return moved.reshape(*masks.shape, math.prod(moved.shape[masks.ndim :]))


def _share(relevance: Float[Array, "*space"], region: Mask) -> Scalar:
    return jnp.sum(relevance, where=region) / jnp.sum(relevance)


@jax.jit
def _localize(maps: list[Array], masks: Array, regions: list[Array]) -> list[Tree]:
    """Every measure `[N, methods]`: of the regions, then `MEASURES`."""

    def one(example: tuple[list[Array], Mask, list[Mask]]) -> list[Tree]:
        maps, mask, regions = example
        numbered = {str(i): region for i, region in enumerate(regions)}

        def measure(map: Array) -> list[Tree]:
            shares = region_measures(None, None, map, mask=mask, regions=numbered)
            return [
                *(shares[number] for number in numbered),
                *(measure(None, None, map, mask=mask) for measure in MEASURES.values()),
            ]

        # Of one shape without channels, so that one program serves all methods.
        return jax.vmap(measure)(jnp.stack([relevance_of(None, map, mask)[0] for map in maps]))

    # In batches: thousands of large images and their sorts need not be held at once.
    return lax.map(one, (maps, masks, regions), batch_size=64)
