"""Integrated gradients with as many points of the path as an image needs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from jaxsal.types import Image, Refined, Scalar, ScoreFn, accumulator


class _Level(NamedTuple):
    """What is known of a path that is cut into `intervals` equal parts, and of the next halving.

    Attributes:
        whole: the trapezoid rule's map of the current points.
        simpson: Simpson's, of the current points and of every other one.
        added: the sum of the gradients, times (x - b), at the points that halve the intervals.
        done: how many of these were evaluated.
        intervals: of the current points, one less than they are.
    """

    whole: Image
    simpson: Image
    added: Image
    done: Int[Array, ""]
    intervals: Int[Array, ""]


def refined_integral(
    score: ScoreFn,
    start: Image,
    end: Image,
    *,
    tolerance: ArrayLike,
    max_steps: int,
    chunk: int,
) -> Refined:
    """The path integral by nested rules: all intervals are halved until the map is complete.

    The points of one level are among those of the next. A level gives two maps, the trapezoid
    rule's T and Simpson's (4 T - T') / 3, T' of the level before; that which is nearer to complete
    is looked at: |sum(map) - (s(x) - s(b))| <= tolerance |s(x) - s(b)|. Errors of pixels that
    cancel in the sum are not seen.

    Args:
        score, start, end: s, b and x.
        tolerance: what may be missing, as a share of |s(x) - s(b)|.
        max_steps: the most points, both ends among them, at least two.
        chunk: points evaluated at a time; no answer depends on it.
    """
    wide = accumulator(end.dtype)
    difference = end - start

    def at(position: Scalar) -> tuple[Scalar, Image]:
        value, slope = jax.value_and_grad(score)(start + position.astype(end.dtype) * difference)
        return value.astype(wide), difference.astype(wide) * slope.astype(wide)

    values, maps = jax.vmap(at)(jnp.asarray([0, 1], wide))
    change = values[1] - values[0]

    def missing(map: Image) -> Scalar:
        return jnp.abs(jnp.sum(map) - change)

    def best(level: _Level) -> Image:
        return jnp.where(missing(level.simpson) < missing(level.whole), level.simpson, level.whole)

    def met(level: _Level) -> Array:
        return missing(best(level)) <= jnp.asarray(tolerance, wide) * jnp.abs(change)

    def goes_on(level: _Level) -> Array:
        more = 2 * level.intervals + 1 <= max_steps
        return (level.done > 0) | (~met(level) & more)

    def advance(level: _Level) -> _Level:
        index = level.done + jnp.arange(chunk, dtype=jnp.int32)
        inside = index < level.intervals
        odd = 2 * jnp.minimum(index, level.intervals - 1) + 1
        found = jax.vmap(at)(odd.astype(wide) / (2 * level.intervals).astype(wide))[1]
        kept = jnp.where(jnp.expand_dims(inside, range(1, found.ndim)), found, 0)
        return _finished(level._replace(added=level.added + kept.sum(0), done=level.done + chunk))

    first = maps.mean(0)
    zero = jnp.zeros_like(first)
    none = jnp.zeros_like(change, dtype=jnp.int32)
    level = _Level(first, first, zero, none, none + 1)
    level = jax.lax.while_loop(goes_on, advance, level)
    return Refined(best(level), level.intervals + 1, met(level))


def _finished(level: _Level) -> _Level:
    """The next level, where all points that halve the intervals were evaluated."""
    complete = level.done >= level.intervals
    halved = level.whole / 2 + level.added / (2 * level.intervals).astype(level.added.dtype)
    new = _Level(
        halved,
        (4 * halved - level.whole) / 3,
        jnp.zeros_like(level.added),
        jnp.zeros_like(level.done),
        2 * level.intervals,
    )
    return jax.tree.map(lambda a, b: jnp.where(complete, a, b), new, level)
