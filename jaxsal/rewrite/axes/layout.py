"""Which axis of each value of a program runs along which axis of its image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from jaxsal.rewrite.axes.factors import (
    COPY,
    Factors,
    Labels,
    agreed,
    full_axis,
    image_axes,
    unknown,
    whole,
)
from jaxsal.rewrite.axes.index_arrays import is_increasing, is_plain, is_small
from jaxsal.rewrite.axes.patches import tiled_axes
from jaxsal.rewrite.axes.propagation import Operand, propagate
from jaxsal.rewrite.dataflow import fixed_point
from jaxsal.rewrite.program import Atom, fits, open_jaxpr, scan_parts, shape_of, while_parts
from jaxsal.types import axes_by_shape, usual_axes

Axes = tuple[int | None, ...]
"""For each spatial axis of the image, the axis of a value that runs along it."""


class AxisLayout(NamedTuple):
    """How the values of a program lie over its image.

    Attributes:
        labels: for each variable that depends on the image, what its axes are made of.
        gone: for each variable, the image's axes that it had, of length one, and that were dropped.
        spatial: the image's spatial axes: those that the first convolution slides along, else those
            that the first pool or reshape into patches tiles; where there is none, `usual_axes`.
        is_known: whether the program or the shape says which they are.
    """

    labels: dict[Var, Labels]
    gone: dict[Var, frozenset[int]]
    spatial: tuple[int, ...]
    is_known: bool = True

    def axes(self, var: Var) -> Axes | None:
        """The axes of a value along the image's spatial axes, in order; `None` if one is lost.

        A dropped axis of length one is not lost: it is `None` in the tuple. An axis is lost where
        several axes of the value run along it, or where it is merged with others.
        """
        labels = self.labels.get(var, ())
        found: list[int | None] = []
        for axis in self.spatial:
            along = [i for i, f in enumerate(labels) if (full_axis(f) or (None,))[0] == axis]
            parts = [f for f in labels if axis in image_axes(f) and not self._in_channels(f)]
            if len(along) == 1 == len(parts):
                found.append(along[0])
            elif not parts and axis in self.gone.get(var, ()):
                found.append(None)
            else:
                return None
        return tuple(found)

    def reversed_axes(self, var: Var) -> tuple[int, ...]:
        """The axes of a value that run along one of the image's from its end to its start."""
        found = enumerate(map(full_axis, self.labels.get(var, ())))
        return tuple(i for i, each in found if each and each[1] < 0)

    def lost_at(self, body: Jaxpr, var: Var) -> JaxprEqn | None:
        """The equation by which a value, or what it was computed from, lost one of these axes."""
        made = {out: eqn for eqn in body.eqns for out in eqn.outvars}
        while (eqn := made.get(var)) is not None:
            read = [v for v in eqn.invars if isinstance(v, Var) and v in self.labels]
            if not read or any(self.axes(v) is not None for v in read):
                return eqn
            var = read[0]
        return None

    def _in_channels(self, factors: Factors) -> bool:
        return any(f.axis not in (COPY, *self.spatial) for f in factors)


def layout(flat: ClosedJaxpr, spatial: tuple[int, ...] = ()) -> AxisLayout:
    """Follows the image's axes through a program of one image; `spatial`, where they are known."""
    (image,) = flat.jaxpr.invars
    walk = _Walk(shape_of(image), spatial)
    walk.labels[image] = tuple(whole(i, n) for i, n in enumerate(shape_of(image)))
    walk.run(flat.jaxpr)
    found = walk.spatial or walk.tiled or axes_by_shape(shape_of(image))
    return AxisLayout(walk.labels, walk.gone, found or usual_axes(shape_of(image)), bool(found))


@dataclass
class _Walk:
    """One pass over a body: what is known of its variables so far."""

    image: tuple[int, ...]
    spatial: tuple[int, ...] = ()
    labels: dict[Var, Labels] = field(default_factory=dict)
    gone: dict[Var, frozenset[int]] = field(default_factory=dict)
    rising: set[Var] = field(default_factory=set)
    plain: set[Var] = field(default_factory=set)
    small: set[Var] = field(default_factory=set)
    tiled: tuple[int, ...] = ()

    def run(self, body: Jaxpr) -> None:
        self.small.update(v for v in body.constvars if len(shape_of(v)) < 2)
        for eqn in body.eqns:
            if any(isinstance(v, Var) and v in self.labels for v in eqn.invars):
                self._depending(eqn)
            else:
                self._independent(eqn)

    def read(self, atom: Atom) -> Labels | None:
        return None if isinstance(atom, Literal) else self.labels.get(atom)

    def _independent(self, eqn: JaxprEqn) -> None:
        if is_increasing(eqn, self.rising):
            self.rising.update(eqn.outvars)
        if is_plain(eqn, self.plain, self.small):
            self.plain.update(eqn.outvars)
        elif is_small(eqn, self.small):
            self.small.update(eqn.outvars)

    def _depending(self, eqn: JaxprEqn) -> None:
        before = frozenset().union(
            *(self.gone.get(v, ()) for v in eqn.invars if isinstance(v, Var))
        )
        dropped = before | _dropped(eqn, self.read(eqn.invars[0]) if eqn.invars else None)
        if eqn.primitive.name == "conv_general_dilated":
            self._slides(eqn)
        for out, found in zip(eqn.outvars, self._outputs(eqn), strict=True):
            shape = shape_of(out)
            fits = found is not None and len(found) == len(shape)
            self.labels[out] = found if fits and found else tuple(unknown(n) for n in shape)
            if not self.tiled and not self.spatial:
                tiles = tiled_axes(eqn, self.read(eqn.invars[0]), self.labels[out], self.image)
                self.tiled = tuple(sorted(tiles))
            if missing := dropped - set().union(*map(image_axes, self.labels[out])):
                self.gone[out] = frozenset(missing)

    def _outputs(self, eqn: JaxprEqn) -> Sequence[Labels | None]:
        name = eqn.primitive.name
        if name == "scan":
            return self._scan(eqn)
        if name == "while":
            return self._while(eqn)
        if name == "cond":
            outs = [self._inside(b, eqn.invars[1:]) for b in eqn.params["branches"]]
            columns = zip(*outs, strict=True)
            return [_one_of(c, shape_of(v)) for c, v in zip(columns, eqn.outvars, strict=True)]
        for body in jaxprs_in_params(eqn.params):
            if fits(body, eqn):
                return self._inside(body, eqn.invars)
        operands = [
            Operand(shape_of(v), self.read(v), v in self.rising, v in self.plain)
            if isinstance(v, Var)
            else Operand(shape_of(v))
            for v in eqn.invars
        ]
        found = [propagate(eqn, operands, i) for i in range(len(eqn.outvars))]
        return [self._slid(eqn, found[0])] if name == "conv_general_dilated" else found

    def _slides(self, conv: JaxprEqn) -> None:
        """The image's spatial axes are those that the first convolution slides along.

        Where their labels are lost, those whose lengths it sees, if there is one choice of them.
        """
        lhs, spec = self.read(conv.invars[0]), conv.params["dimension_numbers"].lhs_spec
        if self.spatial or lhs is None:
            return
        found = {axis for i in spec[2:] for axis in image_axes(lhs[i])}
        sizes = tuple(shape_of(conv.invars[0])[i] for i in spec[2:])
        choices = [
            chosen
            for chosen in itertools.combinations(range(len(self.image)), len(sizes))
            if tuple(self.image[i] for i in chosen) == sizes
        ]
        if found or len(choices) == 1:
            self.spatial = tuple(sorted(found)) or choices[0]

    def _slid(self, conv: JaxprEqn, found: Labels | None) -> Labels | None:
        """A convolution over a value that lost all axes slides along the image's, in order.

        One whose windows are single positions slides along nothing.
        """
        numbers, lhs = conv.params["dimension_numbers"], self.read(conv.invars[0])
        if lhs is None or found is None or len(numbers.out_spec) - 2 != len(self.spatial):
            return found
        kernel = shape_of(conv.invars[1])
        pointwise = all(kernel[i] == 1 for i in numbers.rhs_spec[2:])
        if pointwise or any(image_axes(f) & {*self.spatial} for f in lhs):
            return found
        targets = dict(zip(numbers.out_spec[2:], self.spatial, strict=True))
        sizes = shape_of(conv.outvars[0])
        return tuple(
            whole(targets[i], sizes[i]) if i in targets else old for i, old in enumerate(found)
        )

    def _inside(
        self, body: Jaxpr | ClosedJaxpr, operands: Iterable[Atom | Labels | None]
    ) -> list[Labels | None]:
        """The labels of a body's results, from those of its operands or the operands."""
        jaxpr = open_jaxpr(body)
        inner = _Walk(self.image, self.spatial)
        for var, operand in zip(jaxpr.invars, operands, strict=True):
            known = self.read(operand) if isinstance(operand, Literal | Var) else operand
            if known is not None:
                inner.labels[var] = known
        inner.run(jaxpr)
        self.spatial = self.spatial or inner.spatial
        self.tiled = self.tiled or inner.tiled
        return [inner.read(v) for v in jaxpr.outvars]

    def _scan(self, eqn: JaxprEqn) -> list[Labels | None]:
        """Results in a row lie along what the rows they were computed from lie along."""
        constants, carry, rows = scan_parts(eqn, [self.read(v) for v in eqn.invars])
        leads = [row[0] for row in rows if row is not None]
        length = eqn.params["length"]
        lead = reduce(lambda a, b: agreed(a, b, length), leads) if leads else unknown(length)
        inside = [None if row is None else row[1:] for row in rows]
        step = lambda now: self._inside(eqn.params["jaxpr"], [*constants, *now, *inside])  # noqa: E731
        carry, outs = _settled(step, carry, eqn)
        return [*carry, *(None if out is None else (lead, *out) for out in outs[len(carry) :])]

    def _while(self, eqn: JaxprEqn) -> list[Labels | None]:
        _, constants, carry = while_parts(eqn, [self.read(v) for v in eqn.invars])
        step = lambda now: self._inside(eqn.params["body_jaxpr"], [*constants, *now])  # noqa: E731
        return _settled(step, carry, eqn)[0]


_Known = list[Labels | None]


def _settled(
    step: Callable[[_Known], _Known], carry: _Known, eqn: JaxprEqn
) -> tuple[_Known, _Known]:
    """A loop's carries and its last results, once a turn changes no carry's labels.

    Each turn that changes some loses them for good, so that the turns end.
    """
    join = lambda i, one, other: _one_of((one, other), shape_of(eqn.outvars[i]))  # noqa: E731
    found = fixed_point(step, carry, join, itertools.count())
    assert found is not None
    return found


def _one_of(choices: Iterable[Labels | None], shape: Sequence[int]) -> Labels | None:
    """The labels of a value that is one of several; constants say nothing."""
    known = [labels for labels in choices if labels is not None]
    found = known[0] if known else None
    for labels in known[1:]:
        found = tuple(map(agreed, found or (), labels, shape))
    return found


def _dropped(eqn: JaxprEqn, labels: Labels | None) -> frozenset[int]:
    """The axes of length one that a `squeeze` or a `reshape` may take away."""
    if eqn.primitive.name not in ("squeeze", "reshape") or labels is None:
        return frozenset()
    pairs = zip(shape_of(eqn.invars[0]), labels, strict=True)
    return frozenset().union(*(image_axes(factors) for n, factors in pairs if n == 1))
