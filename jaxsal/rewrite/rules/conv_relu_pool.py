"""The first stage of a network as one kernel of a GPU.

The stage is a convolution from few channels, ReLU and a max-pool, with what is done to each channel
between. The kernel writes what the pool keeps and one byte a window, where it was, which the rules
of the derivative read. What lies between, larger by the window, is neither written nor read.
"""

from __future__ import annotations

import math

from jax.extend.core import JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.at_lowering import Flat
from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.kernels.on_gpu import on_gpu
from jaxsal.rewrite.program import Atom, Values, bind, shape_of
from jaxsal.rewrite.rules import conv, max_pool, relu_pool_gradient, stage
from jaxsal.rewrite.rules.channelwise import STEPS, Step, before, played, vectors_of
from jaxsal.rewrite.rules.max_pool import PoolWindows

MAX_TERMS = 128
"""The most products that make the values of a window, one channel of them."""
MAX_SUMS = 12
"""The most values of a window in the image, channels included, that are summed side by side."""
DTYPES = ("float32", "bfloat16", "float16")


def conv_relu_pool(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for the max-pool of a stage, where the program takes the derivative of that pool."""
    operand = eqn.invars[0]
    windows, relu = max_pool.windows_of(eqn, values[0]), frame.producer(operand)
    if windows is None or relu is None or not stage.is_differentiated(operand, frame):
        return None
    x = relu_pool_gradient.relu_input(relu)
    if x is None or len(relu.invars) != 1:
        return None
    made, steps = before(x, frame, tuple(STEPS))
    if made is None or not suits(made, windows, made.invars[0]):
        return None

    def program(inputs: Array, kernel: Array, *vectors: Array) -> list[Array]:
        (convolved,) = bind(made, [inputs, kernel])
        (activation,) = bind(relu, [played(steps, made.outvars[0], convolved, vectors)])
        place = relu_pool_gradient.positive_place(activation, windows)
        return [max_pool.maximum(activation, windows), place]

    args = *map(frame.read, made.invars), *vectors_of(steps, frame)
    pooled, place = on_gpu(_kernel(made, steps, windows), program, *args)
    relu_pool_gradient.keep_place(place, operand, windows, frame)
    return [pooled]


def _kernel(made: JaxprEqn, steps: list[Step], windows: PoolWindows) -> Flat:
    def kernel(inputs: Array, kernel: Array, *vectors: Array) -> list[Array]:
        from jaxsal.rewrite.kernels import conv_relu_pool as kernels  # Pallas, where it is needed

        settings = kernels.ConvReluPool(
            stage.low_padding(made),
            stage.rows_and_columns(shape_of(made.outvars[0])),
            stage.rows_and_columns(windows.size),
            tuple(each.eqn.primitive.name for each in steps if each.side is not None),
        )
        kernel = conv.channels_last_kernel(made, kernel)
        outs = kernels.conv_relu_pool(inputs, kernel, vectors, stage=settings)
        return [out.reshape(windows.counts) for out in outs]

    return kernel


def suits(eqn: JaxprEqn, windows: PoolWindows, few: Atom) -> bool:
    """Whether a kernel computes a convolution beside such a pool, of which one side is small."""
    return (
        stage.is_beside(eqn, windows)
        and stage.shaped(eqn.invars[0]).dtype.name in DTYPES
        and _is_small(eqn, windows, shape_of(few)[-1])
    )


def _is_small(eqn: JaxprEqn, windows: PoolWindows, channels: int) -> bool:
    """Whether a window's values, of the side with so many channels, have room in registers."""
    _, _, *axes = eqn.params["dimension_numbers"].rhs_spec
    kernel, values = shape_of(eqn.invars[1]), channels * math.prod(windows.size)
    return values <= MAX_SUMS and values * math.prod(kernel[i] for i in axes) <= MAX_TERMS
