"""Max-pooling over windows that do not overlap, and its two derivatives, without window reductions.

A window's maximum is a running choice over strided slices of the operand, one for each offset in
the window. Its gradient goes to the first offset, in row-major order, that holds the maximum, as in
XLA's own `select_and_scatter_add`: the results are equal to the bit. That operation walks over the
windows one by one; here it is a few elementwise passes.

The choice is made by comparison and selection, not by `max`, whose derivative at a tie is one half
on either side, so that these forms can be differentiated again. A window with a NaN has the value
NaN; in the derivatives a NaN gives way to any later value, as in XLA's own.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn
from jaxtyping import Array, Float, Int, Integer

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import JaxValue, Values

LARGEST_WINDOW = 32
"""The most offsets in a window: each is a slice, and larger windows make long programs."""
NOWHERE = 255
"""No offset in a window: its cotangent goes nowhere."""


class PoolWindows(NamedTuple):
    """Windows laid over an array, an entry for each axis."""

    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many windows lie along each axis."""
        return tuple(
            (n + low + high - size) // stride + 1
            for n, size, stride, (low, high) in zip(*self, strict=True)
        )

    @property
    def offsets(self) -> list[tuple[int, ...]]:
        """The offsets in a window, in row-major order."""
        return list(itertools.product(*map(range, self.size)))


def max_pool(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for `reduce_window_max` in a program without derivatives."""
    return None if frame.differentiated else _pooled(eqn, values[0])


def max_pool_primal(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for `reduce_window_max` in a program that has derivatives too."""
    return _pooled(eqn, values[0]) if frame.differentiated else None


def max_pool_gradient(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for `select_and_scatter_add`, the reverse-mode derivative of a max-pool."""
    del frame
    cotangent, operand = values
    windows = windows_of(eqn, operand)
    return None if windows is None else [scatter(cotangent, operand, windows)]


def max_pool_tangent(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for `select_and_gather_add`, the forward-mode derivative of a max-pool.

    With padding XLA reduces one axis after the other, and at a tie it takes the first maximum in
    column-major order, unlike its own reverse mode: padded windows are left alone.
    """
    del frame
    tangent, operand = values
    windows = windows_of(eqn, operand)
    if windows is None or np.any(windows.padding):
        return None
    return [value_at_maximum(operand, tangent, windows)]


def _pooled(eqn: JaxprEqn, operand: Array) -> list[Array] | None:
    windows = windows_of(eqn, operand)
    return None if windows is None else [maximum(operand, windows)]


def windows_of(eqn: JaxprEqn, operand: JaxValue) -> PoolWindows | None:
    """The windows of a pool or its derivative; `None` where they overlap, or are not understood."""
    params = eqn.params
    dilated = (*params.get("base_dilation", ()), *params.get("window_dilation", ()))
    windows = PoolWindows(
        operand.shape,
        tuple(params["window_dimensions"]),
        tuple(params["window_strides"]),
        tuple(params["padding"]),
    )
    is_supported = (
        jnp.issubdtype(operand.dtype, jnp.floating)
        and all(d == 1 for d in dilated)
        and params.get("select_prim", lax.ge_p) is lax.ge_p
        and all(size <= stride for size, stride in zip(windows.size, windows.stride, strict=True))
        and 1 < math.prod(windows.size) <= LARGEST_WINDOW
        and all(low >= 0 and high >= 0 for low, high in windows.padding)
        and 0 not in (*windows.counts, *windows.shape)
    )
    return windows if is_supported else None


def maximum(operand: Float[Array, "..."], windows: PoolWindows) -> Float[Array, "..."]:
    """The maximum of each window, as `lax.max` has it: NaN where any of them is."""
    best, *candidates = _slices(operand, windows, -jnp.inf)
    for candidate in candidates:
        stays = (best >= candidate) | (best != best)
        best = jnp.where(stays, best, candidate)
    return best


def value_at_maximum(
    operand: Float[Array, "..."], other: Float[Array, "..."], windows: PoolWindows
) -> Float[Array, "..."]:
    """What `other` holds at the first maximum of each window; 0 where that is -inf, as in XLA."""
    best: Any = -jnp.inf
    found = jnp.zeros((), other.dtype)
    pairs = zip(_slices(operand, windows, -jnp.inf), _slices(other, windows, 0.0), strict=True)
    for candidate, value in pairs:
        stays = best >= candidate
        best, found = jnp.where(stays, best, candidate), jnp.where(stays, found, value)
    return found


def first_maximum(
    operand: Float[Array, "..."], windows: PoolWindows
) -> tuple[Float[Array, "..."], Int[Array, "..."]]:
    """The first maximum of each window, and its place in it, counted in row-major order."""
    return first_of(_slices(operand, windows, -jnp.inf))


def first_of(
    values: Sequence[Float[Array, "..."]], *, nan_stays: bool = False
) -> tuple[Float[Array, "..."], Int[Array, "..."]]:
    """The maximum of several arrays, place by place, and the number of the first that has it.

    It stays while it is as great as the next.

    Args:
        nan_stays: whether a NaN stays too, or gives way to whatever comes after it.
    """
    best, *candidates = values
    place = jnp.zeros_like(best, jnp.int32)
    for k, candidate in enumerate(candidates, start=1):
        stays = (best >= candidate) | (best != best) if nan_stays else best >= candidate
        best, place = jnp.where(stays, best, candidate), jnp.where(stays, place, k)
    return best, place


def scatter(
    cotangent: Float[Array, "..."], operand: Float[Array, "..."], windows: PoolWindows
) -> Float[Array, "..."]:
    """Each window's cotangent at its first maximum, zero elsewhere; the operand's shape."""
    return scatter_to(cotangent, first_maximum(operand, windows)[1], windows)


def scatter_to(
    cotangent: Float[Array, "..."], place: Integer[Array, "..."], windows: PoolWindows
) -> Float[Array, "..."]:
    """Each window's cotangent at a place, counted in row-major order, zero elsewhere."""
    counts = windows.counts
    # Positions between the windows get a number that is no offset in a window.
    numbers = np.full(windows.stride, math.prod(windows.size), place.dtype)
    numbers[tuple(map(slice, windows.size))] = np.arange(math.prod(windows.size)).reshape(
        windows.size
    )
    # Axes of windows and of offsets alternate: [n0, s0, n1, s1, ...].
    places = numbers.reshape([n for stride in windows.stride for n in (1, stride)])
    here = _spread(place, windows.stride) == places
    blocks = jnp.where(here, _spread(cotangent, windows.stride), 0)
    flat = blocks.reshape([n * stride for n, stride in zip(counts, windows.stride, strict=True)])
    edges = [
        (-low, size + low - covered, 0)
        for size, (low, _), covered in zip(windows.shape, windows.padding, flat.shape, strict=True)
    ]
    return lax.pad(flat, jnp.zeros((), flat.dtype), edges) if np.any(edges) else flat


def _slices(x: Array, windows: PoolWindows, fill: float) -> list[Array]:
    if np.any(windows.padding):
        edges = [(low, high, 0) for low, high in windows.padding]
        x = lax.pad(x, jnp.asarray(fill, x.dtype), edges)
    spans = [stride * (n - 1) + 1 for n, stride in zip(windows.counts, windows.stride, strict=True)]
    return [
        lax.slice(
            x, place, [p + span for p, span in zip(place, spans, strict=True)], windows.stride
        )
        for place in windows.offsets
    ]


def _spread(x: Array, stride: tuple[int, ...]) -> Array:
    shape = [n for pair in zip(x.shape, stride, strict=True) for n in pair]
    return lax.broadcast_in_dim(x, shape, range(0, 2 * x.ndim, 2))
