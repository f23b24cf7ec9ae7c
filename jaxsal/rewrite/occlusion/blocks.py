"""Arrays that differ from a known array in one block, and where that block lies.

The block's position follows from the corner of the window that was changed in the image. Along an
axis it is a table with an entry for every possible corner, computed when the program is traced: so
sizes are static and exact, also at borders, and unions and containment are a matter of arithmetic.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array

Corner = tuple[ArrayLike, ...]
"""The window's corner in the image: integers, traced or not, one an axis."""


class Span(NamedTuple):
    """Where a block lies along one axis.

    Attributes:
        starts: its first index, for each corner along the image's axis `source`.
        size: its length.
        source: that axis.
    """

    starts: np.ndarray
    size: int
    source: int

    def at(self, corner: Corner) -> Array:
        """The first index at a corner."""
        starts = jnp.asarray(self.starts, jnp.int32)
        return lax.dynamic_index_in_dim(
            starts, corner[self.source], keepdims=False, allow_negative_indices=False
        )


Spans = tuple[Span | None, ...]
"""A span for each axis; `None` where the block has the whole axis."""


class BlockUpdate(NamedTuple):
    """An array that equals `base` outside a block, where it is `block`."""

    base: Array
    block: Array
    spans: Spans


Operand = Any
"""An operand of a rule: a `BlockUpdate`, or the array that it is whatever the window holds."""

ChangedBlock = tuple[Array, Spans]
"""The block of a result, and where it lies."""


def clamped_span(first: np.ndarray, last: np.ndarray, source: int, length: int) -> Span | None:
    """The span over `[first, last]` (per corner, any integers) within an axis of some length."""
    first, last = np.clip(first, 0, length - 1), np.clip(last, 0, length - 1)
    size = int((last - first).max()) + 1
    return None if size >= length else Span(np.minimum(first, length - size), max(size, 1), source)


def union(a: Span | None, b: Span | None, length: int) -> Span | None:
    """The smallest span that holds both; they have to come from the same axis of the image."""
    if a is None or b is None or a.source != b.source:
        return None
    last = np.maximum(a.starts + a.size, b.starts + b.size) - 1
    return clamped_span(np.minimum(a.starts, b.starts), last, a.source, length)


def read_block(array: Array, spans: Spans, corner: Corner) -> Array:
    """The block of an array that lies at some spans."""
    sizes = [n if s is None else s.size for n, s in zip(array.shape, spans, strict=True)]
    return cut(array, _starts(spans, corner), sizes)


def write_block(array: Array, block: Array, spans: Spans, corner: Corner) -> Array:
    """An array with a block put in at some spans."""
    return put(array, block, _starts(spans, corner))


def cut(array: Array, corner: Sequence[ArrayLike], sizes: Sequence[int]) -> Array:
    """The block of these sizes at a corner, which is not negative: XLA need not test for it."""
    return lax.dynamic_slice(array, corner, sizes, allow_negative_indices=False)


def put(array: Array, block: Array, corner: Sequence[ArrayLike]) -> Array:
    """An array with a block put in at a corner, which is not negative."""
    return lax.dynamic_update_slice(array, block, corner, allow_negative_indices=False)


def whole_array(value: BlockUpdate, corner: Corner) -> Array:
    """The whole array."""
    return write_block(value.base, value.block, value.spans, corner)


def widened(value: BlockUpdate, spans: Spans, corner: Corner) -> Array:
    """The block at larger spans, which hold the value's own."""
    if all(_same(a, b) for a, b in zip(value.spans, spans, strict=True)):
        return value.block
    inside = tuple(map(relative, value.spans, spans))
    return write_block(read_block(value.base, spans, corner), value.block, inside, corner)


class Windows1D(NamedTuple):
    """The windows of a convolution or a pool along one axis."""

    size: int = 1
    dilation: int = 1
    stride: int = 1
    padding: tuple[int, int] = (0, 0)

    @property
    def reach(self) -> int:
        """From a window's first element to its last."""
        return (self.size - 1) * self.dilation


def windowed(
    value: BlockUpdate,
    counts: Sequence[int],
    windows: Sequence[Windows1D],
    fill: float,
    apply: Callable[[Array], Array],
    corner: Corner,
) -> ChangedBlock:
    """The part of a convolution, or of a pool, that a local operand changes.

    Args:
        value: the operand.
        counts: how many windows lie along each of its axes.
        windows: what they are like.
        fill: what the operand is padded with. Negative padding crops it.
        apply: the operation, without padding.
        corner: the corner of the window in the image.

    Returns:
        The block of the result and its spans, in the order of the operand's axes.
    """
    made = tuple(map(_reached, value.spans, counts, windows))
    lows = [max(w.padding[0], 0) for w in windows]
    some = next(span for span in value.spans if span is not None)
    own = tuple(
        Span(np.full_like(some.starts, low), n, some.source)
        if span is None
        else span._replace(starts=span.starts + low)
        for span, n, low in zip(value.spans, value.base.shape, lows, strict=True)
    )
    read = tuple(map(_seen, made, windows, value.base.shape, [some] * value.base.ndim))
    edges = [(low, max(w.padding[1], 0), 0) for low, w in zip(lows, windows, strict=True)]
    padded = lax.pad(value.base, jnp.asarray(fill, value.base.dtype), edges)
    frame = tuple(
        m and r and union(o, r, n) for o, m, r, n in zip(own, made, read, padded.shape, strict=True)
    )
    block = write_block(
        read_block(padded, frame, corner), value.block, tuple(map(relative, own, frame)), corner
    )
    spans = tuple(m if m and m.size < n else None for m, n in zip(made, counts, strict=True))
    return apply(read_block(block, tuple(map(relative, read, frame)), corner)), spans


def _seen(made: Span | None, windows: Windows1D, length: int, some: Span) -> Span | None:
    """What some windows see of an axis that is padded but not cropped; `None` if all of it."""
    low, high = windows.padding
    cropped = max(-low, 0)
    if made is not None:
        size = (made.size - 1) * windows.stride + windows.reach + 1
        return Span(made.starts * windows.stride + cropped, size, made.source)
    if low >= 0 and high >= 0:
        return None
    return Span(np.full_like(some.starts, cropped), length + low + high, some.source)


def _reached(span: Span | None, count: int, windows: Windows1D) -> Span | None:
    """The windows that see anything of a span (given before padding); a span also if all do."""
    if span is None:
        return None
    first = span.starts + windows.padding[0]
    last = first + span.size - 1
    made = clamped_span(
        -(-(first - windows.reach) // windows.stride), last // windows.stride, span.source, count
    )
    return made or Span(np.zeros_like(span.starts), count, span.source)


def relative(span: Span | None, frame: Span | None) -> Span | None:
    """A span's place within another that holds it."""
    if span is None or frame is None:
        return span
    return span._replace(starts=span.starts - frame.starts)


def _same(a: Span | None, b: Span | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.source == b.source and a.size == b.size and bool(np.array_equal(a.starts, b.starts))


def _starts(spans: Spans, corner: Corner) -> list[Array]:
    return [jnp.zeros((), jnp.int32) if span is None else span.at(corner) for span in spans]
