"""Guided integrated gradients: the path moves first where the gradient is small."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxsal.common.options import Baseline, baseline_image, count, numbers
from jaxsal.rewrite.axes.spatial import with_axes
from jaxsal.types import Image, Scalar, ScoreFn, accumulator


def guided_integrated_gradients(
    score: ScoreFn,
    image: Image,
    *,
    baseline: Baseline = 0.0,
    steps: int = 200,
    fraction: float | int = 0.25,
    max_dist: float | int = 0.02,
) -> Image:
    """The gradient along a path that changes the features of the smallest gradients first.

    Step k of n ends where the L1 distance to the image is that of the straight path at (k + 1) / n.
    Of the features that are not yet at the far end of their range, straight position ± `max_dist`,
    the `fraction` with the smallest |∇s| moves towards it, then the next, until the distance is
    right; features behind their range jump into it first.

    .. math:: A = Σₖ ∇s(xₖ) ⊙ (xₖ₊₁ - xₖ)

    Args:
        score: `score(image) -> scalar`, differentiable.
        image: one image, floating, of any shape.
        baseline: where the path starts: a scalar, an image of the same shape, or a function of the
            image.
        steps: n, evaluated one after another.
        fraction: the share of features that moves at a time, in (0, 1].
        max_dist: how far a feature may be from its straight position, in [0, 1]; with 0 the path is
            straight and the map that of `integrated_gradients` with the rule `riemann_left`.

    Returns:
        A map of the image's shape, float32.

    Raises:
        TypeError: `steps` is no concrete integer, `fraction` or `max_dist` no concrete number, or
            the baseline no real array.
        ValueError: no steps, a number out of range, a baseline of another shape.

    References:
        Kapishnikov, Venugopalan, Avci, Wedin, Terry & Bolukbasi, "Guided Integrated Gradients: An
        Adaptive Path Method for Removing Noise", CVPR 2021, https://arxiv.org/abs/2106.09788
    """
    count("steps", steps)
    share, reach = _number("fraction", fraction), _number("max_dist", max_dist)
    if share == 0:
        raise ValueError("fraction: expected a number in (0, 1], got 0")
    start = baseline_image(with_axes(baseline, score, image), image)
    wide = accumulator(image.dtype)
    weights = jnp.abs(image - start).astype(wide)
    ends = [(np.arange(steps) + 1) / steps]
    ends += [np.maximum(ends[0] - reach, 0), np.minimum(ends[0] + reach, 1)]
    place = int(np.floor(share * (image.size - 1)))

    def step(state: tuple[Array, Array], limits: Array) -> tuple[tuple[Array, Array], None]:
        position, total = state
        here = start + position.astype(image.dtype) * (image - start)
        gradient = jax.grad(score)(here).astype(wide)
        new = _moved(position, jnp.abs(gradient), weights, _Range(*limits), place)
        change = (new - position) * (image - start).astype(wide)
        return (new, total + change * gradient), None

    zeros = jnp.zeros_like(image, dtype=wide)
    limits = jnp.asarray(np.stack(ends, 1), wide)
    return jax.lax.scan(step, (zeros, zeros), limits)[0][1]


_Moving = tuple[Array, Scalar, Int[Array, ""]]
"""The positions, the L1 distance that is left to go, the rank of the largest gradient moved."""


class _Range(NamedTuple):
    """Of one step: the straight position it ends at, the least and the largest of a feature."""

    straight: Scalar
    least: Scalar
    most: Scalar


def _moved(
    position: Float[Array, "..."],
    gradient: Float[Array, "..."],
    weights: Float[Array, "..."],
    limits: _Range,
    place: int,
) -> Float[Array, "..."]:
    """The features' positions after a step, 0 at the baseline and 1 at the image.

    Args:
        position: before it.
        gradient: |∇s|, by which features are ordered.
        weights: |x - b|, what a feature adds to the L1 distance.
        place: of the features in order, the last that moves at a time.
    """
    position = jnp.maximum(position, limits.least)
    left = weights * (limits.most - position)
    ranks = _as_integers(jnp.where(left > 0, jax.lax.stop_gradient(gradient), jnp.inf))
    last = _as_integers(jnp.asarray(jnp.inf, gradient.dtype))
    missing = jnp.sum(weights * (limits.straight - position))
    rounds = -(-ranks.size // (place + 1))

    def move(_: object, state: _Moving) -> _Moving:
        position, missing, below = state
        first = jnp.sum(ranks <= below, dtype=jnp.int32)
        level = _smallest(ranks, jnp.minimum(first + place, ranks.size - 1))
        chosen = (ranks > below) & (ranks <= level) & (ranks < last)
        room = jnp.sum(jnp.where(chosen, left, 0))
        part = jnp.clip(missing / jnp.where(room > 0, room, 1), 0, 1)
        moved = jnp.where(chosen, position + part * (limits.most - position), position)
        full = jnp.where(chosen & (part >= 1), limits.most, moved)  # exactly, to be left out next
        return full, missing - part * room, level

    state = (position, missing, jnp.asarray(-1, ranks.dtype))
    return jax.lax.fori_loop(0, rounds, move, state)[0]


def _as_integers(values: Float[Array, "..."]) -> Int[Array, "..."]:
    """Integers in the same order: the bits of numbers that are not negative."""
    kind = jnp.dtype(f"int{8 * values.dtype.itemsize}")
    return jax.lax.bitcast_convert_type(values, kind)


def _smallest(values: Int[Array, "..."], rank: Int[Array, ""]) -> Int[Array, ""]:
    """What stands at a rank, from 0, among values that are not negative.

    Bit by bit, the highest first: a pass over the values a bit is far less than sorting them.
    """
    bits = jnp.iinfo(values.dtype).bits - 1

    def add(index: Int[ArrayLike, ""], known: Int[Array, ""]) -> Int[Array, ""]:
        larger = known | (jnp.ones_like(known) << (bits - 1 - jnp.asarray(index, known.dtype)))
        return jnp.where(jnp.sum(values < larger, dtype=jnp.int32) <= rank, larger, known)

    return jax.lax.fori_loop(0, bits, add, jnp.zeros((), values.dtype))


def _number(name: str, value: float | int) -> float:
    """A concrete number in [0, 1]."""
    array = numbers(name, value)
    if isinstance(value, bool) or array.ndim or isinstance(array, jax.core.Tracer):
        raise TypeError(f"{name}: expected a concrete number, got {value!r}")
    if not 0 <= np.asarray(array) <= 1:
        raise ValueError(f"{name}: expected a number in [0, 1], got {value!r}")
    return float(np.asarray(array))
