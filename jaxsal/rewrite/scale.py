"""The scale of a normalisation folded into the kernel of the convolution beside it.

In inference a batch norm multiplies every feature by a constant. A convolution is linear in its
kernel, so that the constants may multiply the kernel's outputs (in the gradient its inputs) once,
in the place of all values of the image; and the convolution's result, to which only a bias is
added then, can be finished by the library that computes it:

.. math:: s ⊙ (x * w - m) = x * (w s) - m s,  (s ⊙ g) * w = g * (s w)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal, Var
from jaxtyping import Array, Float

from jaxsal.rewrite.conv import is_thin
from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import bind

_CONVOLUTION = "conv_general_dilated"


class _Fold(NamedTuple):
    """A convolution whose result, less a mean or not, is multiplied by a factor."""

    convolution: JaxprEqn
    factor: Var
    mean: Any


def scaled_output(eqn: JaxprEqn, values: list[Any], frame: Frame) -> list[Array] | None:
    """Rule for `mul`: a convolution, less a mean or not, times a constant for each feature."""
    del values
    fold = _fold(eqn, frame)
    if fold is None:
        return None
    inputs, kernel = (frame.read(atom) for atom in fold.convolution.invars)
    numbers = fold.convolution.params["dimension_numbers"]
    scale = _per_feature(fold.factor, frame, _axis(eqn.outvars[0], numbers.out_spec))
    (out,) = bind(fold.convolution, [inputs, _times(kernel, scale, numbers.rhs_spec[0])])
    out = out.reshape(_shape(eqn.outvars[0]))
    return [out if fold.mean is None else out - frame.read(fold.mean) * frame.read(fold.factor)]


def scaled_input(eqn: JaxprEqn, values: list[Any], frame: Frame) -> list[Array] | None:
    """Rule for a convolution of what was multiplied by a constant for each feature.

    The constant is one that `scaled_output` folds in the same body: so it is known to come from
    the parameters alone, and not from the image, over which the kernel would be batched.
    """
    made = _producer(eqn.invars[0], frame)
    params = eqn.params
    if made is None or made.primitive.name != "mul" or params["feature_group_count"] != 1:
        return None
    numbers = params["dimension_numbers"]
    for factor, other in (made.invars, made.invars[::-1]):
        if isinstance(factor, Literal) or _shape(other) != _shape(made.outvars[0]):
            continue
        scale = _per_feature(factor, frame, _axis(other, numbers.lhs_spec))
        if scale is not None and _is_constant(factor, frame):
            inputs = frame.read(other).reshape(_shape(eqn.invars[0]))
            return bind(eqn, [inputs, _times(values[1], scale, numbers.rhs_spec[1])])
    return None


def _is_constant(factor: Any, frame: Frame) -> bool:
    """Whether the factor, in one shape or another, is one that `scaled_output` folds."""
    root = _root(factor, frame)
    for eqn in frame.jaxpr.eqns:
        if eqn.primitive.name == "mul" and any(_root(v, frame) is root for v in eqn.invars):
            found = _fold(eqn, frame)
            if found is not None and _root(found.factor, frame) is root:
                return True
    return False


def _root(atom: Any, frame: Frame) -> Any:
    """What an atom was before it was given another shape."""
    made = frame.producer(atom)
    while made is not None and made.primitive.name in ("reshape", "broadcast_in_dim"):
        atom = made.invars[0]
        made = frame.producer(atom)
    return atom


def _fold(eqn: JaxprEqn, frame: Frame) -> _Fold | None:
    for product, factor in (eqn.invars, eqn.invars[::-1]):
        if isinstance(product, Literal) or isinstance(factor, Literal):
            continue
        made, mean = _producer(product, frame, alone=True), None
        if made is not None and made.primitive.name == "sub":
            mean = made.invars[1]
            made = _producer(made.invars[0], frame, alone=True)
        if made is None or made.primitive.name != _CONVOLUTION or not _multiplies(made):
            continue
        axis = _axis(eqn.outvars[0], made.params["dimension_numbers"].out_spec)
        constants = [factor] if mean is None else [factor, mean]
        if all(
            _per_feature(each, frame, axis) is not None and _apart(frame, each, made.invars[0])
            for each in constants
        ):
            return _Fold(made, factor, mean)
    return None


def _producer(atom: Any, frame: Frame, *, alone: bool = False) -> JaxprEqn | None:
    """What computes an atom, but for a change of shape that leaves the last axis as it is.

    Args:
        alone: whether nothing else may read what it computes.
    """
    while True:
        made = frame.producer(atom)
        if made is None or (alone and _is_shared(atom, frame)):
            return None
        same = made.primitive.name == "reshape" and made.params["dimensions"] is None
        if not same or _shape(made.invars[0])[-1:] != _shape(atom)[-1:]:
            return made
        atom = made.invars[0]


def _is_shared(atom: Any, frame: Frame) -> bool:
    return len(frame.consumers(atom)) != 1 or frame.is_output(atom)


def _axis(atom: Any, order: tuple[int, ...]) -> int | None:
    """The axis of the features, of a value that has a convolution's order of axes, or merges some.

    `None` where axes are merged and the features are not the last one.
    """
    rank = len(_shape(atom))
    if rank == len(order):
        return order[1]
    return rank - 1 if order[1] == len(order) - 1 else None


def _multiplies(convolution: JaxprEqn) -> bool:
    """Whether the kernel may be multiplied: what is thin is another rule's."""
    params = convolution.params
    avals: list[Any] = [v.aval for v in (*convolution.invars, *convolution.outvars)]
    same = len({aval.dtype for aval in avals}) == 1 and jnp.issubdtype(avals[0].dtype, jnp.floating)
    return bool(same and params["batch_group_count"] == 1 and not is_thin(convolution))


def _apart(frame: Frame, atom: Any, inputs: Any) -> bool:
    """Whether an atom depends on nothing that the inputs of a convolution depend on."""
    return not (frame.sources(atom) & frame.sources(inputs))


def _per_feature(atom: Any, frame: Frame, axis: int | None) -> Float[Array, " features"] | None:
    """The values of an array that differ along one axis alone; `None` if it is not known to do so.

    The array has length 1 along the others, or was made by `broadcast_in_dim` from one that has.
    """
    made = frame.producer(atom)
    if axis is None or isinstance(atom, Literal):
        return None
    length = _shape(atom)[axis : axis + 1]
    if math.prod(length) < 2:
        return None
    if made is not None and made.primitive.name == "broadcast_in_dim":
        (inner, *rest), places = made.invars, made.params["broadcast_dimensions"]
        along = {p for n, p in zip(_shape(inner), places, strict=True) if n > 1}
        if isinstance(inner, Literal) or rest or along != {axis}:
            return None
        return frame.read(inner).reshape(-1)
    return frame.read(atom).reshape(-1) if math.prod(_shape(atom)) == math.prod(length) else None


def _times(kernel: Array, scale: Array, axis: int) -> Array:
    shape = [1] * kernel.ndim
    shape[axis] = -1
    return kernel * scale.reshape(shape)


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(atom.aval.shape)
