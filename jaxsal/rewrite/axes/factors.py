"""What an axis of a value is made of: parts of the image's axes, channels, copies.

An axis that was merged from others is the list of them, so that a split gives them back; one that
was split is the list of its digits, so that a merge in the right order gives it back.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

COPY = -1
"""In the place of an axis of the image: positions that all hold the same, of a broadcast."""


class Factor(NamedTuple):
    """One digit of a position along an axis.

    Attributes:
        axis: the image's axis whose digit it is; `COPY`; or `None`: channels, or not known.
        size: how many values it takes.
        unit: how many positions of that axis it moves by; negative where it runs backward.
        extent: how many positions that axis has.
        inner: of channels or what is not known: the digits of the positions from `start` on, as of
            tokens behind a class token.
        start: where these begin.
    """

    axis: int | None
    size: int
    unit: int = 1
    extent: int = 0
    inner: tuple[Factor, ...] = ()
    start: int = 0


Factors = tuple[Factor, ...]
"""The digits of one axis, the slowest first. Their sizes' product is the axis' length."""

Labels = tuple[Factors, ...]
"""The factors of each axis of a value."""


def whole(axis: int | None, size: int, sign: int = 1) -> Factors:
    """An axis along all of an image's axis."""
    return (Factor(axis, size, sign, size),)


def unknown(size: int) -> Factors:
    """An axis that runs along none of the image's, as far as is known."""
    return (Factor(None, size),) if size != 1 else ()


def copies(size: int) -> Factors:
    """An axis along which nothing changes."""
    return (Factor(COPY, size),) if size != 1 else ()


def image_axes(factors: Factors) -> set[int]:
    """The image's axes that have a part in an axis."""
    return {f.axis for f in factors if f.axis is not None and f.axis != COPY}


def full_axis(factors: Factors) -> tuple[int, int] | None:
    """The image's axis along which an axis runs from end to end, and its direction, 1 or -1.

    Each position may be held several times in a row (an upsampling), or stand for several.
    """
    digits = [f for i, f in enumerate(factors) if f.axis != COPY or i == 0]
    if not digits or len({(f.axis, f.extent, f.unit > 0) for f in digits}) > 1:
        return None
    first, units = digits[0], [abs(f.unit) for f in digits]
    falling = all(a > b for a, b in itertools.pairwise(units))
    tail = [f.axis == COPY for f in factors]
    if first.axis is None or first.axis == COPY or not falling or tail != sorted(tail):
        return None
    ends = units[0] * first.size == first.extent
    return (first.axis, 1 if first.unit > 0 else -1) if ends else None


def resized(factors: Factors, before: int, after: int) -> Factors:
    """An axis whose length an operation changes that slides along it, cuts or pads it."""
    if before == after:
        return factors
    found = full_axis(factors)
    return whole(found[0], after, found[1]) if found else unknown(after)


def inset(factors: Factors, start: int, size: int) -> Factors:
    """A longer axis, in which an axis that several of the image's were merged to begins at `start`.

    Where it is cut out again, it is as it was.
    """
    return (
        (Factor(None, size, inner=factors, start=start),) if image_axes(factors) else unknown(size)
    )


def cut_out(factors: Factors, start: int, size: int) -> Factors:
    """The axis of the positions from `start` on of one that is no full axis."""
    for factor in factors[:1]:
        held = math.prod(f.size for f in factor.inner)
        if factor.inner and (factor.start, held) == (start, size):
            return factor.inner
    return unknown(size)


def reversed_(factors: Factors) -> Factors:
    """An axis read from its end: all its digits run backward."""
    return tuple(f._replace(unit=-f.unit, inner=(), start=0) for f in factors)


def combined(one: Factors, other: Factors, size: int) -> Factors:
    """The axis of an elementwise result; what is not known of one operand is read off the other."""
    if _knows(one) < _knows(other):
        one, other = other, one
    if one == other or _knows(one) > _knows(other):
        return one
    return agreed(one, other, size)


def agreed(one: Factors, other: Factors, size: int) -> Factors:
    """The axis of a value that is one of two."""
    if one == other:
        return one
    found = full_axis(one)
    return whole(found[0], size, found[1]) if found and found == full_axis(other) else unknown(size)


def _knows(factors: Factors) -> int:
    """2: something of the image, 1: that there are channels, 0: nothing."""
    return 2 if image_axes(factors) else int(any(f.axis is None for f in factors))


def reshaped(labels: Labels, before: Sequence[int], after: Sequence[int]) -> Labels:
    """Merges and splits take digits together and apart.

    Where nothing is merged or split, axes of length one survive between their longer neighbours.
    """
    if 0 in before:
        return tuple(unknown(n) for n in after)
    old, new = [n for n in before if n != 1], [n for n in after if n != 1]
    long = iter(_regrouped([f for n, f in zip(before, labels, strict=True) if n != 1], old, new))
    if old != new:
        return tuple(next(long) if n != 1 else () for n in after)
    found: list[Factors] = []
    runs = list(zip(_ones(before, labels), _ones(after, [()] * len(after)), strict=True))
    for i, (run, target) in enumerate(runs):
        last = 0 < i == len(runs) - 1
        found += _fitted(run[::-1], len(target))[::-1] if not last else _fitted(run, len(target))
        found += [next(long)] if i < len(runs) - 1 else []
    return tuple(found)


def _regrouped(labels: Sequence[Factors], old: Sequence[int], new: Sequence[int]) -> list[Factors]:
    found: list[Factors] = []
    for before, after in _stretches(old, new):
        rest = [f for factors in labels[before] for f in factors if f.size != 1]
        taken = [_taken(rest, n) for n in new[after]]
        known = all(each is not None for each in taken)
        found += [
            each if known and each else unknown(n)
            for n, each in zip(new[after], taken, strict=True)
        ]
    return found


def _stretches(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """The shortest runs of axes of the same number of positions before and after."""
    i = j = 0
    while i < len(old):
        start, held, made = (i, j), old[i], new[j]
        while held != made:
            if held < made:
                i += 1
                held *= old[i]
            else:
                j += 1
                made *= new[j]
        i, j = i + 1, j + 1
        yield slice(start[0], i), slice(start[1], j)


def _taken(rest: list[Factor], size: int) -> Factors | None:
    """The digits of an axis of `size`, taken off the front of `rest`; `None` if they do not fit."""
    found: list[Factor] = []
    while size > 1 and rest:
        factor = rest.pop(0)
        if factor.size > size and factor.size % size == 0:
            minor = factor.size // size
            factor = factor._replace(inner=(), start=0)
            rest.insert(0, factor._replace(size=minor))
            factor = factor._replace(size=size, unit=factor.unit * minor)
        if size % factor.size:
            rest.clear()
            return None
        size //= factor.size
        found = _joined(found, factor)
    return tuple(found) if size == 1 else None


def _joined(found: list[Factor], factor: Factor) -> list[Factor]:
    """Adds a digit; two that count on in one axis are one."""
    last = found[-1] if found and not (found[-1].inner or factor.inner) else None
    if last and last.axis == factor.axis and last.extent == factor.extent:
        if factor.axis in (None, COPY) or last.unit == factor.unit * factor.size:
            return [*found[:-1], factor._replace(size=last.size * factor.size)]
    return [*found, factor]


def _ones(shape: Sequence[int], labels: Sequence[Factors]) -> list[list[Factors]]:
    """The labels of the axes of length one before, between and after the longer axes."""
    runs: list[list[Factors]] = [[]]
    for n, label in zip(shape, labels, strict=True):
        if n == 1:
            runs[-1].append(label)
        else:
            runs.append([])
    return runs


def _fitted(run: Sequence[Factors], count: int) -> list[Factors]:
    """A run of `count` labels: at its end are those that come, or go, unknown ones first."""
    kept = list(run)
    for i in reversed(range(len(run))):
        if len(kept) > count and not run[i]:
            del kept[i]
    return [*kept, *[()] * count][:count]
