"""Which axes an operation preserves: position i of its result depends on position i alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import SupportsIndex

from jax.extend.core import JaxprEqn

from jaxsal.rewrite.elementwise import POINTWISE
from jaxsal.rewrite.program import Atom, shape_of

AxisMap = dict[int, int]
"""From an operand's axis to that of the result in which it is kept."""


def preserved_axes(eqn: JaxprEqn) -> list[AxisMap] | None:
    """The axes of each operand that are kept; `None` where the operation is not known."""
    name = eqn.primitive.name
    if name in _RULES:
        return _RULES[name](eqn)
    if name in POINTWISE:
        return [_spread(v, eqn.outvars[0]) for v in eqn.invars]
    if name.startswith(("reduce_window", "select_and_")):
        return _windows(eqn)
    if name.startswith(("reduce_", "arg")) and "axes" in eqn.params:
        return _dropped(eqn, eqn.params["axes"])
    return None


def _all(atom: Atom, but: Iterable[SupportsIndex] = ()) -> AxisMap:
    return {i: i for i in range(len(shape_of(atom))) if i not in but}


def _spread(atom: Atom, out: Atom) -> AxisMap:
    """The axes of an operand, but for those of length one that are spread over longer ones."""
    before, after = shape_of(atom), shape_of(out)
    if len(before) != len(after):
        return {}
    return {i: i for i, (n, m) in enumerate(zip(before, after, strict=True)) if n == m}


def _dropped(eqn: JaxprEqn, axes: Iterable[SupportsIndex]) -> list[AxisMap]:
    rest = [i for i in range(len(shape_of(eqn.invars[0]))) if i not in axes]
    return [{source: target for target, source in enumerate(rest)} for _ in eqn.invars]


def _along(name: str) -> _Rule:
    """An operation along an axis keeps all others."""

    def rule(eqn: JaxprEqn) -> list[AxisMap]:
        axis = eqn.params.get(name, len(shape_of(eqn.invars[0])) - 1)
        return [_all(v, axis if isinstance(axis, tuple) else (axis,)) for v in eqn.invars]

    return rule


def _windows(eqn: JaxprEqn) -> list[AxisMap]:
    """Along axes whose windows are single positions, one after the other."""
    params, size = eqn.params, len(eqn.params["window_dimensions"])
    ones = [(1,) * size] * 2
    names = ("window_dimensions", "window_strides", "base_dilation", "window_dilation")
    columns = zip(*(params.get(n) or ones[0] for n in names), params["padding"], strict=True)
    slid = [i for i, each in enumerate(columns) if (*each[:4], *each[4]) != (1, 1, 1, 1, 0, 0)]
    return [_all(v, slid) if len(shape_of(v)) == size else {} for v in eqn.invars]


def _whole(eqn: JaxprEqn) -> list[AxisMap]:
    """A slice keeps the axes that it takes whole."""
    first, out = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    strides = eqn.params.get("strides") or (1,) * len(out)
    cut = [i for i, n in enumerate(out) if n != first[i] or strides[i] != 1]
    return [_all(eqn.invars[0], cut), *({} for _ in eqn.invars[1:])]


def _update(eqn: JaxprEqn) -> list[AxisMap]:
    into, piece = shape_of(eqn.invars[0]), shape_of(eqn.invars[1])
    part = [i for i, n in enumerate(piece) if n != into[i]]
    both = [_all(v, part) for v in eqn.invars[:2]]
    return [*both, *({} for _ in eqn.invars[2:])]


def _pad(eqn: JaxprEqn) -> list[AxisMap]:
    moved = [i for i, each in enumerate(eqn.params["padding_config"]) if any(each)]
    return [_all(eqn.invars[0], moved), {}]


def _conv(eqn: JaxprEqn) -> list[AxisMap]:
    numbers = eqn.params["dimension_numbers"]
    plain = eqn.params["batch_group_count"] == 1
    return [{numbers.lhs_spec[0]: numbers.out_spec[0]} if plain else {}, {}]


def _dot(eqn: JaxprEqn) -> list[AxisMap]:
    contracted, batch = eqn.params["dimension_numbers"]
    found: list[AxisMap] = []
    start = len(batch[0])
    for k in (0, 1):
        held = {*contracted[k], *batch[k]}
        free = [i for i in range(len(shape_of(eqn.invars[k]))) if i not in held]
        places = {axis: place for place, axis in enumerate(batch[k])}
        found.append({**places, **{axis: start + i for i, axis in enumerate(free)}})
        start += len(free)
    return found


def _broadcast(eqn: JaxprEqn) -> list[AxisMap]:
    first, out = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    pairs = enumerate(eqn.params["broadcast_dimensions"])
    known = {i: int(target) for i, target in pairs if first[i] == out[target]}
    return [known, *({} for _ in eqn.invars[1:])]


def _transpose(eqn: JaxprEqn) -> list[AxisMap]:
    return [{axis: place for place, axis in enumerate(eqn.params["permutation"])}]


def _squeeze(eqn: JaxprEqn) -> list[AxisMap]:
    return _dropped(eqn, eqn.params["dimensions"])


def _gather(eqn: JaxprEqn) -> list[AxisMap]:
    """Axes that are taken whole, and those along which each position has indices of its own."""
    first, out = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    inner = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    windows = [i for i in range(len(first)) if i not in inner]
    taken = [i for i in range(len(out)) if i not in numbers.offset_dims]
    pairs = zip(windows, numbers.offset_dims, strict=True)
    operand = {axis: int(place) for axis, place in pairs if sizes[axis] == first[axis]}
    batching = zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    operand |= {axis: taken[index] for axis, index in batching}
    return [operand, dict(enumerate(taken))]


def _scatter(eqn: JaxprEqn) -> list[AxisMap]:
    """Axes that are written whole, and those along which each position has indices of its own."""
    into, _, piece = map(shape_of, eqn.invars)
    numbers = eqn.params["dimension_numbers"]
    inner = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    windows = [i for i in range(len(into)) if i not in inner]
    pairs = list(zip(numbers.update_window_dims, windows, strict=True))
    written = {int(source): axis for source, axis in pairs if piece[source] == into[axis]}
    rest = [i for i in range(len(piece)) if i not in numbers.update_window_dims]
    batching = list(
        zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
    )
    indices = {int(index): int(axis) for axis, index in batching}
    updates = {**written, **{rest[index]: axis for index, axis in indices.items()}}
    return [{axis: axis for axis in updates.values()}, indices, updates]


def _fft(eqn: JaxprEqn) -> list[AxisMap]:
    rank = len(shape_of(eqn.invars[0]))
    return [_all(eqn.invars[0], range(rank - len(eqn.params["fft_lengths"]), rank))]


_Rule = Callable[[JaxprEqn], list[AxisMap]]
_RULES: dict[str, _Rule] = {
    "conv_general_dilated": _conv,
    "dot_general": _dot,
    "broadcast_in_dim": _broadcast,
    "slice": _whole,
    "dynamic_slice": _whole,
    "dynamic_update_slice": _update,
    "pad": _pad,
    "gather": _gather,
    "fft": _fft,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "concatenate": _along("dimension"),
    "sort": _along("dimension"),
    "rev": _along("dimensions"),
    "split": _along("axis"),
    "top_k": _along("axis"),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), _along("axis")),
    **dict.fromkeys(("scatter", "scatter-add", "scatter_add"), _scatter),
    **dict.fromkeys(("scatter-mul", "scatter_mul", "scatter-min", "scatter_min"), _scatter),
    **dict.fromkeys(("scatter-max", "scatter_max"), _scatter),
}
