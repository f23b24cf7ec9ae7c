"""Many points of one image: evaluate a function at each, a chunk at a time, and reduce.

Every path, noise and perturbation method is a reduction over points, and so is every metric that
evaluates the score many times. The points run in a `lax.scan` over chunks of vmapped points, so
that memory does not grow with their number, and the answer does not depend on the chunk. The last
chunk is padded with the last point, and padding is masked out: a weight of zero would turn an
infinite value to NaN. Accumulators are float32.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Shaped

from jaxsal.types import accumulator

Point = Any
"""A pytree of arrays."""

Points = Any
"""A pytree of arrays with one leading axis: the points."""

Blocks = Any
"""A pytree of arrays with two leading axes: the points of each chunk."""

Carry = TypeVar("Carry")
Terms = TypeVar("Terms")
"""What a function makes of a point: a pytree of arrays."""

Aux = TypeVar("Aux")
"""What a function says of a point beside its terms, kept for each point: a few numbers."""

Moments = tuple[Array, Array, Array, Array]
"""Of the points so far: how many, the first's value, the mean beside it, squared deviations."""


def sum_points(
    fun: Callable[[Point], Terms], points: Points, weights: ArrayLike, *, like: Array, chunk: int
) -> Terms:
    """Σₖ wₖ f(pₖ), in float32.

    Args:
        fun: one point to a pytree of arrays.
        points: a pytree of arrays [n, ...].
        weights: [n].
        like: an array whose placement (the mesh axes it varies over) the sum shares: the image.
        chunk: points evaluated at a time.
    """
    return sum_points_and_aux(_alone(fun), points, weights, like=like, chunk=chunk)[0]


def sum_points_and_aux(
    fun: Callable[[Point], tuple[Terms, Aux]],
    points: Points,
    weights: ArrayLike,
    *,
    like: Array,
    chunk: int,
) -> tuple[Terms, Aux]:
    """`sum_points` of the first of the pairs that `fun` gives, and the second of each point."""
    fun = _traced_once(fun)
    blocks, valid = _blocks((weights, points), chunk)

    def add(total: Terms, block: Blocks) -> tuple[Terms, Aux]:
        (weight, point), mask = block
        real = None if valid.all() else mask
        values, aux = jax.vmap(fun)(point)
        terms = jax.tree.map(lambda x: _contract(weight, x, real), values)
        return jax.tree.map(jnp.add, total, terms), aux

    total, aux = _fold(add, _zeros(fun, points, like)[0], (blocks, valid))
    return total, _unblocked(aux, _count(points))


def variance_points(
    fun: Callable[[Point], Array], points: Points, *, like: Array, chunk: int
) -> Array:
    """(1/n) Σₖ (f(pₖ) - mean)², never negative, each point evaluated once.

    Arguments as of `sum_points`.
    """
    return variance_points_and_aux(_alone(fun), points, like=like, chunk=chunk)[0]


def variance_points_and_aux(
    fun: Callable[[Point], tuple[Array, Aux]], points: Points, *, like: Array, chunk: int
) -> tuple[Array, Aux]:
    """`variance_points` of the first of the pairs that `fun` gives, and the second of each point.

    All values are taken relative to the first, so that a large mean does not cancel (E[f²] - E[f]²
    would, and turn negative). Within a chunk the variance is two-pass, first the mean, then the
    squared deviations; chunks are merged exactly, after Chan, Golub & LeVeque, "Algorithms for
    computing the sample variance", The American Statistician 1983.
    """
    fun = _traced_once(fun)
    blocks, valid = _blocks(points, chunk)
    valid = valid.astype(np.float32)

    def merge(carry: Moments, block: Blocks) -> tuple[Moments, Aux]:
        count, first, mean, squares = carry
        point, mask = block
        mask = jnp.asarray(mask, mean.dtype)
        values, aux = jax.vmap(fun)(point)
        values = values.astype(mean.dtype)
        first = jnp.where(count == 0, values[0], first)
        values = values - first[None]
        new = jnp.sum(mask)
        local = _contract(mask, values) / new
        shift, share = local - mean, new / (count + new)
        squares += _contract(mask, jnp.square(values - local[None]))
        squares += jnp.square(shift) * (count * share)
        return (count + new, first, mean + shift * share, squares), aux

    zeros = _zeros(fun, points, like)[0]
    none = jnp.zeros((), zeros.dtype)
    moments, aux = _fold(merge, (none, zeros, zeros, zeros), (blocks, valid))
    return moments[-1] / moments[0], _unblocked(aux, _count(points))


def _alone(fun: Callable[[Point], Terms]) -> Callable[[Point], tuple[Terms, tuple[()]]]:
    return lambda point: (fun(point), ())


def sum_increments(
    fun: Callable[[Point], tuple[Array, Array]], points: Points, *, like: Array, chunk: int
) -> Array:
    """Σₖ (vₖ₊₁ - vₖ) dₖ of the pairs (vₖ, dₖ) = f(pₖ), each point evaluated once, in float32.

    Where all d are one, it telescopes to the last value less the first.

    Args:
        fun: one point to a value and a direction, of shapes that broadcast.
        points: a pytree of arrays [n, ...], in order; the last direction is not used.
    """
    fun = _traced_once(fun)
    blocks, valid = _blocks(points, chunk)
    valid = valid.copy()
    valid[0, 0] = False  # nothing comes before the first point
    zeros = _zeros(fun, points, like)

    def add(carry: tuple[Array, Array, Array], block: Blocks) -> tuple[Any, None]:
        total, *last = carry
        point, mask = block
        pair = [x.astype(z.dtype) for x, z in zip(jax.vmap(fun)(point), zeros, strict=True)]
        (value, _), (old, direction) = pair, map(_shifted, last, pair)
        terms = jax.vmap(lambda after, before, d: (after - before) * d)(value, old, direction)
        total = total + _contract(jnp.asarray(mask, terms.dtype), terms, mask)
        return (total, *(x[-1] for x in pair)), None

    total = zeros[0] * zeros[1]
    return _fold(add, (total, *zeros), (blocks, valid))[0][0]


def _shifted(last: Array, values: Shaped[Array, "n ..."]) -> Shaped[Array, "n ..."]:
    """The values before these, of which `last` came before the first."""
    return jnp.concatenate([last[None], values[:-1]])


def map_points(fun: Callable[[Point], Terms], points: Points, *, chunk: int) -> Terms:
    """f(pₖ) for each point, stacked [n, ...]."""
    count = _count(points)
    blocks, _ = _blocks(points, chunk)
    if _count(blocks) == 1:
        return jax.vmap(fun)(jax.tree.map(lambda x: x[0], blocks))
    return _unblocked(lax.map(jax.vmap(fun), blocks), count)


def _unblocked(stacked: Blocks, count: int) -> Points:
    """What was made of blocks of points, of each point alone."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], stacked)


def _count(points: Points) -> int:
    return jax.tree.leaves(points)[0].shape[0]


def _blocks(points: Points, chunk: int) -> tuple[Blocks, Bool[np.ndarray, "blocks width"]]:
    """The points as [blocks, width, ...], and which of them are real [blocks, width].

    The width is evened out: 50 points in chunks of 32 are two blocks of 25, with no padding.
    """
    count = _count(points)
    number = -(-count // chunk)
    width = -(-count // number)
    index = np.arange(number * width).reshape(number, width)
    blocks = jax.tree.map(lambda x: x[np.minimum(index, count - 1)], points)
    return blocks, index < count


def _fold(
    step: Callable[[Carry, Blocks], tuple[Carry, Any]], init: Carry, blocks: Blocks
) -> tuple[Carry, Blocks]:
    if _count(blocks) == 1:  # outside a loop, XLA shares passes and picks faster convolutions
        total, aux = step(init, jax.tree.map(lambda x: x[0], blocks))
        return total, jax.tree.map(lambda x: x[None], aux)
    return lax.scan(step, init, blocks)


def _traced_once(fun: Callable[[Point], Terms]) -> Callable[[Point], Terms]:
    """`fun`, traced once for the shape of its result and for its use in the loop."""
    return jax.jit(fun, inline=True)


def _zeros(fun: Callable[[Point], Terms], points: Points, like: Array) -> Terms:
    """Zeros of the shape of `fun` at a point, varying over the mesh axes `like` varies over."""
    first = jax.tree.map(lambda x: _struct(x.shape[1:], x.dtype), points)
    return jax.tree.map(
        lambda s: jnp.zeros_like(like, shape=s.shape, dtype=accumulator(s.dtype)),
        jax.eval_shape(fun, first),
    )


def _struct(shape: tuple[int, ...], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtypes.canonicalize_dtype(dtype))


def _contract(
    weights: ArrayLike,
    values: Shaped[Array, "n ..."],
    real: Bool[Array, " n"] | Bool[np.ndarray, " n"] | None = None,
) -> Array:
    """Σₖ wₖ vₖ over the leading axis; not a dot product, which may run in a lower precision.

    Args:
        real: [n], which k count; all, if it is not given.
    """
    values = values.astype(accumulator(values.dtype))
    per_value = (-1, *(1,) * (values.ndim - 1))
    terms = jnp.asarray(weights, values.dtype).reshape(per_value) * values
    return jnp.sum(terms if real is None else jnp.where(real.reshape(per_value), terms, 0), axis=0)
