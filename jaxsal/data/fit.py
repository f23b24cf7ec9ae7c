"""Images and volumes made square and of a network's size, and maps brought back to their pixels."""

import functools

import numpy as np
from jaxtyping import Bool, Float, Shaped

ROUNDING = 1e-5
"""Of shares that are sums of float32."""


def fitted(
    values: Float[np.ndarray, "*space"], size: int, axes: int
) -> Float[np.ndarray, "*fitted"]:
    """The first `axes` axes made equally long with zeros, then resampled to `size`, antialiased.

    The image stays in the middle, so that nothing is stretched along one axis.
    """
    return resampled(_square(values, axes), (size,) * axes)


def _square(values: Shaped[np.ndarray, "*space"], axes: int) -> Shaped[np.ndarray, "*square"]:
    side = max(values.shape[:axes])
    around = [_around(length, side) for length in values.shape[:axes]]
    return np.pad(values, [*around, *[(0, 0)] * (values.ndim - axes)])


def covered(mask: Bool[np.ndarray, "*space"], size: int) -> Bool[np.ndarray, "*fitted"]:
    """A mask of an image that is `fitted`: what it covers at least half.

    A mask too small for that keeps what it covers most: it does not vanish.
    """
    share = _square(mask, mask.ndim).astype(np.float32)
    for axis, length in enumerate(share.shape):
        weights = _overlaps(length, size)
        share = np.moveaxis(np.tensordot(weights, share, (1, axis)), 0, axis)
    return (share > min(0.5, float(share.max())) - ROUNDING) & (share > ROUNDING)


def unfitted(
    map: Float[np.ndarray, "*fitted"], shape: tuple[int, ...], *, finer: bool = False
) -> Float[np.ndarray, "*unfitted"]:
    """A map of a `fitted` image of `shape` (without channels) at the image's own pixels.

    A map of another size than the network's image, as of a CAM, is one of all of it.

    Args:
        finer: a map of more pixels than the image keeps them.
    """
    side = max(shape)
    length = max(side, len(map)) if finer else side
    around = [_around(own, side)[0] for own in shape]
    inside = (
        slice(round(at * length / side), round((at + own) * length / side))
        for at, own in zip(around, shape, strict=True)
    )
    return resampled(map, (length,) * len(shape))[tuple(inside)]


def resampled(
    values: Float[np.ndarray, "*space"], shape: tuple[int, ...]
) -> Float[np.ndarray, "*resampled"]:
    """The first axes at other lengths, bilinear; where they become shorter, antialiased."""
    for axis, length in enumerate(shape):
        if values.shape[axis] != length:
            weights = _weights(values.shape[axis], length).astype(values.dtype)
            values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return values


def _around(length: int, side: int) -> tuple[int, int]:
    before = (side - length) // 2
    return before, side - length - before


@functools.lru_cache(64)
def _overlaps(before: int, after: int) -> Shaped[np.ndarray, "{after} {before}"]:
    """Which share of each new pixel the old ones cover: Pillow's box filter."""
    starts = np.arange(after)[:, None] * before / after
    old = np.arange(before)
    shared = np.minimum(starts + before / after, old + 1) - np.maximum(starts, old)
    return (np.maximum(shared, 0) * after / before).astype(np.float32)


@functools.lru_cache(64)
def _weights(before: int, after: int) -> Shaped[np.ndarray, "{after} {before}"]:
    """Pillow's bilinear filter: a triangle as wide as the coarser of the two grids."""
    ratio = before / after
    centres = (np.arange(after) + 0.5) * ratio
    away = np.abs(np.arange(before) + 0.5 - centres[:, None]) / max(ratio, 1.0)
    triangle = np.maximum(0.0, 1 - away)
    return triangle / triangle.sum(1, keepdims=True)
