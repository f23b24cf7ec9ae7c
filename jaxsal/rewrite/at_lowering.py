"""A program that is chosen by the platform that it is lowered for.

Under `jax.jit` a function is traced before anyone says for which platform: `jax.export` may name
another one than the process has, or several. What is put off here is one operation of the traced
program; when that is lowered, it becomes the program for the platform. `jax.lax.platform_dependent`
would trace the programs for all platforms.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.core import ShapedArray, Tracer
from jax.extend.core import ClosedJaxpr, Primitive
from jax.interpreters import ad, batching, mlir

from jaxsal.rewrite.program import JaxValue, Values, lifted

Flat = Callable[..., Values]
"""A function of flat arrays."""

Choose = Callable[[ClosedJaxpr, str], Flat]
"""From a program and a platform to what is computed there, with the same results."""


class Axis(NamedTuple):
    """An axis that is mapped over: `dims` of the arguments, and what else `jax.vmap` is told."""

    dims: tuple[int | None, ...]
    size: int
    name: Any
    spmd_name: Any


def known_platform() -> str | None:
    """The platform of the devices of JAX's current mesh; None where there is none."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    return None if device is None else str(device.platform)


def by_platform(choose: Choose, closed: ClosedJaxpr, *args: JaxValue) -> Values:
    """The results of a program at its arguments, as chosen for the platform, once that is known.

    Outside a trace it is the default one.
    """
    if any(isinstance(constant, Tracer) for constant in closed.consts):
        avals = [jax.typeof(x) for x in args]
        (closed,), constants = lifted([_as_it_is(closed)], avals)
        args = (*constants, *args)
    return list(BY_PLATFORM.bind(*args, choose=choose, closed=closed, axes=()))


def mapped(eqn_params: dict[str, Any]) -> int:
    """How many times the program of such an operation runs."""
    times = 1
    for axis in eqn_params["axes"]:
        times *= axis.size
    return times


def _as_it_is(closed: ClosedJaxpr) -> Flat:
    return lambda *args: list(jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *args))


def _chosen(platform: str, choose: Choose, closed: ClosedJaxpr, axes: tuple[Axis, ...]) -> Flat:
    fun = choose(closed, platform)
    for axis in axes:
        fun = jax.vmap(
            fun,
            in_axes=axis.dims,
            axis_name=axis.name,
            axis_size=axis.size,
            spmd_axis_name=axis.spmd_name,
        )
    return fun


BY_PLATFORM = Primitive("by_platform")
BY_PLATFORM.multiple_results = True


@BY_PLATFORM.def_impl
def _run(*args: JaxValue, **params: Any) -> Values:
    return _chosen(jax.default_backend(), **params)(*args)


@BY_PLATFORM.def_effectful_abstract_eval
def _types(
    *args: Any, choose: Choose, closed: ClosedJaxpr, axes: tuple[Axis, ...]
) -> tuple[list[ShapedArray], Any]:
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
    """The derivative of what is chosen for the default platform.

    That of an operation which is put off would be put off too, and with it its transpose.
    """
    fun = _chosen(jax.default_backend(), **params)
    return jax.jvp(fun, tuple(primals), tuple(map(ad.instantiate_zeros, tangents)))


def _lower(ctx: Any, *args: Any, **params: Any) -> Any:
    platforms = ctx.platforms or ctx.module_context.platforms
    every = {platform: _chosen(platform, **params) for platform in platforms}
    first = next(iter(every.values()))

    def fun(*args: JaxValue) -> Values:
        return first(*args) if len(every) == 1 else lax.platform_dependent(*args, **every)

    return mlir.lower_fun(fun, multiple_results=True)(ctx, *args)


batching.fancy_primitive_batchers[BY_PLATFORM] = _map
ad.primitive_jvps[BY_PLATFORM] = _differentiate
mlir.register_lowering(BY_PLATFORM, _lower)
