"""Faster forms of the same mathematics, at the level of the whole program.

`optimize` is applied after differentiation, when the derivatives of pools and convolutions are
operations of the program themselves, before the batch `vmap` or to a program with a batch axis. It
replaces operations by plain differentiable ones, or by a kernel that is one where it is
differentiated. A new rule is a function in a file of `jaxsal/rewrite/rules/` and a row of
`REWRITES`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeVar

import jax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Primitive, primitives
from jaxtyping import Array

from jaxsal.rewrite.at_lowering import by_platform
from jaxsal.rewrite.interpreter import Frame, Rule, evaluate, rewritten
from jaxsal.rewrite.program import Values, explicitly_sharded, trace
from jaxsal.rewrite.rules import (
    conv,
    conv_relu_pool,
    conv_relu_pool_gradient,
    extremum_gradient,
    kernel_gradient,
    max_pool,
    relu_pool_gradient,
    strided_conv_pool,
    winograd,
)

T = TypeVar("T")

GPUS = {"cuda": "gpu", "rocm": "gpu"}
"""What JAX calls a GPU where a program is lowered for it."""

_CONVOLUTION = primitives.conv_general_dilated_p.name
_BEFORE_0_11 = jax.__version_info__ < (0, 11)
"""Before jax 0.11, XLA:CPU's convolutions run half as fast as its matrix products, and its window
reductions as fast as selection beside a derivative; measured with jax 0.10 and 0.12."""


class Rewrite(NamedTuple):
    """A rule, and where it is on.

    Attributes:
        primitive: the name of the operation that it replaces.
        rule: what replaces it.
        platforms: where it was measured (`python -m benchmarks rewrites`) or predicted from the
            compiled program (`python -m benchmarks targets`): on or off. It is off elsewhere.
        partner: the name of a rule without which it does not pay.
    """

    primitive: str
    rule: Rule
    platforms: dict[str, bool]
    partner: str = ""

    def is_on(self, platform: str) -> bool:
        """Whether the rule is known to pay on that platform."""
        return self.platforms.get(GPUS.get(platform, platform), False)


REWRITES: dict[str, Rewrite] = {
    # Kernels for GPUs, compiled and predicted for an H200, not yet measured on one.
    "conv_relu_pool": Rewrite(
        "reduce_window_max", conv_relu_pool.conv_relu_pool, {"cpu": False, "gpu": False}
    ),
    "conv_relu_pool_gradient": Rewrite(
        _CONVOLUTION, conv_relu_pool_gradient.conv_relu_pool_gradient, {"cpu": False, "gpu": False}
    ),
    "strided_conv_pool": Rewrite(
        "reduce_window_max",
        strided_conv_pool.strided_conv_pool,
        {"cpu": False, "tpu": True},
        partner="strided_conv_pool_gradient",
    ),
    "strided_conv_pool_gradient": Rewrite(
        _CONVOLUTION,
        strided_conv_pool.strided_conv_pool_gradient,
        {"cpu": False, "tpu": True},
        partner="strided_conv_pool",
    ),
    "relu_pool_gradient": Rewrite(
        "select_n", relu_pool_gradient.relu_pool_gradient, {"cpu": False, "gpu": True}
    ),
    "max_pool": Rewrite("reduce_window_max", max_pool.max_pool, {"cpu": True}),
    "max_pool_primal": Rewrite(
        "reduce_window_max", max_pool.max_pool_primal, {"cpu": not _BEFORE_0_11, "gpu": True}
    ),
    "max_pool_gradient": Rewrite(
        "select_and_scatter_add", max_pool.max_pool_gradient, {"cpu": True, "gpu": True}
    ),
    "max_pool_tangent": Rewrite("select_and_gather_add", max_pool.max_pool_tangent, {"cpu": True}),
    "extremum_gradient": Rewrite("eq", extremum_gradient.extremum_gradient, {"cpu": True}),
    "kernel_gradient": Rewrite(
        _CONVOLUTION, kernel_gradient.kernel_gradient, {"cpu": True, "gpu": False}
    ),
    "im2col_conv": Rewrite(_CONVOLUTION, conv.im2col_conv, {"cpu": True, "gpu": False}),
    "unrolled_conv": Rewrite(_CONVOLUTION, conv.unrolled_conv, {"cpu": False, "gpu": True}),
    "matmul_shift_conv": Rewrite(_CONVOLUTION, conv.matmul_shift_conv, {"cpu": True, "gpu": True}),
    "spread_volume_conv": Rewrite(_CONVOLUTION, conv.spread_volume_conv, {"cpu": True}),
    "winograd": Rewrite(_CONVOLUTION, winograd.winograd, {"cpu": _BEFORE_0_11, "gpu": False}),
    # Before jax 0.11 XLA:CPU brings channels last by itself, but not in a loop over points.
    "channels_last_conv": Rewrite(
        _CONVOLUTION, conv.channels_last_conv, {"cpu": True, "gpu": False}
    ),
}
"""In the order in which they are tried."""


def optimize(
    fun: Callable[..., T],
    *,
    platform: str | None = None,
    only: Collection[str] | None = None,
) -> Callable[..., T]:
    """`fun`, faster on `platform`, with the same results and derivatives.

    Operations of arrays on a mesh with explicit axes stay as they are: rules do not say how their
    results are sharded. Within `jax.sharding.auto_axes` XLA does.

    Args:
        fun: a function of pytrees of arrays; what it closes over may be traced.
        platform: `"cpu"`, `"gpu"` (or `"cuda"`, `"rocm"`), `"tpu"`; `None` for that which the
            program is lowered for. JAX has to see the operations of what it differentiates or
            transposes: there, and outside a trace, `None` is the default platform.
        only: names of `REWRITES` to use, whatever the platform; `None` for those that are on there.

    Raises:
        ValueError: `only` names something that is not in `REWRITES`.
    """
    if platform or only is not None:
        return rewritten(fun, _rules(_names_on(platform, only), Counter()))

    def optimized(*args: Any) -> T:
        closed, tree = trace(fun, *args)
        return jax.tree.unflatten(tree, by_platform(_on, closed, *jax.tree.leaves(args)))

    return optimized


def _on(closed: ClosedJaxpr, platform: str) -> Callable[..., Values]:
    """A program, faster on a platform."""
    return functools.partial(evaluate, closed, _rules(_names_on(platform, None), Counter()))


def count_rewrites(
    fun: Callable[..., object],
    *args: Any,
    platform: str | None = None,
    only: Collection[str] | None = None,
) -> dict[str, int]:
    """How many operations of `fun` at `args` (arrays or their shapes) each rewrite replaces."""
    names = _names_on(platform, only)
    count: Counter[str] = Counter(dict.fromkeys(names, 0))
    jax.eval_shape(rewritten(fun, _rules(names, count)), *args)
    return dict(count)


def _names_on(platform: str | None, only: Collection[str] | None) -> list[str]:
    if only is not None:
        if unknown := sorted(set(only) - set(REWRITES)):
            raise ValueError(f"only: unknown rewrites {unknown}; there are {list(REWRITES)}")
        return [name for name in REWRITES if name in only]
    platform = platform or jax.default_backend()
    return [name for name, each in REWRITES.items() if each.is_on(platform)]


def _rules(names: list[str], count: Counter[str]) -> dict[Primitive | str, Rule]:
    """For each primitive, the first of its rules that does not decline."""
    primitives_ = {REWRITES[name].primitive for name in names}

    def first(primitive: str) -> Rule:
        tried = [name for name in names if REWRITES[name].primitive == primitive]

        def rule(eqn: JaxprEqn, values: Values, frame: Frame) -> list[Array] | None:
            if any(explicitly_sharded(jax.typeof(value)) for value in values):
                return None
            for name in tried:
                outs = REWRITES[name].rule(eqn, values, frame)
                if outs is not None:
                    count[name] += 1
                    return list(outs)
            return None

        return rule

    return {primitive: first(primitive) for primitive in primitives_}
