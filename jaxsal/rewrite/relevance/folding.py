"""What is added to and multiplied with a layer's result, as a part of the layer.

A batch norm at inference is an affine function of each channel, so that a convolution and the norm
behind it are one convolution with another kernel and bias: `W' = W s`, `b' = t`, where the norm
makes `s (W x) + t` of `W x`. How it is written does not count: constants are followed through
sums, products and reshapes as long as nothing else reads what is between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal, Var
from jaxtyping import Array

from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.elementwise import POINTWISE
from jaxsal.rewrite.program import Atom, JaxValue, bind, dtype_of, shape_of

RESHAPES = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim"})
SAME = frozenset({"copy", "copy_p", "name", "convert_element_type", "reduce_precision", "pvary"})
SCALES = frozenset({"mul", "div", "neg"})


class Fold(NamedTuple):
    """Along which axes of a linear operation's result the scale and the shift after it vary.

    `None` where there is none.
    """

    scale: frozenset[int] | None = None
    shift: frozenset[int] | None = None


def fold(linear: JaxprEqn, chain: Sequence[JaxprEqn], flow: Dataflow) -> Fold | None:
    """How the equations behind a linear operation can be made a part of it, if they can be."""
    origin = [frozenset([i]) for i in range(len(shape_of(linear.outvars[0])))]
    scale, shift = frozenset[int](), frozenset[int]()
    scales = shifts = False
    for eqn in chain:
        if eqn.primitive.name in RESHAPES:
            moved = _moved(eqn, origin)
            if moved is None:
                return None
            origin = moved
        elif eqn.primitive.name not in SAME:
            constants = [v for v in eqn.invars if not flow.depends(v)]
            along = {axis for v in constants for axis in varying(v, len(origin), flow)}
            axes = frozenset().union(*(origin[axis] for axis in along))
            if eqn.primitive.name in SCALES:
                scale, scales = scale | axes, True
            else:
                shift, shifts = shift | axes, True
                scales = scales or _negates(eqn, flow)
    shift = shift | scale if shifts and scales else shift
    allowed = kernel_axes(linear, flow)
    if allowed is not None and not scale <= allowed.keys():
        return None
    return Fold(scale if scales else None, shift if shifts else None)


def _negates(eqn: JaxprEqn, flow: Dataflow) -> bool:
    """Whether what depends on the image is taken from a constant, which scales it by -1."""
    return eqn.primitive.name == "sub" and flow.depends(eqn.invars[1])


def kernel_axes(linear: JaxprEqn, flow: Dataflow) -> dict[int, int] | None:
    """From the axes of a linear operation's result to those of its kernel; `None`: no kernel."""
    if linear.primitive.name == "conv_general_dilated":
        numbers = linear.params["dimension_numbers"]
        return {numbers.out_spec[1]: numbers.rhs_spec[0]}
    if linear.primitive.name != "dot_general":
        return None
    contracted, batch = linear.params["dimension_numbers"]
    side = 1 if flow.depends(linear.invars[0]) else 0
    free = [
        [i for i in range(len(shape_of(v))) if i not in (*contracted[k], *batch[k])]
        for k, v in enumerate(linear.invars)
    ]
    start = len(batch[0]) + (len(free[0]) if side else 0)
    return dict(enumerate(batch[side])) | {start + i: axis for i, axis in enumerate(free[side])}


def varying(atom: Atom, rank: int, flow: Dataflow) -> frozenset[int]:
    """The axes along which a constant varies, of those of a result of so many axes."""
    shape = shape_of(atom)
    if len(shape) != rank:
        return frozenset()
    wide = frozenset(i for i, n in enumerate(shape) if n != 1)
    eqn = flow.producer(atom)
    if isinstance(atom, Literal) or eqn is None:
        return wide
    if eqn.primitive.name == "broadcast_in_dim":
        inner = shape_of(eqn.invars[0])
        targets = zip(eqn.params["broadcast_dimensions"], inner, strict=True)
        return frozenset(axis for axis, n in targets if n != 1)
    if eqn.primitive.name in POINTWISE:
        return wide & frozenset().union(*(varying(v, rank, flow) for v in eqn.invars))
    return wide


def scale_and_shift(
    linear: JaxprEqn,
    chain: Sequence[JaxprEqn],
    found: Fold,
    known: Mapping[Var, JaxValue],
) -> tuple[Array | None, Array | None]:
    """The scale and the shift in the layout of the linear operation's result.

    Each has length one along the axes along which it does not vary.
    """
    if found == Fold():
        return None, None
    (out,) = linear.outvars
    zeros = jnp.zeros(shape_of(out), dtype_of(out))
    after = lambda z: after_linear(linear, chain, known, z)  # noqa: E731
    shift, scale = jax.jvp(after, (zeros,), (jnp.ones_like(zeros),))
    back = moved_back(linear, chain)
    return (
        None if found.scale is None else _compact(back(scale), found.scale),
        None if found.shift is None else _compact(back(shift), found.shift),
    )


def after_linear(
    linear: JaxprEqn, chain: Sequence[JaxprEqn], known: Mapping[Var, JaxValue], value: Array
) -> Array:
    """What a chain makes of the linear operation's result."""
    local = {linear.outvars[0]: value}
    for eqn in chain:
        operands = [
            v.val if isinstance(v, Literal) else local[v] if v in local else known[v]
            for v in eqn.invars
        ]
        local[eqn.outvars[0]] = bind(eqn, operands)[0]
    return local[(chain[-1] if chain else linear).outvars[0]]


def moved_back(linear: JaxprEqn, chain: Sequence[JaxprEqn]) -> Callable[[Array], Array]:
    """From the layout of a chain's result to that of the linear operation's."""
    moves = [eqn for eqn in chain if eqn.primitive.name in RESHAPES | SAME]
    if not moves:
        return lambda value: value
    (out,) = linear.outvars

    def forth(value: Array) -> Array:
        for eqn in moves:
            value = bind(eqn, [value])[0]
        return value

    _, transposed = jax.vjp(forth, jnp.zeros(shape_of(out), dtype_of(out)))
    dtype = dtype_of(moves[-1].outvars[0])
    return lambda value: transposed(value.astype(dtype))[0]


def folded_kernel(linear: JaxprEqn, kernel: Array, scale: Array | None, flow: Dataflow) -> Array:
    """A layer's kernel times the scale behind it."""
    axes = kernel_axes(linear, flow)
    if scale is None or axes is None:
        return kernel
    order = sorted(axes, key=axes.__getitem__)
    shape = [1] * kernel.ndim
    for axis in order:
        shape[axes[axis]] = scale.shape[axis]
    others = [i for i in range(scale.ndim) if i not in axes]
    return kernel * jnp.transpose(scale, [*order, *others]).reshape(shape).astype(kernel.dtype)


def _compact(value: Array, axes: frozenset[int]) -> Array:
    return value[tuple(slice(None) if i in axes else slice(0, 1) for i in range(value.ndim))]


def _moved(eqn: JaxprEqn, origin: Sequence[frozenset[int]]) -> list[frozenset[int]] | None:
    """Where a result's axes come from, behind a reshape that loses and repeats nothing."""
    before, after = shape_of(eqn.invars[0]), shape_of(eqn.outvars[0])
    if eqn.primitive.name == "transpose":
        return [origin[axis] for axis in eqn.params["permutation"]]
    found: list[frozenset[int]] = [frozenset() for _ in after]
    i = j = 0
    while i < len(before) or j < len(after):
        ends = i + 1, j + 1
        sizes = [before[i] if i < len(before) else 1, after[j] if j < len(after) else 1]
        while sizes[0] != sizes[1]:
            side = 0 if sizes[0] < sizes[1] else 1
            shape = (before, after)[side]
            if ends[side] >= len(shape):
                return None
            sizes[side] *= shape[ends[side]]
            ends = (ends[0] + (side == 0), ends[1] + (side == 1))
        group = frozenset().union(*(origin[k] for k in range(i, min(ends[0], len(before)))))
        for k in range(j, min(ends[1], len(after))):
            found[k] = group
        i, j = ends
    return found
