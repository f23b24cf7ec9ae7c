"""What the score loses when a part of the image is replaced by a baseline."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from jaxsal.common.options import Baseline, baseline_image, count, over_image, spatial_shape
from jaxsal.common.points import map_points
from jaxsal.methods._segments import members, over_axes, segmented, wide
from jaxsal.rewrite.axes.spatial import bind_axes, spatial_axes, with_axes
from jaxsal.rewrite.incremental_occlusion import incremental_score
from jaxsal.rewrite.occlusion.blocks import cut
from jaxsal.types import Image, Scalar, ScoreFn

Extents = int | tuple[int, ...] | list[int] | Int[np.ndarray, "..."]
"""Of a window in pixels: one for all spatial axes, or one an axis."""


def occlusion(
    score: ScoreFn,
    image: Image,
    *,
    window: Extents,
    stride: Extents | None = None,
    baseline: Baseline = 0.0,
    chunk: int = 1,
) -> Image:
    """The loss of score when a window is occluded, averaged over the windows that cover a pixel.

    .. math:: A(p) = Σ_w [p ∈ w] (s(x) - s(x with w occluded)) / Σ_w [p ∈ w]

    Along an axis of length L there are ⌈(L - window) / stride⌉ + 1 windows, from 0 in steps of
    `stride`; the last one is cut off at the border. All channels are occluded together.

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: floating; one, two, three or more spatial axes (`jaxsal.rewrite.axes.spatial`).
        window: the window's extent in pixels, one for all spatial axes or one an axis.
        stride: the step between windows, likewise; None is the window's extent (no overlap).
        baseline: what a window is filled with: a scalar, an image, or a function of the image.
        chunk: windows evaluated at a time.

    Returns:
        A map of the image's shape, float32, equal over channels.

    Raises:
        TypeError: `window`, `stride` or `chunk` is no concrete integer.
        ValueError: no spatial axes, a window larger than the image, a stride larger than the window
            (pixels between windows would have no value), a baseline of another shape.

    References:
        Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
        https://arxiv.org/abs/1311.2901
    """
    axes = spatial_axes(score, image)
    chunk, empty = count("chunk", chunk), baseline_image(bind_axes(baseline, axes), image)
    windows = _windows(spatial_shape(image, axes), window, stride)
    shape = over_axes(windows.size, axes, image.shape)
    replaced = incremental_score(score, image)

    def occluded(point: tuple[Int[Array, " axes"], Int[Array, " axes"]]) -> Scalar:
        begin, first = point
        corner = over_axes(begin, axes, [jnp.zeros((), begin.dtype)] * image.ndim)
        inside = jnp.ones(shape, bool)
        for number, axis in enumerate(axes):
            inside &= lax.broadcasted_iota(first.dtype, shape, axis) >= first[number]
        fill, seen = (cut(x, corner, shape) for x in (empty, image))
        return replaced(jnp.where(inside, fill, seen), corner)

    scores = map_points(occluded, (windows.begin, windows.first), chunk=chunk)
    losses = wide(score(image)) - wide(scores)
    found = over_image(_mean_over_coverage(losses, windows.cover), image, axes)
    return jnp.broadcast_to(found, image.shape)


occlusion.concrete = ("window", "stride")  # type: ignore[attr-defined]
occlusion.forward_only = True  # type: ignore[attr-defined]
occlusion.shares_windows = True  # type: ignore[attr-defined]


@segmented
def feature_ablation(
    score: ScoreFn,
    image: Image,
    *,
    segments: ArrayLike,
    baseline: Baseline = 0.0,
    n_segments: int | None = None,
    chunk: int = 1,
) -> Image:
    """The loss of score when a segment of the image is replaced by a baseline.

    .. math:: A(p) = s(x) - s(x with the segment of p replaced)

    Args:
        score: `score(image) -> scalar`; need not be differentiable.
        image: one image, floating, of any shape.
        segments: integers of the image's shape, or of its spatial shape: then a segment has all
            channels. Any labels. An explainer's option: one map for all images; given to its call,
            `[B, ...]`: one an image.
        baseline: what a segment is replaced by: a scalar, an image, or a function of the image.
        n_segments: how many there are at most; needed where they are traced, in a program of the
            user's own. A pixel of one more is NaN.
        chunk: segments evaluated at a time.

    Returns:
        A map of the image's shape, float32, constant over each segment.

    Raises:
        TypeError: `segments` is traced without `n_segments`, or not of integers; `chunk` or
            `n_segments` is no integer.
        ValueError: `segments` or the baseline is of another shape; more than `n_segments`.

    References:
        Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
        https://arxiv.org/abs/1311.2901, with segments for windows
    """
    chunk = count("chunk", chunk)
    empty = baseline_image(with_axes(baseline, score, image), image)
    member, number = members(segments, score, image, n_segments)

    def ablated(label: Int[Array, ""]) -> Scalar:
        return score(jnp.where(member == label, empty, image))

    scores = map_points(ablated, np.arange(number, dtype=np.int32), chunk=chunk)
    losses = wide(score(image)) - wide(scores)
    map = losses.at[member].get(mode="fill", fill_value=jnp.nan)
    return jnp.broadcast_to(map, image.shape)


class _Windows(NamedTuple):
    """Windows of one size. One that the border cuts is shifted inside and occludes its far part."""

    size: tuple[int, ...]
    begin: Int[np.ndarray, "windows axes"]  # where it starts, shifted inside
    first: Int[np.ndarray, "windows axes"]  # from where on, relative to that, it occludes
    cover: list[Bool[np.ndarray, "windows_of_axis length"]]  # whether a window occludes


def _windows(lengths: tuple[int, ...], window: Extents, stride: Extents | None) -> _Windows:
    size = _per_axis("window", window, lengths)
    step = size if stride is None else _per_axis("stride", stride, lengths)
    if any(w > n for w, n in zip(size, lengths, strict=True)):
        raise ValueError(f"window: expected at most the image's {lengths}, got {size}")
    if any(s > w for s, w in zip(step, size, strict=True)):
        raise ValueError(f"stride: expected at most the window {size}, got {step}")
    axes = list(zip(lengths, size, step, strict=True))
    starts = [s * np.arange(-(-(n - w) // s) + 1) for n, w, s in axes]
    pixels = [np.arange(n) for n in lengths]
    cover = [
        (p >= start[:, None]) & (p < start[:, None] + w)
        for p, start, w in zip(pixels, starts, size, strict=True)
    ]
    start = np.stack([grid.ravel() for grid in np.meshgrid(*starts, indexing="ij")], axis=-1)
    begin = np.minimum(start, np.subtract(lengths, size))
    return _Windows(size, begin.astype(np.int32), (start - begin).astype(np.int32), cover)


def _per_axis(name: str, value: Extents, lengths: tuple[int, ...]) -> tuple[int, ...]:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    values = value if isinstance(value, tuple | list) else (value,) * len(lengths)
    if len(values) != len(lengths):
        raise ValueError(f"{name}: expected one extent for each of {lengths}, got {value}")
    return tuple(count(name, extent) for extent in values)


def _mean_over_coverage(losses: Float[Array, " windows"], cover: list[np.ndarray]) -> Array:
    """Each pixel's mean over its windows; the windows are a grid, so axis after axis.

    Windows are chosen, not weighted by 0 and 1: one whose loss is infinite says nothing about the
    pixels that it does not cover.
    """
    total = losses.reshape([len(axis) for axis in cover])
    coverage = np.ones(())
    for axis in cover:
        total = _over_windows(total, axis)
        coverage = np.multiply.outer(coverage, axis.sum(0))
    return total / coverage.astype(total.dtype)


def _over_windows(losses: Float[Array, "windows ..."], cover: np.ndarray) -> Array:
    """[windows, ...] to [..., length]: each pixel's sum over its windows along one axis."""
    # They are neighbours: from the first one on, as many as cover the pixel.
    count = cover.sum(0)
    index = np.argmax(cover, 0) + np.arange(count.max())[:, None]
    covers = (np.arange(count.max())[:, None] < count).reshape(
        *index.shape, *(1,) * (losses.ndim - 1)
    )
    near = losses[np.minimum(index, len(cover) - 1)]
    return jnp.moveaxis(jnp.sum(jnp.where(covers, near, 0), 0), 0, -1)
