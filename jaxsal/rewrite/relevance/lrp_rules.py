"""Layer-wise relevance propagation: what each operation of a score does with relevance.

| operation | rule |
|---|---|
| convolution, dense layer, einsum, with bias and norm | the composite's, see `layer_rules` |
| sum, mean, average pool, sum of two values (residual) | epsilon's: `x T(R / st(z))` |
| activation, softmax, norm, constants multiplied | all relevance passes |
| a constant added elsewhere | a bias: `x R / st(x + c)`, it absorbs its share |
| maximum, max pool | the winner takes all |
| product of two values | by epsilon, half to each |
| reshape, pad, slice, concatenation | relevance moves along |

The deviation that a norm divides by, and its mean, are constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array

from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.program import JaxValue, bind, dtype_of
from jaxsal.rewrite.relevance import composites, folding, operations
from jaxsal.rewrite.relevance.composites import Composite
from jaxsal.rewrite.relevance.constants import hold_deviations, hold_means
from jaxsal.rewrite.relevance.extremum import winner
from jaxsal.rewrite.relevance.flat_score import flat_score
from jaxsal.rewrite.relevance.layer_rules import RULES, Layer, LrpOptions, stabilized
from jaxsal.rewrite.relevance.operations import Operation
from jaxsal.rewrite.relevance.sign import Signs
from jaxsal.rewrite.relevance.walk import Known, Walk, linear, no_rule, told, transposed
from jaxsal.types import Image, ScoreFn

METHOD = "lrp"


def relevance(score: ScoreFn, image: Image, composite: Composite, options: LrpOptions) -> Image:
    """The relevance of an image's values for its score, see `jaxsal.lrp`."""
    flat = hold_means(hold_deviations(flat_score(score, image)))
    walk = Walk(flat, layers=True)
    known = walk.values(image)
    bounds = _bounds(walk, image, options)
    whole = Dataflow(flat)  # in which what is held constant depends on the image too
    at = _At(walk, known, options, composite, bounds, whole, Signs(whole))
    return walk.back(known[walk.score], partial(_pull, at))


class _At(NamedTuple):
    """What rules read besides the operation and its relevance."""

    walk: Walk
    known: Known
    options: LrpOptions
    composite: Composite
    bounds: tuple[Known, Known] | None
    whole: Dataflow
    signs: Signs


def _bounds(walk: Walk, image: Image, options: LrpOptions) -> tuple[Known, Known] | None:
    """The program's values at the lowest and at the highest image."""
    if options.low is None or options.high is None:
        return None
    low, high = (jnp.broadcast_to(x, image.shape) for x in (options.low, options.high))
    return walk.values(low), walk.values(high)


def _pull(at: _At, operation: Operation, given: Array) -> Sequence[Array]:
    rule = _RULES.get(operation.kind)
    if rule is None:
        raise no_rule(operation, METHOD)
    name, shares = rule(at, operation, given)
    told(METHOD, operation, name)
    return shares


_Named = tuple[str, Sequence[Array]]


def _layer(at: _At, operation: Operation, given: Array) -> _Named:
    name, rule = composites.layer_rule(at.composite(operation), operation)
    equation, chain = operation.equations[0], operation.equations[1:]
    back = folding.moved_back(equation, chain)
    options = at.options
    if at.bounds is not None:
        one, other = (values[operation.inputs[0]] for values in at.bounds)
        options = options._replace(low=jnp.minimum(one, other), high=jnp.maximum(one, other))
    return name, [rule(layer_at(at, operation), back(given), options)]


def layer_at(at: _At, operation: Operation) -> Layer:
    """A layer at its input, with what is behind it folded into its kernel and bias."""
    equation, chain = operation.equations[0], operation.equations[1:]
    fold = folding.Fold(operation.scale_axes, operation.shift_axes)
    scale, shift = folding.scale_and_shift(equation, chain, fold, at.known)
    place = 0 if at.walk.flow.depends(equation.invars[0]) else 1
    constant = equation.invars[1 - place]
    kernel = constant.val if isinstance(constant, Literal) else at.known[constant]
    (var,) = operation.inputs

    def layer(x: JaxValue, kernel: JaxValue) -> JaxValue:
        return bind(equation, [x, kernel] if place == 0 else [kernel, x])[0]

    return Layer(
        x=at.known[var],
        kernel=folding.folded_kernel(equation, kernel, scale, at.walk.flow),
        bias=jnp.zeros((), dtype_of(equation.outvars[0])) if shift is None else shift,
        z=folding.moved_back(equation, chain)(at.known[operation.output]),
        bind=layer,
        nonnegative=at.signs.is_nonnegative(var),
    )


def _norm(at: _At, operation: Operation, given: Array) -> _Named:
    """Each input by its share of the sum."""
    s = given / stabilized(at.known[operation.output], at.options.stabilizer)
    pairs = zip(operation.inputs, linear(operation, at.known, s), strict=True)
    return "norm", [at.known[var] * share for var, share in pairs]


def _product(at: _At, operation: Operation, given: Array) -> _Named:
    """Each factor half."""
    if operation.name == "mul":
        return "halves", [given / 2, given / 2]
    s = given / stabilized(at.known[operation.output], at.options.stabilizer)
    pairs = zip(operation.inputs, transposed(operation, at.known, s), strict=True)
    return "halves", [at.known[var] * share / 2 for var, share in pairs]


def _constants(at: _At, operation: Operation, given: Array) -> _Named:
    """A constant alone that is added is a bias, a norm that is left over passes all."""
    scaled = any(eqn.primitive.name in folding.SCALES for eqn in operation.equations)
    held = [v for eqn in operation.equations for v in eqn.invars if not at.walk.flow.depends(v)]
    if scaled or any(map(at.whole.depends, held)):
        return "pass", [given]
    s = given / stabilized(at.known[operation.output], at.options.stabilizer)
    pairs = zip(operation.inputs, transposed(operation, at.known, s), strict=True)
    return "bias", [at.known[var] * share for var, share in pairs]


def _activation(at: _At, operation: Operation, given: Array) -> _Named:
    rule = at.composite(operation)
    if rule == composites.GRADIENT:
        return "gradient", transposed(operation, at.known, given)
    if isinstance(rule, str) and rule not in (composites.PASS, *RULES):
        raise ValueError(f"composite: expected 'pass' or 'gradient' for {operation}, got {rule!r}")
    return "pass", [given]


def _pass(at: _At, operation: Operation, given: Array) -> _Named:
    del at, operation
    return "pass", [given]


def _move(at: _At, operation: Operation, given: Array) -> _Named:
    return "move", linear(operation, at.known, given)


def _winner(at: _At, operation: Operation, given: Array) -> _Named:
    return "winner takes all", winner(operation, at.known, given)


_Rule = Callable[[_At, Operation, Array], _Named]

_RULES: dict[str, _Rule] = {
    operations.CONVOLUTION: _layer,
    operations.DENSE: _layer,
    operations.SUM: _norm,
    operations.ADD: _norm,
    operations.CONSTANTS: _constants,
    operations.ACTIVATION: _activation,
    operations.SOFTMAX: _pass,
    operations.MAXIMUM: _winner,
    operations.PRODUCT: _product,
    operations.MOVE: _move,
}
