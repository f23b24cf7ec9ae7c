"""A program that is chosen by the platform that it is lowered for.

Under `jax.jit` a function is traced before anyone says for which platform: `jax.export` may name
another one than the process has, or several. What is put off here is one operation of the traced
program; when that is lowered, it becomes the program for the platform. `jax.lax.platform_dependent`
would trace the programs for all platforms.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple

import jax
from jax import lax

# Rules of checkify are registered nowhere else: `jax.experimental.checkify` has no name for it.
from jax._src.checkify import checkify_jaxpr, error_checks
from jax.core import ShapedArray, Tracer
from jax.extend.core import ClosedJaxpr, Primitive
from jax.interpreters import ad, batching, mlir

from jaxsal.rewrite.program import (
    BODIES,
    JaxValue,
    Values,
    explicitly_sharded,
    lifted,
    trace,
)

Flat = Callable[..., Values]
"""A function of flat arrays."""

Choose = Callable[[ClosedJaxpr, str], Flat]
"""From a program and a platform to what is computed there, with the same results."""

SETTINGS: dict[str, Callable[[Any], AbstractContextManager[None]]] = {
    "jax_enable_x64": jax.enable_x64,
    "jax_default_matmul_precision": jax.default_matmul_precision,
    "jax_numpy_rank_promotion": jax.numpy_rank_promotion,
    "jax_numpy_dtype_promotion": jax.numpy_dtype_promotion,
}
"""What JAX traces by, and the contexts that set it: a rule is traced later than its program."""


ADDRESSED = 2**31
"""A kernel's offsets of 32 bits reach into arrays of fewer elements."""


class Axis(NamedTuple):
    """An axis that is mapped over: `dims` of the arguments, and what else `jax.vmap` is told."""

    dims: tuple[int | None, ...]
    size: int
    name: Any
    spmd_name: Any


def by_platform(
    choose: Choose, closed: ClosedJaxpr, *args: JaxValue, opaque: bool = False
) -> Values:
    """The results of a program at its arguments, as chosen for the platform, once that is known.

    Outside a trace it is the default one.

    Args:
        opaque: whether what is chosen may be a kernel, which JAX cannot differentiate, XLA not
            spread over devices, and no exported program hold: there the program stays as it is.
    """
    if any(isinstance(constant, Tracer) for constant in closed.consts):
        avals = [jax.typeof(x) for x in args]
        (closed,), constants = lifted([as_it_is(closed)], avals)
        args = (*constants, *args)
    now = tuple((name, getattr(jax.config, name)) for name in SETTINGS)
    params = {"choose": choose, "closed": closed, "opaque": opaque}
    return list(BY_PLATFORM.bind(*args, axes=(), settings=now, **params))


def under(axes: Sequence[Axis], fun: Flat) -> Flat:
    """A function of flat arrays mapped over axes, the innermost first."""
    for axis in axes:
        fun = jax.vmap(
            fun,
            in_axes=axis.dims,
            axis_name=axis.name,
            axis_size=axis.size,
            spmd_axis_name=axis.spmd_name,
        )
    return fun


def mapped(eqn_params: dict[str, Any]) -> int:
    """How many times the program of such an operation runs."""
    return math.prod(axis.size for axis in eqn_params["axes"])


def as_it_is(closed: ClosedJaxpr, platform: str = "") -> Flat:
    """A program on any platform."""
    del platform
    return lambda *args: list(jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *args))


def _program_for(
    platform: str,
    choose: Choose,
    closed: ClosedJaxpr,
    axes: tuple[Axis, ...],
    settings: tuple[tuple[str, Any], ...],
    opaque: bool,
) -> Flat:
    del opaque
    fun = under(axes, choose(closed, platform))

    def as_set(*args: JaxValue) -> Values:
        with ExitStack() as stack:
            for name, value in settings:
                stack.enter_context(SETTINGS[name](value))
            return fun(*args)

    return as_set


def _seen_by_jax(**params: Any) -> Flat:
    """The default platform's program, of operations that JAX differentiates."""
    choose = as_it_is if params["opaque"] else params["choose"]
    return _program_for(jax.default_backend(), **params | {"choose": choose})


BY_PLATFORM = Primitive("by_platform")
BY_PLATFORM.multiple_results = True


@BY_PLATFORM.def_impl
def _run(*args: JaxValue, **params: Any) -> Values:
    """Outside a trace arrays may lie anywhere: what may be a kernel stays as it is."""
    return _seen_by_jax(**params)(*args)


@BY_PLATFORM.def_effectful_abstract_eval
def _types(
    *args: Any, closed: ClosedJaxpr, axes: tuple[Axis, ...], **params: Any
) -> tuple[list[ShapedArray], Any]:
    if any(map(explicitly_sharded, (*args, *closed.out_avals))):  # JAX knows the results' shardings
        return trace(under(axes, as_it_is(closed)), *args)[0].out_avals, closed.effects
    sizes = tuple(axis.size for axis in reversed(axes))
    return [x.update(shape=(*sizes, *x.shape)) for x in closed.out_avals], closed.effects


def _map(
    axis_data: Any,
    args: Sequence[JaxValue],
    dims: Sequence[Any],
    *,
    axes: tuple[Axis, ...],
    **params: Any,
) -> tuple[Values, list[int]]:
    axis = Axis(tuple(dims), axis_data.size, axis_data.name, axis_data.spmd_name)
    outs = BY_PLATFORM.bind(*args, axes=(*axes, axis), **params)
    return outs, [0] * len(outs)


def _differentiate(
    primals: Sequence[JaxValue], tangents: Sequence[JaxValue], **params: Any
) -> tuple[Values, Values]:
    """The derivative of the default platform's program.

    JAX splits and transposes a derivative as it traces it: it has to see its operations.
    """
    fun = _seen_by_jax(**params)
    return jax.jvp(fun, tuple(primals), tuple(map(ad.instantiate_zeros, tangents)))


def _transpose(cotangents: Sequence[Any], *args: Any, **params: Any) -> list[Any]:
    """The transpose of the default platform's program, as its derivative is."""
    linear = [ad.is_undefined_primal(x) for x in args]
    program = _seen_by_jax(**params)

    def fun(*moved: JaxValue) -> Values:
        left = iter(moved)
        return program(*(next(left) if is_in else x for is_in, x in zip(linear, args, strict=True)))

    avals = [x.aval for x, is_in in zip(args, linear, strict=True) if is_in]
    found = iter(jax.linear_transpose(fun, *avals)([ad.instantiate_zeros(g) for g in cotangents]))
    return [next(found) if is_in else None for is_in in linear]


def _check(*args: Any, **params: Any) -> Any:
    """Checks the program as it stands: a rule's own operations are none of the user's."""
    before = len(args) - len(params["closed"].in_avals)
    *context, error, enabled = args[:before]  # A context since jax 0.12.
    params["choose"] = as_it_is
    program, _ = trace(_program_for(jax.default_backend(), **params), *args[before:])
    return checkify_jaxpr(*context, program, enabled, error, *args[before:])


def _lower(ctx: Any, *args: Any, **params: Any) -> Any:
    platforms = ctx.platforms or ctx.module_context.platforms
    if params["opaque"] and not _may_hold_kernels(ctx):
        params["choose"] = as_it_is
    every = {platform: _program_for(platform, **params) for platform in platforms}
    first = next(iter(every.values()))

    def fun(*args: JaxValue) -> Values:
        return first(*args) if len(every) == 1 else lax.platform_dependent(*args, **every)

    return mlir.lower_fun(fun, multiple_results=True)(ctx, *args)


def _may_hold_kernels(ctx: Any) -> bool:
    """Whether a module is for one device and this version of the compiler, and its arrays fit."""
    context = ctx.module_context
    alone = getattr(context.axis_context, "num_devices", None) == 1  # None under `shard_map`.
    fits = all(math.prod(aval.shape) < ADDRESSED for aval in (*ctx.avals_in, *ctx.avals_out))
    return alone and fits and not context.lowering_parameters.for_export


batching.fancy_primitive_batchers[BY_PLATFORM] = _map
ad.primitive_jvps[BY_PLATFORM] = _differentiate
ad.primitive_transposes[BY_PLATFORM] = _transpose
error_checks[BY_PLATFORM] = _check
BODIES[BY_PLATFORM] = ("closed",)
mlir.register_lowering(BY_PLATFORM, _lower)
