"""The arithmetic of a program: the convolutions and products that its mathematics asks for."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jaxsal.rewrite.at_lowering import BY_PLATFORM, mapped
from jaxsal.rewrite.program import shape_of


def flops(jaxpr: Jaxpr) -> float:
    """Floating point operations of all convolutions and products, as `total` counts.

    A multiplication and an addition are two; the zeros that dilate a convolution's input are none.
    """
    return total(jaxpr, _flops)


def flops_of(eqn: JaxprEqn) -> float:
    """Those of one equation and of the programs inside it."""
    return _total_of(eqn, _flops)


def total(jaxpr: Jaxpr, count: Callable[[JaxprEqn], float]) -> float:
    """The sum of `count` over all convolutions and products, loops counted turn by turn.

    Of a `cond` the dearest branch counts; a `while` counts once, its turns being unknown.
    """
    return sum((_total_of(eqn, count) for eqn in jaxpr.eqns), 0.0)


def products(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Every convolution and product of a program and of the programs inside it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _COUNTED:
            yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from products(inner)


def _total_of(eqn: JaxprEqn, count: Callable[[JaxprEqn], float]) -> float:
    name = eqn.primitive.name
    if name in _COUNTED:
        return count(eqn)
    inside = [total(each, count) for each in jaxprs_in_params(eqn.params)]
    if name == "cond":
        return max(inside, default=0.0)
    return sum(inside, 0.0) * (_TIMES[name](eqn.params) if name in _TIMES else 1)


_TIMES: dict[str, Callable[[dict[str, Any]], int]] = {
    "scan": lambda params: params["length"],
    BY_PLATFORM.name: mapped,
}
"""By operation how often the program inside it runs."""


def _flops(eqn: JaxprEqn) -> float:
    return _COUNTED[eqn.primitive.name](eqn)


def _convolution(eqn: JaxprEqn) -> float:
    kernel, out = shape_of(eqn.invars[1]), shape_of(eqn.outvars[0])
    features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    zeros = math.prod(eqn.params["lhs_dilation"])
    return 2.0 * math.prod(out) * math.prod(kernel) / features / zeros


def _product(eqn: JaxprEqn) -> float:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = shape_of(eqn.invars[0])
    return 2.0 * math.prod(shape_of(eqn.outvars[0])) * math.prod(left[axis] for axis in contracted)


_COUNTED = {"conv_general_dilated": _convolution, "dot_general": _product}
