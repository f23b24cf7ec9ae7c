"""Which axis of a value is which axis of the image: how a feature map lies over the image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, SupportsIndex

import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

Labels = tuple[int | None, ...]
"""For each axis of a value, the axis of the image that it runs along, if any."""


class Layout(NamedTuple):
    """How the values of a program lie over its image.

    Attributes:
      labels: for each variable, its `Labels`.
      gone: for each variable, the image's axes that it had, of length one, and that were dropped.
      spatial: the image's spatial axes: those that the first convolution slides along; where there
        is none, all axes but the last.
    """

    labels: dict[Var, Labels]
    gone: dict[Var, frozenset[int]]
    spatial: tuple[int, ...]

    def axes(self, var: Var) -> Labels | None:
        """The axes of a value along the image's spatial axes, in order; `None` if one is lost.

        One that had length one and was dropped is not lost: it is `None` in the tuple. A value
        `[1, *spatial, C]` whose history is not known is taken as channels last.
        """
        labels, shape = self.labels.get(var, ()), _shape(var)
        gone = self.gone.get(var, frozenset())
        if all(axis in labels or axis in gone for axis in self.spatial):
            return tuple(labels.index(a) if a in labels else None for a in self.spatial)
        known = [axis for axis in labels if axis is not None]
        if not known and shape[:1] == (1,) and len(shape) == len(self.spatial) + 2:
            return tuple(range(1, len(shape) - 1))
        return None


def layout(flat: ClosedJaxpr) -> Layout:
    """Follows the image's axes through a flat program of one image."""
    (image,) = flat.jaxpr.invars
    rank = len(_shape(image))
    labels: dict[Var, Labels] = {image: tuple(range(rank))}
    gone: dict[Var, frozenset[int]] = {}
    spatial: tuple[int, ...] = ()
    for eqn in flat.jaxpr.eqns:
        operands = [() if isinstance(v, Literal) else labels.get(v, ()) for v in eqn.invars]
        before = frozenset().union(*(gone.get(v, ()) for v in eqn.invars if isinstance(v, Var)))
        if not any(operands) and not before:
            continue
        if eqn.primitive.name == "conv_general_dilated" and not spatial:
            spatial = _slides_along(eqn, operands[0])
        for out in eqn.outvars:
            found = _follow(eqn, operands, out)
            if any(axis is not None for axis in found):
                labels[out] = found
            if missing := (before | _dropped(eqn, operands)) - {*found}:
                gone[out] = frozenset(missing)
    return Layout(labels, gone, spatial or tuple(range(max(rank - 1, 1))))


def _follow(eqn: JaxprEqn, operands: Sequence[Labels], out: Var) -> Labels:
    rule = _RULES.get(eqn.primitive.name)
    rank = len(_shape(out))
    if rule is not None:
        found = rule(eqn, operands)
    elif eqn.primitive.name.startswith(("reduce_", "arg")) and "axes" in eqn.params:
        found = _without(operands[0], eqn.params["axes"])
    else:
        found = _like(eqn, operands, out)
    return found if len(found) == rank else ()


def _dropped(eqn: JaxprEqn, operands: Sequence[Labels]) -> frozenset[int]:
    """The axes of length one that a `squeeze` or a `reshape` may take away."""
    if eqn.primitive.name not in ("squeeze", "reshape"):
        return frozenset()
    pairs = zip(_shape(eqn.invars[0]), operands[0], strict=False)
    return frozenset(axis for n, axis in pairs if n == 1 and axis is not None)


def _like(eqn: JaxprEqn, operands: Sequence[Labels], out: Var) -> Labels:
    """What keeps its rank keeps its axes; an operand of the result's shape says more."""
    pairs = list(zip(eqn.invars, operands, strict=True))
    same = [found for v, found in pairs if found and _shape(v) == _shape(out)]
    near = [found for found in operands if found and len(found) == len(_shape(out))]
    return (same or near or [()])[0]


def _slice(eqn: JaxprEqn, operands: Sequence[Labels]) -> Labels:
    """One position cut from many is no axis of length one over the image."""
    sizes = zip(_shape(eqn.invars[0]), _shape(eqn.outvars[0]), strict=True)
    pairs = zip(operands[0], sizes, strict=False)
    return tuple(None if after == 1 < before else axis for axis, (before, after) in pairs)


def _slides_along(eqn: JaxprEqn, lhs: Labels) -> tuple[int, ...]:
    found = [lhs[i] for i in eqn.params["dimension_numbers"].lhs_spec[2:]] if lhs else []
    return tuple(sorted(axis for axis in found if axis is not None))


def _conv(eqn: JaxprEqn, operands: Sequence[Labels]) -> Labels:
    numbers = eqn.params["dimension_numbers"]
    found: list[int | None] = [None] * len(numbers.out_spec)
    if operands[0]:
        for source, target in zip(numbers.lhs_spec[2:], numbers.out_spec[2:], strict=True):
            found[target] = operands[0][source]
    return tuple(found)


def _dot(eqn: JaxprEqn, operands: Sequence[Labels]) -> Labels:
    """Free axes stay; one that is exchanged for another (a resize) still runs the same way."""
    (contracted, batch) = eqn.params["dimension_numbers"]
    filled = [
        found or (None,) * len(_shape(v)) for v, found in zip(eqn.invars, operands, strict=True)
    ]
    free = [
        [i for i in range(len(filled[k])) if i not in (*contracted[k], *batch[k])] for k in (0, 1)
    ]
    found = [[filled[k][i] for i in free[k]] for k in (0, 1)]
    if len(contracted[0]) == 1:
        for k in (0, 1):
            if found[k] == [None]:
                found[k] = [filled[1 - k][contracted[1 - k][0]]]
    return (*(filled[0][i] for i in batch[0]), *found[0], *found[1])


def _broadcast(eqn: JaxprEqn, operands: Sequence[Labels]) -> Labels:
    found: list[int | None] = [None] * len(eqn.params["shape"])
    for axis, target in zip(operands[0], eqn.params["broadcast_dimensions"], strict=False):
        found[target] = axis
    return tuple(found)


def _reshape(eqn: JaxprEqn, operands: Sequence[Labels]) -> Labels:
    """Axes survive a reshape that adds or drops axes of length one, or merges or splits others.

    Where nothing is merged or split, those of length one survive between their longer neighbours.
    """
    shape, after = _shape(eqn.invars[0]), eqn.params["new_sizes"]
    labels = operands[0] or (None,) * len(shape)
    old, new = [n for n in shape if n != 1], [n for n in after if n != 1]
    long = iter(_unmerged(old, new, [a for n, a in zip(shape, labels, strict=True) if n != 1]))
    if old != new:
        return tuple(next(long) if n != 1 else None for n in after)
    found: list[int | None] = []
    runs = list(zip(_ones(shape, labels), _ones(after, after), strict=True))
    for i, (run, target) in enumerate(runs):
        last = 0 < i == len(runs) - 1
        found += _fitted(run[::-1], len(target))[::-1] if not last else _fitted(run, len(target))
        found += [next(long)] if i < len(runs) - 1 else []
    return tuple(found)


def _ones(shape: Sequence[int], labels: Sequence[int | None]) -> list[list[int | None]]:
    """The labels of the axes of length one before, between and after the longer axes."""
    runs: list[list[int | None]] = [[]]
    for n, label in zip(shape, labels, strict=True):
        if n == 1:
            runs[-1].append(label)
        else:
            runs.append([])
    return runs


def _fitted(run: Sequence[int | None], count: int) -> list[int | None]:
    """A run of `count` labels: at its end are those that come, or go, unknown ones first."""
    kept = list(run)
    for i in reversed(range(len(run))):
        if len(kept) > count and run[i] is None:
            del kept[i]
    return [*kept, *[None] * count][:count]


def _unmerged(before: Sequence[int], after: Sequence[int], labels: Sequence[int | None]) -> Labels:
    """Axes outside the stretch that a reshape merges or splits are the same ones."""
    lead = _agreeing(before, after)
    tail = _agreeing(before[lead:][::-1], after[lead:][::-1])
    middle = (None,) * (len(after) - lead - tail)
    return (*labels[:lead], *middle, *labels[len(labels) - tail :])


def _agreeing(one: Sequence[int], other: Sequence[int]) -> int:
    agree = [a == b for a, b in zip(one, other, strict=False)]
    return int(np.argmin([*agree, False]))


def _squeeze(eqn: JaxprEqn, operands: Sequence[Labels]) -> Labels:
    return _without(operands[0], eqn.params["dimensions"])


def _transpose(eqn: JaxprEqn, operands: Sequence[Labels]) -> Labels:
    return tuple(operands[0][i] for i in eqn.params["permutation"])


def _without(labels: Labels, axes: Iterable[SupportsIndex]) -> Labels:
    return tuple(axis for i, axis in enumerate(labels) if i not in tuple(axes))


def _shape(var: Var | Literal) -> tuple[int, ...]:
    return var.aval.shape  # type: ignore[attr-defined,no-any-return]


_RULES = {
    "conv_general_dilated": _conv,
    "dot_general": _dot,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "slice": _slice,
    "dynamic_slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
