"""A kernel in the place of a program, where it can be compiled: on one GPU that is known."""

import jax
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array

from jaxsal.rewrite.at_lowering import Flat, as_it_is, by_platform
from jaxsal.rewrite.program import Values, trace

GPU = ("gpu", "cuda", "rocm")
"""What JAX calls the platforms for which Triton compiles."""


def on_gpu(kernel: Flat, program: Flat, *args: Array) -> Values:
    """What a kernel computes, or elsewhere, with the same results, the program that it replaces.

    The program is also what is spread over devices, what is exported and what is differentiated.
    """

    def choose(closed: ClosedJaxpr, platform: str) -> Flat:
        return kernel if compiles_for(platform) else as_it_is(closed)

    return by_platform(choose, trace(program, *args)[0], *args, opaque=True)


def compiles_for(platform: str) -> bool:
    """Whether it is a GPU, and Pallas knows which: the process's own, or one that it is told of."""
    told = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    known = jax.default_backend() if told is None else told.platform
    return platform in GPU and known == "gpu"
