"""Region perturbation and selectivity: the score as patches go, the most relevant first.

A patch's relevance is the map summed over its pixels and channels, with its sign (`signed=False`:
|map|). Ties are in an order drawn once and for all; a map that is not finite has no curve (NaN).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxsal.common.options import Baseline, baseline_image, count, over_image, spatial_shape
from jaxsal.common.points import map_points
from jaxsal.metrics._relevance import descending_ranks, pixels
from jaxsal.metrics.baselines import minimum
from jaxsal.rewrite.axes.spatial import bind_axes, spatial_axes
from jaxsal.types import Image, Map, Scalar, ScoreFn, accumulator, may_be_nan

Curve = Float[Array, " patches"]


@may_be_nan
def region_perturbation(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    patch: int = 8,
    regions: int = 100,
    baseline: Baseline = minimum,
    signed: bool = True,
    chunk: int = 1,
) -> Curve:
    """What the score has lost after each of the most relevant patches; higher is better.

    .. math:: c_k = s(x) - s(x with the first k patches replaced),  k = 1 … regions

    Its mean is the area over the perturbation curve (AOPC), but for the zero that it begins with.

    The grid, its 8 pixels, the 100 regions and the image's minimum are Quantus 0.6's; its older
    versions place patches anywhere, without overlap.

    Args:
        score: `score(image) -> scalar`; need not be differentiable. An evaluator of
            logits scores the class's unless it has an `objective`; Quantus scores the softmax.
        image: floating; its spatial axes are those of `jaxsal.rewrite.axes.spatial`.
        map: of the image's shape, with or without its channels.
        patch: pixels a side; patches do not overlap, the last of a row is cut off at the border.
        regions: how many go, one after another; all, where there are fewer.
        baseline: what replaces them: a scalar, an image, or a function of the image.
        signed: whether relevance is the map rather than |map|.
        chunk: points of the curve evaluated at a time.

    Raises:
        TypeError: `patch`, `regions` or `chunk` is no concrete integer.
        ValueError: a patch larger than the image, a map or a baseline of another shape.

    References:
        Samek, Binder, Montavon, Lapuschkin & Müller, "Evaluating the visualization of what a Deep
        Neural Network has learned", IEEE TNNLS 2017, https://arxiv.org/abs/1509.06321
    """
    curve = _curve(score, image, map, patch, regions, baseline, signed, chunk)
    whole = score(image)
    return whole.astype(accumulator(whole.dtype)) - curve


@may_be_nan
def selectivity(
    score: ScoreFn,
    image: Image,
    map: Map,
    *,
    patch: int = 8,
    baseline: Baseline = minimum,
    signed: bool = True,
    chunk: int = 1,
) -> Curve:
    """The score after each patch, the most relevant first, until none is left; lower is better.

    .. math:: c_k = s(x with the first k patches replaced),  k = 1 … patches

    Arguments and errors as for `region_perturbation`.

    References:
        Montavon, Samek & Müller, "Methods for interpreting and understanding deep neural
        networks", Digital Signal Processing 2018, https://arxiv.org/abs/1706.07979
    """
    return _curve(score, image, map, patch, None, baseline, signed, chunk)


def _curve(
    score: ScoreFn,
    image: Image,
    map: Map,
    patch: int,
    regions: int | None,
    baseline: Baseline,
    signed: bool,
    chunk: int,
) -> Curve:
    axes = spatial_axes(score, image)
    values = pixels(score, map, image, signed=signed)
    empty = baseline_image(bind_axes(baseline, axes), image)
    member = _patches(spatial_shape(image, axes), count("patch", patch))
    number = int(member.max()) + 1
    sums = jnp.zeros(number, values.dtype).at[member].add(values)
    place = over_image(descending_ranks(sums)[member], image, axes)

    def after(gone: Int[Array, ""]) -> Scalar:
        value = score(jnp.where(place < gone, empty, image))
        return value.astype(accumulator(value.dtype))

    most = number if regions is None else min(number, count("regions", regions))
    curve = map_points(after, np.arange(1, most + 1, dtype=np.int32), chunk=count("chunk", chunk))
    return jnp.where(jnp.all(jnp.isfinite(values)), curve, jnp.nan)


def _patches(space: tuple[int, ...], side: int) -> Int[np.ndarray, "*space"]:
    """For each pixel its patch."""
    if side > min(space):
        raise ValueError(f"patch: expected at most the image's {space}, got {side}")
    member = np.zeros(space, np.int32)
    for place, length in zip(np.indices(space), space, strict=True):
        member = member * -(-length // side) + place // side
    return member.astype(np.int32)
