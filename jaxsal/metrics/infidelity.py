"""Infidelity: does a map foretell how the score changes when the image does?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxsal.common.options import (
    Baseline,
    baseline_image,
    channel_axes,
    count,
    over_image,
    positive,
    scale,
    spatial_shape,
)
from jaxsal.common.points import map_points
from jaxsal.metrics._relevance import as_image, by_largest
from jaxsal.rewrite.axes.spatial import bind_axes, checked, spatial_axes, with_axes
from jaxsal.types import (
    Image,
    Key,
    Map,
    Scalar,
    ScoreFn,
    SpatialAxes,
    accumulator,
    may_be_nan,
    usual_axes,
)

Perturbation = Callable[[Key, Image], Image]
"""`perturbation(key, image) -> I`: what is taken away from the image.

Where it has an option `spatial_axes` (None), the image's are passed in.
"""


def remove_square(
    key: Key,
    image: Image,
    *,
    side: float = 0.25,
    baseline: Baseline = 0.0,
    spatial_axes: SpatialAxes | None = None,
) -> Image:
    """A random square (cube, interval) set to a baseline: `I = x - b` inside it, else 0.

    Args:
        key: consumed. image: one image, floating.
        side: as a share of each side of the image, in (0, 1]. baseline: b.
        spatial_axes: the image's; None: the metric says; a call of its own takes the usual ones.
    """
    scale("side", positive("side", side), most=1.0)
    axes = checked(spatial_axes, image.ndim) or usual_axes(image.shape)
    lengths = spatial_shape(image, axes)
    keys = jax.random.split(key, len(lengths))
    inside = jnp.ones(lengths, bool)
    for axis, (own, length) in enumerate(zip(keys, lengths, strict=True)):
        width = max(1, round(side * length))
        start = jax.random.randint(own, (), 0, length - width + 1, jnp.int32)
        position = lax.broadcasted_iota(jnp.int32, lengths, axis)
        inside &= (position >= start) & (position < start + width)
    removed = image - baseline_image(bind_axes(baseline, axes), image)
    return jnp.where(over_image(inside, image, axes), removed, 0)


def add_noise(key: Key, image: Image, *, noise: float = 0.1) -> Image:
    """Gaussian noise of deviation `noise`, in the image's units: `I ~ N(0, noise²)`.

    Args:
        key: consumed. image: one image, floating, of which the shape and the dtype count.
        noise: a number; 0 takes nothing away.

    Returns:
        The noise, of the image's shape and dtype.

    Raises:
        TypeError: noise that is no number.
        ValueError: negative noise.
    """
    return jnp.multiply(scale("noise", noise), jax.random.normal(key, image.shape, image.dtype))


@may_be_nan
def infidelity(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    perturbation: Perturbation = remove_square,
    samples: int = 50,
    normalize: bool = False,
    contributions: bool = False,
    baseline: Baseline = 0.0,
    key: Key,
    chunk: int = 1,
) -> Scalar:
    """The squared error of a map's forecast of the score's change; lower is better.

    .. math:: (1/n) Σⱼ (β Σ_p I_j(p) A(p) - (s(x) - s(x - I_j)))²

    with β = 1, or with `normalize` the best factor `E[a b] / E[a²]` of forecasts a and changes b:
    then neither the map's scale nor its sign counts, and a map that forecasts nothing (all zero)
    gets E[b²]. The map's own sign counts, unlike in metrics of |map|.

    A is a sensitivity, the score's change for a unit of the input. A map of `contributions`, which
    holds the input's factor already (input x gradient, integrated gradients, occlusion, CAMs),
    foretells `Σ_p A(p) I_j(p) / (x - b)(p)`: of a square removed, its sum there. Where x = b, I is
    not divided. A map without channels, or equal over them (as of occlusion and of segments), is of
    pixels: its value counts once for a pixel, by the mean of I / (x - b) over its channels.

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: one image, floating.
        map: of the image's shape, with or without its channels.
        perturbation: `(key, image) -> I`; `remove_square`, `add_noise`, or one's own.
        samples: n.
        normalize: whether the forecasts are scaled to fit best, as the authors' code always does;
            the default is captum's.
        contributions: whether the map holds the input's factor.
        baseline: b, from which contributions count: a number, an image, or a function of the image.
        key: the key is consumed; sample j draws from `fold_in(key, j)`.
        chunk: samples evaluated at a time.

    Raises:
        TypeError: `samples` or `chunk` is no concrete integer.
        ValueError: a map of another shape, no samples.

    References:
        Yeh, Hsieh, Suggala, Inouye & Ravikumar, "On the (In)fidelity and Sensitivity of
        Explanations", NeurIPS 2019, https://arxiv.org/abs/1901.09392
    """

    perturbation = with_axes(perturbation, score, image)

    def draw(index: Array) -> Image:
        return perturbation(jax.random.fold_in(key, index), image)

    return infidelity_over(
        score,
        image,
        as_sensitivity(score, map, image, baseline) if contributions else map,
        draw,
        samples=samples,
        normalize=normalize,
        chunk=chunk,
    )


def as_sensitivity(
    score: ScoreFn | None, map: Map, image: Image, baseline: Baseline = 0.0
) -> Image:
    """A map of contributions over what they hold of the input: `A / (x - b)`, A where x = b.

    A pixel's value, of a map without channels or equal over them, counts once for the pixel: it is
    shared evenly among the channels with x != b (all of them, where there is none).

    Args:
        score, image: whose spatial axes count. map: [*spatial] or of the image's shape.
    """
    values, axes = as_image(score, map, image), spatial_axes(score, image)
    channels = channel_axes(image, axes)
    factor = image - baseline_image(bind_axes(baseline, axes), image)
    held = factor != 0
    sharing = (held | ~jnp.any(held, channels, keepdims=True)).astype(values.dtype)
    of_pixels = jnp.all(values == jnp.max(values, channels, keepdims=True))
    share = jnp.where(of_pixels, sharing / jnp.sum(sharing, channels, keepdims=True), 1)
    return values * share / jnp.where(held, factor, 1).astype(values.dtype)


def infidelity_over(
    score: ScoreFn,
    image: Image,
    map: Map,
    draw: Callable[[Array], Image],
    *,
    samples: int,
    normalize: bool = False,
    chunk: int = 1,
) -> Scalar:
    """The deterministic core of `infidelity`: `draw` gives I_j for sample j."""
    relevance = as_image(score, map, image)

    def forecast_and_change(index: Array) -> tuple[Scalar, Scalar]:
        taken = draw(index)
        after = score(image - taken)
        return jnp.sum(taken.astype(relevance.dtype) * relevance), after.astype(
            accumulator(after.dtype)
        )

    points = np.arange(count("samples", samples))
    forecasts, after = map_points(forecast_and_change, points, chunk=count("chunk", chunk))
    before = score(image)
    changes = before.astype(after.dtype) - after
    forecasts = forecasts.astype(changes.dtype)
    if normalize:
        forecasts = _fitted(forecasts, changes)
    return jnp.mean(jnp.square(forecasts - changes))


def _fitted(forecasts: Float[Array, " n"], changes: Float[Array, " n"]) -> Float[Array, " n"]:
    """The forecasts times the factor that brings them nearest to the changes."""
    forecasts, _ = by_largest(forecasts)
    power = jnp.mean(jnp.square(forecasts))
    return forecasts * (jnp.mean(forecasts * changes) / jnp.where(power == 0, 1, power))
