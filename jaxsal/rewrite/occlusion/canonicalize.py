"""`split`, `unstack`, `stack` and `tile` in terms of slices and concatenations.

The block rules of the latter then serve for these too.
"""

import itertools
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.interpreter import Frame, Rules, evaluate


def canonicalize(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program with these operations as slices, concatenations and axes of 1."""
    if not any(eqn.primitive.name in _RULES for eqn in closed.jaxpr.eqns):
        return closed
    return jax.make_jaxpr(lambda *xs: evaluate(closed, _RULES, *xs))(*closed.in_avals)


def _split(eqn: JaxprEqn, values: list[Array], frame: Frame) -> list[Array]:
    del frame
    return _parts(values[0], eqn.params["sizes"], eqn.params["axis"])


def _unstack(eqn: JaxprEqn, values: list[Array], frame: Frame) -> list[Array]:
    del frame
    (value,), axis = values, eqn.params["axis"]
    return [lax.squeeze(part, [axis]) for part in _parts(value, [1] * value.shape[axis], axis)]


def _stack(eqn: JaxprEqn, values: list[Array], frame: Frame) -> list[Array]:
    del frame
    axis = eqn.params["axis"]
    return [lax.concatenate([lax.expand_dims(value, [axis]) for value in values], axis)]


def _tile(eqn: JaxprEqn, values: list[Array], frame: Frame) -> list[Array]:
    del frame
    (value,) = values
    for axis, times in enumerate(eqn.params["reps"]):
        value = lax.concatenate([value] * times, axis) if times > 1 else value
    return [value]


def _parts(value: Array, sizes: Sequence[SupportsIndex], axis: int) -> list[Array]:
    ends = list(itertools.accumulate(map(operator.index, sizes)))
    pairs = zip([0, *ends[:-1]], ends, strict=True)
    return [lax.slice_in_dim(value, start, end, axis=axis) for start, end in pairs]


_RULES: Rules = {"split": _split, "unstack": _unstack, "stack": _stack, "tile": _tile}
