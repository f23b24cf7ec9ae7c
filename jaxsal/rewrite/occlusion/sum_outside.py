"""The sum of what lies outside a block, from sums computed once for all positions of the block.

A sum whose block changes is the new block's sum and that of everything else. The old sum less the
old block is equal in exact arithmetic only: where the block holds most of the sum (an exponential
or a power of one bright spot), floating point cancels the rest, and an infinite block leaves NaN.
Here nothing is subtracted: only terms of the whole sum are added, so that the rounding error is no
larger than that of the whole sum.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxsal.rewrite.occlusion.blocks import Corner, Span, Spans, read_block
from jaxsal.types import accumulator


def sum_outside(array: Array, axes: Sequence[int], spans: Spans, corner: Corner) -> Array:
    """Σ over `axes` of all that lies outside a block along them.

    What is outside a box lies before or behind it along one axis, within its extent along the axes
    before that one, anywhere along those after it:

    .. math:: Σ_{outside} = Σ_a Σ_{i_1 ∈ B_1} … Σ_{i_{a-1} ∈ B_{a-1}} Σ_{i_a ∉ B_a} Σ_{i_{a+1}} …

    The sums over everything after a, beside each place of B_a, do not depend on the corner. A block
    of h x w pixels then costs h + 1 of these sums.

    Args:
        array: what is summed.
        axes: over which axes.
        spans: where the block lies; along the other axes the sum is taken at the block alone.
        corner: the corner of the window in the image.

    Returns:
        An array without `axes`, in float32 at least where it is floating.
    """
    array = array.astype(sum_dtype(array.dtype))
    moving = [axis for axis in axes if spans[axis] is not None]
    rest = jnp.sum(array, [axis for axis in axes if spans[axis] is None], keepdims=True)
    total = jnp.zeros((), array.dtype)
    for number, axis in enumerate(moving):
        span = spans[axis]
        assert span is not None  # by the choice of `moving`
        behind = moving[number + 1 :]
        beside = _beside(jnp.sum(rest, behind, keepdims=True), axis, span.size)
        at: list[Span | None] = [
            None if place in axes and place not in moving[:number] else other
            for place, other in enumerate(spans)
        ]
        at[axis] = span._replace(size=1)
        total += jnp.sum(read_block(beside, tuple(at), corner), axes)
    return total


def sum_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype of partial sums: float32 at least where it is floating."""
    return accumulator(dtype) if jnp.issubdtype(dtype, jnp.floating) else dtype


def _beside(array: Array, axis: int, size: int) -> Array:
    """The sum of all but `size` elements along an axis, for each place of the first of them."""
    length = array.shape[axis]
    before = lax.cumsum(lax.slice_in_dim(array, 0, length - size, axis=axis), axis)
    after = lax.cumsum(lax.slice_in_dim(array, size, length, axis=axis), axis, reverse=True)
    return _padded(before, axis, (1, 0)) + _padded(after, axis, (0, 1))


def _padded(array: Array, axis: int, by: tuple[int, int]) -> Array:
    widths = [(0, 0, 0)] * array.ndim
    widths[axis] = (*by, 0)
    return lax.pad(array, jnp.zeros((), array.dtype), widths)
