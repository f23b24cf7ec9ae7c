"""The gradient of a network's first stage with respect to the image, as one kernel of a GPU.

What comes back from the pool goes to one place of each window, and from there through the
convolution's derivative. The kernel reads each window's cotangent and the byte that says its place,
and writes the image's gradient; the cotangent of what was pooled, larger by the window, is neither
written nor read.
"""

from __future__ import annotations

from jax.extend.core import JaxprEqn
from jaxtyping import Array

from jaxsal.rewrite.at_lowering import Flat
from jaxsal.rewrite.interpreter import Frame
from jaxsal.rewrite.kernels.on_gpu import on_gpu
from jaxsal.rewrite.program import Values, bind, shape_of
from jaxsal.rewrite.rules import conv, max_pool, stage
from jaxsal.rewrite.rules.channelwise import before, played, vectors_of
from jaxsal.rewrite.rules.conv_relu_pool import suits
from jaxsal.rewrite.rules.max_pool import PoolWindows
from jaxsal.rewrite.rules.relu_pool_gradient import kept_place, relu_pool_cotangent


def conv_relu_pool_gradient(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
    """Rule for a convolution to few channels of what comes back from a max-pool of ReLUs."""
    made, steps = before(eqn.invars[0], frame, ("mul",))
    if made is None or made.primitive.name != "select_n":
        return None
    found = relu_pool_cotangent(made, frame)
    if found is None or not suits(eqn, found.windows, eqn.outvars[0]):
        return None
    windows, start = found.windows, made.outvars[0]

    def program(cotangent: Array, place: Array, kernel: Array, *factors: Array) -> list[Array]:
        scattered = max_pool.scatter_to(cotangent, place, windows)
        return bind(eqn, [played(steps, start, scattered, factors), kernel])

    place = kept_place(found.operand, windows, frame)
    args = frame.read(found.cotangent), place, values[1], *vectors_of(steps, frame)
    return on_gpu(_kernel(eqn, windows), program, *args)


def _kernel(eqn: JaxprEqn, windows: PoolWindows) -> Flat:
    def kernel(cotangent: Array, place: Array, kernel: Array, *factors: Array) -> list[Array]:
        from jaxsal.rewrite.kernels import conv_relu_pool_gradient as kernels  # Pallas, as needed

        shape = shape_of(eqn.outvars[0])
        settings = kernels.PoolGradientConv(
            stage.low_padding(eqn),
            stage.rows_and_columns(shape),
            stage.rows_and_columns(windows.size),
            shape[3],
        )
        kernel = conv.channels_last_kernel(eqn, kernel)
        cotangent, place = (x.reshape(-1, *x.shape[-3:]) for x in (cotangent, place))
        return [kernels.conv_relu_pool_gradient(cotangent, place, kernel, factors, conv=settings)]

    return kernel
