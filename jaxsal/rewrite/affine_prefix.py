"""The affine prefix of a score, which a path method evaluates at the two ends of a path alone.

Everything before the first nonlinearity (a normalisation of the intensities, the first convolution,
its bias) takes, at b + α (x - b), the value that lies at α between its values at the two ends. A
path method can therefore evaluate it at the ends alone, average the gradient behind it, and pull
that average back to the image once. In exchange it keeps and sums the outputs of the prefix, mostly
larger than the image: cheap prefixes, such as a 3x3 convolution of one channel, stay in the score.

A constant that is infinite and is added, padded with or chosen (a mask) is the same at both ends
and so all along. A factor that is infinite or NaN, or a divisor of zero, makes infinities whose
sign is the image's own: it ends the prefix. Where such a factor is not known when the program is
traced (a parameter), the gradient through it is not finite anyway.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var
from jaxtyping import Array, Float

from jaxsal.rewrite.cost import flops_of
from jaxsal.rewrite.dataflow import SAME_VALUES, constants, is_real
from jaxsal.rewrite.interpreter import inline
from jaxsal.rewrite.notes import Note, note
from jaxsal.rewrite.program import (
    Atom,
    JaxValue,
    live_equations,
    play,
    read,
    shape_of,
    trace,
    variables,
)
from jaxsal.types import Image, Scalar, ScoreFn, accumulator

Values = list[Array]
"""What the affine prefix computes: its outcome at one point of the path."""

_PRODUCTS = frozenset({"conv_general_dilated", "dot_general"})

MIN_WORK = 256.0
"""The fewest operations per output value of a prefix that is evaluated at the ends alone.

Measured on two CPU cores, 8 steps, jax 0.10 and 0.12: without its prefix, a network that begins
with a 3x3 convolution of one or three channels (18 and 54 operations a value) is 0.7 to 0.9 times
as fast, with 7x7 of three channels (294) 1.0 to 1.5 times, with 11x11 of three or 5x5 of sixteen
(726 and 800) 1.4 to 1.7 times.
"""

MIN_WORK_ON = {"tpu": math.inf}
"""`MIN_WORK` on platforms, by the score's `platform`, where it is another.

Predicted for a v6e and a ResNet-50, 64 steps of 2 images: with its prefix (7x7, 294 operations a
value) 90 ms, without it 26. The sum over steps is taken of 64 channels at 112x112, across lanes.
"""

Constants = dict[Var, JaxValue]
"""What is known of the variables that do not depend on the image."""

_LINEAR_IN_ALL = frozenset(
    {"add", "add_any", "concatenate", "copy", "copy_p", "cumsum", "expand_dims", "neg", "pad"}
    | {"broadcast_in_dim", "reduce_sum", "reduce_window_sum", "reshape", "rev", "slice", "split"}
    | {"squeeze", "sub", "tile", "transpose", "convert_element_type"}
)
_LINEAR_IN_ONE = _PRODUCTS | {"mul"}
_LINEAR_IN_FIRST = frozenset({"div", "dynamic_slice", "gather"})

_LARGEST = 2**20
"""Elements of a constant that is still read, to see whether it is finite."""


def path_gradient(
    score: ScoreFn, start: Image, end: Image, *, min_work: float | None = None
) -> tuple[Callable[[Scalar], Values], Callable[[Sequence[Array]], Image]]:
    """The gradient of a score along a straight path, in two parts.

    .. math:: Σₖ wₖ ∇s(b + αₖ (x - b)) = pull\\_back(Σₖ wₖ gradient\\_at(αₖ)),  Σₖ wₖ arbitrary

    With s = g ∘ P and P affine, `gradient_at(α)` is ∇g at P(b) + α (P(x) - P(b)), and `pull_back`
    is the transpose of P's derivative. Where `score.rewrite` is False, or where the convolutions
    and products before the first nonlinearity are none or cheap, P is the identity.

    Args:
        score: `score(image) -> scalar`, differentiable; what it closes over may be traced.
        start: b, one image, floating.
        end: x, of the same shape and dtype.
        min_work: operations per output value of the prefix, below which P is the identity; None:
            as many as pay on the score's platform.

    Returns:
        `gradient_at(position) -> values`, a list of arrays, and `pull_back(values) -> image`, which
        is linear: sums over positions are taken of `gradient_at`'s lists. Values wider than the
        score's own (float32 sums of bfloat16 gradients) are rounded once, when they are pulled
        back.
    """
    if min_work is None:
        min_work = MIN_WORK_ON.get(getattr(score, "platform", ""), MIN_WORK)
    prefix = _prefix(score, end, min_work)
    first, second = prefix.run(start), prefix.run(end)

    def gradient_at(position: Scalar) -> Values:
        # Computed: JAX refuses NumPy's arrays, which `vmap` hands on, in calls such as `_between`.
        share = jnp.add(position, 0.0)
        ends = zip(first, second, strict=True)
        return jax.grad(prefix.rest)([_between(a, b, share) for a, b in ends])

    def pull_back(values: Sequence[Array]) -> Image:
        cotangents = [v.astype(a.dtype) for v, a in zip(values, first, strict=True)]
        return jax.vjp(prefix.run, start)[1](cotangents)[0]

    return gradient_at, pull_back


class _Prefix(NamedTuple):
    """A score in two parts: `score(image) = rest(run(image))`, and `run` is affine."""

    run: Callable[[Image], Values]
    rest: Callable[[Values], Scalar]


def _prefix(score: ScoreFn, image: Image, min_work: float) -> _Prefix:
    whole = _Prefix(lambda image: [image], lambda values: score(values[0]))
    if not getattr(score, "rewrite", True):
        return whole
    closed = inline(trace(score, image)[0])
    parts = _split(closed)
    work = sum(map(flops_of, parts.affine)) / max(sum(map(_size, parts.border)), 1)
    if not work or work < min_work:
        pays = "none pays here" if math.isinf(min_work) else f"{min_work:.0f} and more pay"
        why = f"its affine prefix costs {work:.0f} operations a value; {pays}"
        note(Note("affine_prefix", "the score", False, why))
        return whole
    note(Note("affine_prefix", f"an affine prefix of {len(parts.affine)} operations", True))
    known = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    play(parts.constant, known)

    def run(image: Image) -> Values:
        values = known | {closed.jaxpr.invars[0]: image}
        play(parts.affine, values)
        return [values[var] for var in parts.border]

    def rest(values: Values) -> Scalar:
        found = known | dict(zip(parts.border, values, strict=True))
        play(parts.rest, found)
        return read(closed.jaxpr.outvars[0], found)

    return _Prefix(run, rest)


class _Parts(NamedTuple):
    """The equations of a score, sorted, and the affine variables that the others read."""

    constant: list[JaxprEqn]
    affine: list[JaxprEqn]
    rest: list[JaxprEqn]
    border: list[Var]


def _split(closed: ClosedJaxpr) -> _Parts:
    jaxpr, parts = closed.jaxpr, _Parts([], [], [], [])
    affine, dependent, known = set(jaxpr.invars), set(jaxpr.invars), dict(constants(closed))
    for eqn in live_equations(jaxpr):
        moving = [var for var in variables(eqn.invars) if var in dependent]
        dependent.update(eqn.outvars if moving else ())
        if not moving:
            parts.constant.append(eqn)
            known.update(dict.fromkeys(eqn.outvars, _computed(eqn, known)))
        elif affine.issuperset(moving) and _linear(eqn, dependent) and _bounded(eqn, known):
            parts.affine.append(eqn)
            affine.update(eqn.outvars)
        else:
            parts.rest.append(eqn)
    read = [var for eqn in parts.rest for var in variables(eqn.invars)]
    read += variables(jaxpr.outvars)
    parts.border.extend(dict.fromkeys(var for var in read if var in affine))
    return parts


def _linear(eqn: JaxprEqn, dependent: set[Var]) -> bool:
    """Whether an equation is affine in those of its operands that depend on the image."""
    moving = [not isinstance(v, Literal) and v in dependent for v in eqn.invars]
    name = eqn.primitive.name
    floating = all(is_real(v) for v in eqn.outvars)
    return floating and (
        name in _LINEAR_IN_ALL
        or (name in _LINEAR_IN_ONE and sum(moving) == 1)
        or (name in _LINEAR_IN_FIRST and moving[0] and sum(moving) == 1)
        or (name == "select_n" and not moving[0])
    )


def _bounded(eqn: JaxprEqn, known: Constants) -> bool:
    """Whether no factor or divisor of the image is known to make infinities of it."""
    factors = [_known(atom, known) for atom in eqn.invars]
    if eqn.primitive.name == "div" and factors[1] is not None and not np.all(factors[1]):
        return False
    return eqn.primitive.name not in _LINEAR_IN_ONE | {"div"} or all(map(_is_finite, factors))


def _computed(eqn: JaxprEqn, known: Constants) -> JaxValue:
    """What is known of a constant's values: an operand's, or that one is not finite."""
    operands = [_known(atom, known) for atom in eqn.invars]
    if eqn.primitive.name in SAME_VALUES:
        return operands[0]
    return None if all(map(_is_finite, operands)) else np.inf


def _known(atom: Atom, known: Constants) -> np.ndarray | None:
    """The values that an atom holds, in whatever shape; `None` where they are not known."""
    value = atom.val if isinstance(atom, Literal) else known.get(atom)
    if value is None or np.size(value) > _LARGEST:
        return None
    read = getattr(value, "is_fully_addressable", True) and jax.dtypes.issubdtype(
        jax.dtypes.result_type(value), np.number
    )
    return np.asarray(value) if read else None


def _is_finite(values: np.ndarray | None) -> bool:
    if values is None:
        return True
    native = values if values.dtype.kind in "fc" else values.astype(np.float32)
    return bool(np.all(np.isfinite(native)))


def _size(var: Var) -> int:
    return math.prod(shape_of(var))


@jax.custom_jvp
def _between(first: Array, second: Array, position: Scalar) -> Float[Array, "..."]:
    """first + position * (second - first), also where that formula is not finite.

    Equal ends (infinite or very large in masks) give their value; ends whose difference overflows
    are weighted and added instead.
    """
    a, b, share = _widened(first, second, position)
    change = b - a
    apart = jnp.where(jnp.isfinite(change), a + share * change, (1 - share) * a + share * b)
    return jnp.where(a == b, a, apart).astype(first.dtype)


@_between.defjvp
def _between_jvp(
    primals: tuple[Array, Array, Scalar], tangents: tuple[Array, Array, Scalar]
) -> tuple[Array, Array]:
    # The formula's, of equal ends too, which a choice between the two would lose.
    a, b, share = _widened(*primals)
    da, db, move = _widened(*tangents)
    change = jnp.where(jnp.isfinite(b - a), b - a, 0)
    tangent = (1 - share) * da + share * db + change * move
    return _between(*primals), tangent.astype(primals[0].dtype)


def _widened(first: Array, second: Array, position: Scalar) -> list[Array]:
    wide = accumulator(first.dtype)
    return [jnp.asarray(x, wide) for x in (first, second, position)]
