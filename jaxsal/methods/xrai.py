"""XRAI: regions in the order of how much attribution their pixels have."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxsal.common.options import channel_axes, count, over_image, spatial_shape
from jaxsal.methods._segments import most_labels, segments_of
from jaxsal.methods.path import integrated_gradients
from jaxsal.rewrite.axes.spatial import spatial_axes
from jaxsal.types import Image, ScoreFn, SpatialAxes

Masks = Bool[Array | np.ndarray, "masks *spatial"]


def xrai(
    score: ScoreFn,
    image: Image,
    *,
    segments: ArrayLike,
    steps: int = 100,
    algorithm: str = "full",
    min_pixels: int = 50,
    n_segments: int | None = None,
    chunk: int = 1,
) -> Image:
    """Regions by the mean attribution of their pixels, the largest first.

    The attribution is that of integrated gradients from a black and from a white image (the image's
    smallest and largest value), averaged, the largest over channels. Segments may overlap, as those
    of several scales do: "full" looks for the best one anew after each, "fast" takes them in the
    order of their means. What a segment adds to those before it is one region; segments that add
    fewer than `min_pixels` are left out, and what no region has gets its own mean.

    PAIR's XRAI makes the segments itself, by Felzenszwalb's method at the scales 50, 100, 150, 250,
    500 and 1200 (sigma 0.8, 150 pixels at least) of the image resized to 224x224 and brought to
    [-1, 1], and dilates each by 5 pixels: they overlap. `jaxsal.segments` is one partition, of
    which segments smaller than `min_pixels` have no value of their own.

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        segments: masks, bool [N, *spatial], or integer labels of the spatial shape
            (`jaxsal.segments`). An explainer's option: the same for all images; given to its call,
            `[B, ...]`: an entry an image (empty masks make their numbers even).
        steps: of integrated gradients, for each of the two baselines.
        algorithm: "full" or "fast".
        min_pixels: new ones that a segment has to add.
        n_segments: how many labels there are at most; needed where these are traced. With more the
            map is NaN.
        chunk: points of a path evaluated at a time.

    Returns:
        A map of the image's shape, float32, equal over channels; NaN where no segment has
        `min_pixels`, of segments that are traced or given to an explainer's call.

    Raises:
        TypeError: labels that are traced without `n_segments`, or neither bool nor integers;
            `steps`, `min_pixels`, `n_segments` or `chunk` is no integer.
        ValueError: masks or labels of another shape, an unknown algorithm, no segment of
            `min_pixels`.

    References:
        Kapishnikov, Bolukbasi, Viégas & Terry, "XRAI: Better Attributions Through Regions", ICCV
        2019, https://arxiv.org/abs/1906.02825
    """
    axes = spatial_axes(score, image)
    masks = masks_of(segments, score, image, axes, n_segments)
    from_ends = [
        integrated_gradients(score, image, baseline=end, steps=steps, chunk=chunk)
        for end in (jnp.min, jnp.max)
    ]
    attribution = jnp.max((from_ends[0] + from_ends[1]) / 2, channel_axes(image, axes))
    map = regions(attribution, masks, algorithm=algorithm, min_pixels=min_pixels)
    return jnp.broadcast_to(over_image(map, image, axes), image.shape)


xrai.concrete = ("segments", "n_segments")  # type: ignore[attr-defined]
xrai.bounds = {"n_segments": ("segments", most_labels)}  # type: ignore[attr-defined]


def masks_of(
    segments: ArrayLike, score: ScoreFn, image: Image, axes: SpatialAxes, most: int | None
) -> Masks:
    """Masks as they are, or one for each label."""
    space = spatial_shape(image, axes)
    kind = segments.dtype if hasattr(segments, "dtype") else np.asarray(segments).dtype
    if kind == np.dtype(bool):
        masks = segments if isinstance(segments, jax.Array) else np.asarray(segments)
        if masks.ndim != len(space) + 1 or masks.shape[1:] != space or not len(masks):
            raise ValueError(f"segments: expected masks [N, *{space}], got {masks.shape}")
        return masks
    parts = segments_of(segments, score, image, most)
    if parts.place.size != np.prod(space):
        raise ValueError(f"segments: expected one label a pixel, {space}, got {parts.place.shape}")
    labels = np.arange(parts.number, dtype=np.int32).reshape(-1, *(1,) * len(space))
    return (parts.place.reshape(1, *space) == labels) & (parts.own <= parts.number)


def regions(
    attribution: Float[Array, "*spatial"],
    masks: Masks,
    *,
    algorithm: str = "full",
    min_pixels: int = 50,
) -> Float[Array, "*spatial"]:
    """The deterministic core of `xrai`: what is done with an attribution of each pixel.

    NaN where no traced mask has `min_pixels`.

    Raises:
        TypeError: `min_pixels` is no integer.
        ValueError: an unknown algorithm, no concrete mask of `min_pixels`.
    """
    if algorithm not in ("full", "fast"):
        raise ValueError(f"algorithm: expected full or fast, got {algorithm!r}")
    least, number = max(count("min_pixels", min_pixels, least=0), 1), len(masks)
    _check_sizes(masks, least)
    values = attribution.ravel()
    inside = jnp.asarray(masks).reshape(number, -1).astype(values.dtype)
    order = jnp.argsort(-_means(inside, values, jnp.ones_like(values))[0], stable=True)

    def grown(
        step: Array | int, state: tuple[Float[Array, " p"], Float[Array, " p"]]
    ) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
        free, map = state
        candidates = inside if algorithm == "full" else inside[order[step]][None]
        means, new = _means(candidates, values, free)
        means = jnp.where(new >= least, means, -jnp.inf)
        best = jnp.argmax(means)
        chosen = candidates[best] * free * (means[best] > -jnp.inf).astype(free.dtype)
        return free * (1 - chosen), jnp.where(chosen > 0, means[best], map)

    start = (jnp.ones_like(values), jnp.zeros_like(values))
    free, map = lax.fori_loop(0, number, grown, start)
    some = jnp.any(free == 0)  # no region is no map: what is left would be all of it, in one tone
    rest = jnp.where(some, _means(free[None], values, free)[0][0], jnp.nan)
    return jnp.where(free > 0, rest, map).reshape(attribution.shape)


def _check_sizes(masks: Masks, least: int) -> None:
    """Raises where no concrete mask is large enough to be a region."""
    if isinstance(masks, jax.core.Tracer):
        return
    largest = int(np.asarray(masks).reshape(len(masks), -1).sum(1).max())
    if largest < least:
        raise ValueError(
            f"min_pixels: expected a segment of at least {least} pixels, the largest has {largest}"
        )


def _means(
    candidates: Float[Array, "n p"], values: Float[Array, " p"], free: Float[Array, " p"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The mean of each candidate's free pixels, and their number."""
    exact = lax.Precision.HIGHEST
    sums, new = (jnp.matmul(candidates, row, precision=exact) for row in (values * free, free))
    return sums / jnp.maximum(new, 1), new
