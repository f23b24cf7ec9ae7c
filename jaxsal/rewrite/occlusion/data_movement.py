"""Block rules for operations that move values and compute none (pad, slice, reshape, ...).

The rules have the form of those in `jaxsal.rewrite.occlusion.block_rules`. What is put between and
around the values (a padding value, the other parts of a concatenation) does not depend on the
image, or is a block update too.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxsal.rewrite.occlusion.blocks import (
    BlockUpdate,
    ChangedBlock,
    Corner,
    Operand,
    Span,
    Spans,
    Windows1D,
    read_block,
    relative,
    union,
    widened,
    windowed,
    write_block,
)
from jaxsal.rewrite.program import Values

Edges = Sequence[tuple[int, int, int]]
"""For each axis how much is put before it, behind it and between its elements."""


def padded(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    """`pad`: first what it adds, then what it crops."""
    del bases
    (value, fill), config = values, [tuple(map(int, e)) for e in eqn.params["padding_config"]]
    grown = grow(value, fill, [(max(low, 0), max(high, 0), gap) for low, high, gap in config])
    if all(low >= 0 and high >= 0 for low, high, _ in config):
        return grown.block, grown.spans
    crops = [Windows1D(padding=(min(low, 0), min(high, 0))) for low, high, _ in config]
    return windowed(grown, out.shape, crops, 0.0, lambda block: block, corner)


def grow(value: BlockUpdate, fill: ArrayLike, edges: Edges) -> BlockUpdate:
    """A local array that is padded by no negative number, around and between its elements."""
    spans = tuple(
        span and Span(low + span.starts * (gap + 1), (span.size - 1) * (gap + 1) + 1, span.source)
        for span, (low, _, gap) in zip(value.spans, edges, strict=True)
    )
    inside = [
        edge if span is None else (0, 0, edge[2])
        for span, edge in zip(value.spans, edges, strict=True)
    ]
    return BlockUpdate(lax.pad(value.base, fill, edges), lax.pad(value.block, fill, inside), spans)


def sliced(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    """`slice`: windows of one element, in a cropped array."""
    del bases
    (value,), params = values, eqn.params
    strides = params["strides"] or (1,) * out.ndim
    crops = zip(params["start_indices"], params["limit_indices"], value.base.shape, strict=True)
    windows = [
        Windows1D(stride=stride, padding=(-start, limit - length))
        for stride, (start, limit, length) in zip(strides, crops, strict=True)
    ]

    def apply(block: Array) -> Array:
        return lax.slice(block, (0,) * block.ndim, block.shape, strides)

    return windowed(value, out.shape, windows, 0.0, apply, corner)


def reversed_axes(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    """`rev`."""
    del bases, corner
    (value,), axes = values, eqn.params["dimensions"]
    spans = tuple(
        span._replace(starts=length - span.starts - span.size) if span and axis in axes else span
        for axis, (span, length) in enumerate(zip(value.spans, out.shape, strict=True))
    )
    return lax.rev(value.block, axes), spans


def concatenated(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    """`concatenate` along an axis of which the block has a part: every part's block is put in."""
    axis = eqn.params["dimension"]
    parts: list[tuple[Array, Spans]] = []
    for value, offset in zip(values, _offsets(bases, axis), strict=True):
        if isinstance(value, BlockUpdate):
            parts.append((value.block, _shifted(value, axis, offset)))
    (block, spans), *others = parts
    if not others:
        return block, spans
    for _, other in others:
        spans = tuple(union(a, b, n) for a, b, n in zip(spans, other, out.shape, strict=True))
    whole = read_block(out, spans, corner)
    for block, own in parts:
        whole = write_block(whole, block, tuple(map(relative, own, spans)), corner)
    return whole, spans


def _offsets(bases: Values, axis: int) -> list[int]:
    lengths = [np.shape(base)[axis] for base in bases]
    return [sum(lengths[:number]) for number in range(len(lengths))]


def _shifted(value: BlockUpdate, axis: int, by: int) -> Spans:
    """The spans of a value that stands `by` elements further along an axis."""
    some = next(span for span in value.spans if span is not None)
    own = value.spans[axis] or Span(np.zeros_like(some.starts), value.base.shape[axis], some.source)
    spans = list(value.spans)
    spans[axis] = own._replace(starts=own.starts + by)
    return tuple(spans)


def reshaped(
    eqn: JaxprEqn, values: list[Operand], bases: Values, out: Array, corner: Corner
) -> ChangedBlock | None:
    """`reshape` and `squeeze`: axes are merged, split, added and dropped, group by group.

    In each group of axes the changed block is one run of rows of the first; along the others it
    is widened to the whole, and along the first to whole rows of what the group becomes.
    """
    del bases
    value, *rest = values
    turned_too = eqn.primitive.name == "reshape" and eqn.params["dimensions"] is not None
    if rest or turned_too:
        return None
    wide: list[Span | None] = [None] * value.base.ndim
    spans: list[Span | None] = [None] * out.ndim
    for old, new in _groups(value.base.shape, out.shape):
        span = value.spans[old[0]]
        if span is not None:
            inner = math.prod(value.base.shape[axis] for axis in old[1:])
            wide[old[0]], spans[new[0]] = _regrouped(
                span, value.base.shape[old[0]], inner, out.shape[new[0]]
            )
    shape = [n if s is None else s.size for n, s in zip(out.shape, spans, strict=True)]
    return widened(value, tuple(wide), corner).reshape(shape), tuple(spans)


def _regrouped(span: Span, length: int, inner: int, count: int) -> tuple[Span | None, Span | None]:
    """A run of rows of `inner` elements, widened to whole rows of a group split into `count`.

    Returns:
        The run in the old rows and in the new ones; `None` twice if these do not nest, or it is
        all.
    """
    new = length * inner // count
    if inner % new == 0:
        times = inner // new
        return span, Span(span.starts * times, span.size * times, span.source)
    if new % inner:
        return None, None
    times = new // inner
    first, last = span.starts // times, (span.starts + span.size - 1) // times
    size = int((last - first).max()) + 1
    if size >= count:
        return None, None
    starts = np.minimum(first, count - size)
    return Span(starts * times, size * times, span.source), Span(starts, size, span.source)


def _groups(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """The smallest runs of axes longer than 1 that hold the same elements before and after."""
    before, after = _ends(old), _ends(new)
    for first, last in pairwise(sorted({1} | before.keys() & after.keys())):
        yield (
            [axis for end, axis in before.items() if first < end <= last],
            [axis for end, axis in after.items() if first < end <= last],
        )


def _ends(shape: Sequence[int]) -> dict[int, int]:
    """The axes longer than 1, by the number of elements that they and those before them hold."""
    return {math.prod(shape[: axis + 1]): axis for axis, n in enumerate(shape) if n > 1}
