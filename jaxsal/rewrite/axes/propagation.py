"""How each operation carries the image's axes from its operands to its result.

An operation that is not known loses all axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jax.extend.core import JaxprEqn

from jaxsal.rewrite.axes.factors import (
    COPY,
    Factors,
    Labels,
    combined,
    copies,
    cut_out,
    full_axis,
    inset,
    reshaped,
    resized,
    reversed_,
    unknown,
    whole,
)
from jaxsal.rewrite.axes.preserved import preserved_axes
from jaxsal.rewrite.elementwise import POINTWISE


class Operand(NamedTuple):
    """What is known of an operand.

    Attributes:
        shape: its shape.
        labels: its axes' factors; `None` if it does not depend on the image.
        increasing: whether it is a row of numbers that never fall.
        plain: whether it is made of positions alone, as a resize's matrix is.
    """

    shape: tuple[int, ...]
    labels: Labels | None = None
    increasing: bool = False
    plain: bool = False

    @property
    def all(self) -> Labels:
        return self.labels if self.labels is not None else tuple(map(copies, self.shape))


def propagate(eqn: JaxprEqn, operands: Sequence[Operand], number: int) -> Labels | None:
    """The labels of an operation's result of this number; `None` where all are lost."""
    aval: Any = eqn.outvars[number].aval
    name, shape = eqn.primitive.name, aval.shape
    if name == "split":
        return _split(eqn, operands, shape, number)
    if name in _RULES:
        return _RULES[name](eqn, operands, shape)
    if name == "optimization_barrier":
        return operands[number].labels
    if name.startswith(("reduce_window", "select_and_")):
        return _slid(eqn, operands[:1], shape)
    if name in _PRESERVING or (name.startswith(("reduce_", "arg")) and "axes" in eqn.params):
        return _preserved(eqn, operands, shape)
    return _elementwise(eqn, operands, shape) if name in _ELEMENTWISE else None


def _preserved(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """The axes that an operation of one operand keeps; along a broadcast axis lie copies."""
    fill = copies if eqn.primitive.name == "broadcast_in_dim" else unknown
    axes = preserved_axes(eqn)
    assert axes is not None
    found = [fill(n) for n in shape]
    for source, target in axes[0].items():
        found[target] = operands[0].all[source]
    return tuple(found)


def _elementwise(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """Axes are those of the operands of the result's shape, where these do not disagree."""
    known = [v.labels for v in operands if v.labels is not None and v.shape == tuple(shape)]
    return tuple(_together(known, shape)) if known else None


def _together(known: Sequence[Labels], shape: Sequence[int]) -> list[Factors]:
    found = list(known[0])
    for labels in known[1:]:
        axes = zip(found, labels, shape, strict=True)
        found = [combined(one, other, n) for one, other, n in axes]
    return found


def _slid(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """An axis that a window slides along is as long as there are windows."""
    first = operands[0]
    if len(first.shape) != len(shape):
        return None
    axes = zip(first.all, first.shape, shape, strict=True)
    return tuple(resized(f, before, after) for f, before, after in axes)


def _slice(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """One position cut from many is no axis of length one over the image."""
    somewhere = (-1,) * len(shape)
    plain = set(eqn.params.get("strides") or [1]) == {1}
    return _cut(
        operands[0], eqn.params.get("start_indices", somewhere) if plain else somewhere, shape
    )


def _split(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int], number: int) -> Labels:
    starts = [0] * len(shape)
    starts[eqn.params["axis"]] = int(sum(eqn.params["sizes"][:number]))
    return _cut(operands[0], starts, shape)


def _cut(whole: Operand, starts: Sequence[int], shape: Sequence[int]) -> Labels:
    """What lies from some positions on; -1: from where is not known."""
    axes = zip(whole.all, starts, whole.shape, shape, strict=True)
    return tuple(_cut_axis(f, start, before, after) for f, start, before, after in axes)


def _cut_axis(factors: Factors, start: int, before: int, after: int) -> Factors:
    many = before != after and not full_axis(factors)
    kept = cut_out(factors, start, after) if many else resized(factors, before, after)
    return kept if after > 1 or before == 1 else ()


def _pad(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """Digits of several axes begin behind the padding; one that cuts or parts them loses them."""
    first, found = operands[0], []
    for f, (low, high, inner), before, after in zip(
        first.all, eqn.params["padding_config"], first.shape, shape, strict=True
    ):
        if full_axis(f) or not (low or high or inner):
            found.append(resized(f, before, after) if after > 1 or before == 1 else ())
        else:
            parted = inner > 0 or low < 0 or high < 0
            found.append(unknown(after) if parted else inset(f, int(low), after))
    return tuple(found)


def _update(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """What is written into a larger array lies over the image as it did, and so does the rest."""
    into, piece, window = operands[0], operands[1], True
    if eqn.primitive.name.startswith("scatter"):
        piece = operands[2]
        window = len(eqn.params["dimension_numbers"].update_window_dims) == len(shape)
    if piece.labels is None:
        return into.labels
    if not window:
        return None
    written = [
        copies(after) if before == 1 else resized(f, before, after)
        for f, before, after in zip(piece.labels, piece.shape, shape, strict=True)
    ]
    axes = zip(into.all, written, shape, strict=True)
    return tuple(combined(f, part, n) for f, part, n in axes)


def _concatenate(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """Along the axis of the concatenation, the image is where one operand holds more than half.

    Rolling and padding leave an axis in its place; tiling it does not. What several of the image's
    axes were merged to can be cut out again.
    """
    at = eqn.params["dimension"]
    found = _together([v.labels for v in operands if v.labels is not None], shape)
    place = max(range(len(operands)), key=lambda i: operands[i].shape[at])
    most, start = operands[place], sum(v.shape[at] for v in operands[:place])
    if 2 * most.shape[at] <= shape[at]:
        found[at] = unknown(shape[at])
    elif full_axis(most.all[at]) or most.shape[at] == shape[at]:
        found[at] = resized(most.all[at], most.shape[at], shape[at])
    else:
        found[at] = inset(most.all[at], start, shape[at])
    return tuple(found)


def _reverse(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    turned = eqn.params["dimensions"]
    return tuple(reversed_(f) if i in turned else f for i, f in enumerate(operands[0].all))


def _conv(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """Windows of one position leave any axis as it is; longer ones need one of the image's.

    One that slides along an upsampled axis, or one with channels between positions, confirms it.
    """
    lhs, kernel = operands[:2]
    numbers, strides = eqn.params["dimension_numbers"], eqn.params["window_strides"]
    found = [unknown(n) for n in shape]
    if lhs.labels is None:
        return None
    if eqn.params["batch_group_count"] == 1:
        found[numbers.out_spec[0]] = lhs.labels[numbers.lhs_spec[0]]
    specs = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    for stride, (source, window, target) in zip(strides, specs, strict=True):
        before, after = lhs.shape[source], shape[target]
        if kernel.shape[window] == stride == 1 and before == after:
            found[target] = lhs.labels[source]
        else:
            found[target] = resized(_led(lhs.labels[source], before), -1, after)
    return tuple(found)


def _led(factors: Factors, size: int) -> Factors:
    """An axis whose slowest digits run along the image, as if the others did too."""
    lead = [f for f in factors if f.axis is not None and f.axis != COPY]
    found = full_axis(tuple(lead)) if list(factors[: len(lead)]) == lead else None
    return whole(found[0], size, found[1]) if found else unknown(size)


def _dot(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """Free axes stay; one that a resize's matrix exchanges for another still runs the same way."""
    contracted, batch = eqn.params["dimension_numbers"]
    found: list[Factors] = []
    for k in (0, 1):
        held = {*contracted[k], *batch[k]}
        free = [i for i in range(len(operands[k].shape)) if i not in held]
        if operands[k].labels is not None:
            found += [operands[k].all[i] for i in free]
        elif operands[k].plain and len(free) == 1 == len(contracted[k]):
            exchanged = contracted[1 - k][0]
            before, after = operands[1 - k].shape[exchanged], operands[k].shape[free[0]]
            found.append(_exchanged(operands[1 - k].all[exchanged], before, after))
        else:
            found += [unknown(operands[k].shape[i]) for i in free]
    left, right = operands[0].all, operands[1].all
    pairs = zip(*batch, strict=True)
    return (*(combined(left[i], right[j], operands[0].shape[i]) for i, j in pairs), *found)


def _exchanged(factors: Factors, before: int, after: int) -> Factors:
    """A contracted axis, resized; also to its own length."""
    return resized(factors, before, after) if full_axis(factors) else unknown(after)


def _gather(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    """Whole axes stay, and one window's; one from which positions are taken in order runs on."""
    first, indices = operands[:2]
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    inner = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [i for i in range(len(first.shape)) if i not in inner]
    taken = [i for i in range(len(shape)) if i not in numbers.offset_dims]
    one = math.prod(shape[i] for i in taken) == 1  # a `dynamic_slice` of one image, vmapped
    found = [unknown(n) for n in shape]
    for source, target in zip(kept, numbers.offset_dims, strict=True):
        if one or sizes[source] == first.shape[source]:
            found[target] = _cut_axis(first.all[source], -1, first.shape[source], shape[target])
    if len(taken) == 1 == len(numbers.start_index_map) and indices.increasing:
        (source,) = numbers.start_index_map
        through = full_axis(first.all[source])
        if through and source in numbers.collapsed_slice_dims and shape[taken[0]] > 1:
            found[taken[0]] = whole(through[0], shape[taken[0]], through[1])
    return tuple(found)


def _reshape(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    if eqn.params["dimensions"] is not None:
        return None
    return reshaped(operands[0].all, operands[0].shape, shape)


def _tile(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    repeated = [i for i, n in enumerate(eqn.params["reps"]) if n != 1]
    return _losing(operands[0].all, shape, repeated)


def _sort(eqn: JaxprEqn, operands: Sequence[Operand], shape: Sequence[int]) -> Labels | None:
    return _losing(_elementwise(eqn, operands, shape), shape, [eqn.params["dimension"]])


def _losing(labels: Labels | None, shape: Sequence[int], lost: Sequence[int]) -> Labels | None:
    axes = zip(labels or map(unknown, shape), shape, strict=True)
    return tuple(unknown(n) if i in lost else f for i, (f, n) in enumerate(axes))


_ELEMENTWISE = POINTWISE | {"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"}
"""Operations that leave every position where it is."""

_PRESERVING = frozenset({"broadcast_in_dim", "fft", "squeeze", "transpose"})
"""Operations of one operand that spread its image axes as `preserved_axes` says."""

_Rule = Callable[[JaxprEqn, Sequence[Operand], Sequence[int]], Labels | None]
_RULES: dict[str, _Rule] = {
    "conv_general_dilated": _conv,
    "dot_general": _dot,
    "reshape": _reshape,
    "slice": _slice,
    "dynamic_slice": _slice,
    "dynamic_update_slice": _update,
    "scatter": _update,
    "scatter-add": _update,
    "pad": _pad,
    "concatenate": _concatenate,
    "rev": _reverse,
    "gather": _gather,
    "sort": _sort,
    "tile": _tile,
}
