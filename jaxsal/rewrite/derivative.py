"""Which operations are derivatives, and whether a program has any."""

import functools

from jax.extend.core import Jaxpr, JaxprEqn

from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.program import equations


def of_inputs(eqn: JaxprEqn) -> bool:
    """Whether a convolution is a derivative by inputs: the kernel's `in` and `out` are swapped.

    They are `[*window, in, out]` forward, and `[out, in, *window]` where channels come first.
    """
    outputs, inputs, *window = eqn.params["dimension_numbers"].rhs_spec
    return bool(outputs < inputs if min(window) == 0 else outputs > inputs)


def differentiates(frame: Frame) -> bool:
    """Whether anything in the whole program comes of differentiation, as its name stack tells."""
    while frame.outer is not None:
        frame = frame.outer
    return _differentiates(frame.jaxpr)


@functools.lru_cache(maxsize=16)  # every rule asks, of one program after the other
def _differentiates(jaxpr: Jaxpr) -> bool:
    return any("jvp(" in str(eqn.source_info.name_stack) for eqn in equations(jaxpr))
