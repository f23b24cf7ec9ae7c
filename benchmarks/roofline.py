"""The roofline: how fast the device is at most, and how much work a case is.

S. Williams, A. Waterman and D. Patterson, "Roofline: An Insightful Visual Performance Model for
Multicore Architectures", CACM 52(4), 2009.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn

from jaxsal.rewrite import cost

SIZES = {"cpu": (2048, 16, 1 << 26), "gpu": (8192, 128, 1 << 30)}
"""By platform: the side of the matrix, the images of the convolution, the floats of the copy."""


def peak_rates(toy: bool = False) -> dict[str, Any]:
    """FLOP/s of a large product and a large convolution, bytes/s of a large copy; best of several.

    In float32 at JAX's default precision, which the caller sets, and in bfloat16. The numbers are
    random: processors are faster at ones and zeros than at images.
    """
    side, images, floats = SIZES.get(jax.default_backend(), SIZES["gpu"])
    if toy:
        side, images, floats = 64, 1, 1 << 12
    rates: dict[str, Any] = {}
    for dtype in (jnp.float32, jnp.bfloat16):
        matrix = _random((side, side), dtype)
        product = 2.0 * side**3 / _best(lambda a: a @ a, matrix)
        batch = _random((images, 64, 64, 128), dtype)
        kernel = _random((3, 3, 128, 128), dtype)
        seconds = _best(
            lambda x, k: jax.lax.conv_general_dilated(
                x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            ),
            batch,
            kernel,
        )
        convolution = 2.0 * batch.size * 9 * 128 / seconds
        rates[jnp.dtype(dtype).name] = {"product": product, "convolution": convolution}
    array = _random((floats,), jnp.float32)
    rates["bytes"] = 2.0 * array.nbytes / _best(lambda x: x + 1, array)
    return rates


def _random(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.random.normal(jax.random.key(0), shape, dtype)


def _best(fun: Callable[..., Any], *args: Any) -> float:
    program = jax.jit(fun)
    jax.block_until_ready(program(*args))
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        jax.block_until_ready(program(*args))
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def model_cost(jaxpr: Jaxpr, batch: int) -> dict[str, float]:
    """The work of one image's program, times the batch, as `cost.total` counts.

    Returns:
        flops: of the convolutions and products.
        bytes: what these read and write once each; everything between them could be fused.
    """
    return {"flops": cost.flops(jaxpr) * batch, "bytes": cost.total(jaxpr, _bytes) * batch}


def _bytes(eqn: JaxprEqn) -> float:
    shapes = [var.aval for var in (*eqn.invars, *eqn.outvars)]
    return float(sum(math.prod(a.shape) * a.dtype.itemsize for a in shapes))  # type: ignore[attr-defined]


def floor(cost: dict[str, float], rates: dict[str, Any], dtype: str = "float32") -> float:
    """The floor: the least seconds in which the device could run the maths as it is written.

    The FLOPs of the convolutions and products at the fastest rate that was measured, or the bytes
    that these read and write once each at the rate of a copy, whichever takes longer. A program
    is below its floor where a rewrite leaves part of that arithmetic out, or methods share it.
    """
    return max(cost["flops"] / max(rates[dtype].values()), cost["bytes"] / rates["bytes"])
