"""Layers around layers: skips, branches, scans, loops, conditions, remat, jit, the user's vmap."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.random_networks import mixing, pointwise, spatial
from tests.random_networks.draws import (
    Draw,
    Hooks,
    Layer,
    Unsuitable,
    Value,
    by_example,
    chain,
    result,
    without_batch,
)


def inner(draw: Draw, value: Value) -> Layer:
    """A convolution that keeps the shape (or a product) and an activation."""
    if draw.chance(0.75):
        first = spatial.convolution(draw, value, keep=True)
    else:
        first = mixing.space_product(draw, value)
    kinds = [pointwise.relu, pointwise.relu, pointwise.activation, pointwise.surrogate]
    return chain([first, draw.pick(kinds)(draw, value)])


def _as(layer: Layer, name: str, call: Callable[..., Any], roles: str | None = None) -> Layer:
    roles = layer.roles if roles is None else roles
    return layer._replace(call=call, name=f"{name}({layer.name})", roles=roles)


def residual(draw: Draw, value: Value) -> Layer:
    layer = inner(draw, value)
    return _as(layer, "residual", lambda hooks, params, x: x + layer.call(hooks, params, x))


def dense(draw: Draw, value: Value) -> Layer:
    """The value and what a layer makes of it, side by side."""
    layer, axis = inner(draw, value), value.axis("c")
    if 2 * value.size("c") > 6:
        raise Unsuitable

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return jnp.concatenate([x, layer.call(hooks, params, x)], axis)

    return _as(layer, "dense", call)


def branches(draw: Draw, value: Value) -> Layer:
    """Two layers of the same value, joined by their channels, a product or a maximum."""
    layers = [inner(draw, value), inner(draw, value)]
    both, axis = chain(layers), value.axis("c")
    kinds = ["product", "maximum"] + ["joined"] * (2 * value.size("c") <= 6)
    kind = draw.pick(kinds)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        one, two = (layer.call(hooks, own, x) for layer, own in zip(layers, params, strict=True))
        if kind == "joined":
            return jnp.concatenate([one, two], axis)
        return one * two if kind == "product" else jnp.maximum(one, two)

    return _as(both, f"branches_{kind}", call)


def remat(draw: Draw, value: Value) -> Layer:
    layer = inner(draw, value)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return jax.checkpoint(functools.partial(layer.call, hooks))(params, x)

    return _as(layer, "remat", call)


def jitted(draw: Draw, value: Value) -> Layer:
    """`jit` in `jit`; the weights are arguments of the outer one, or closed over."""
    layer, closed = inner(draw, value), draw.chance(0.5)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        if closed:
            return jax.jit(lambda x: jax.jit(lambda y: layer.call(hooks, params, y))(x))(x)
        return jax.jit(jax.jit(functools.partial(layer.call, hooks)))(params, x)

    return _as(layer, "jit", call)


def vmapped(draw: Draw, value: Value) -> Layer:
    """A layer of one example under the user's own `vmap`."""
    if "b" not in value.roles:
        raise Unsuitable
    alone = without_batch(value)
    layer = inner(draw, alone)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return by_example(functools.partial(layer.call, hooks, params), value.roles)(x)

    return _as(layer, "vmap", call, value.roles)


def _stacked(draw: Draw, layer: Layer, count: int) -> Any:
    """Weights of `count` turns: the layer's own, each time a little other."""
    return jax.tree.map(
        lambda w: np.stack([w * np.float32(draw.uniform(low=0.6, high=1.0)) for _ in range(count)]),
        layer.params,
    )


def scanned(draw: Draw, value: Value) -> Layer:
    """A `scan` over the weights of two or three turns, of which the results may count, too."""
    layer, summed = inner(draw, value), draw.chance(0.3)
    stacked = _stacked(draw, layer, draw.integer(2, 3))

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        def turn(carry: jax.Array, own: Any) -> tuple[jax.Array, jax.Array]:
            carry = 0.5 * carry + layer.call(hooks, own, carry)
            return carry, jnp.tanh(carry)

        last, each = lax.scan(turn, x, params)
        return last + jnp.sum(each, 0) if summed else last

    return _as(layer, "scan", call)._replace(params=stacked)


def recurrent(draw: Draw, value: Value) -> Layer:
    """A `scan` along one of the axes, with a state."""
    axis = value.axis(draw.pick(value.space))

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        def turn(state: jax.Array, slice: jax.Array) -> tuple[jax.Array, jax.Array]:
            state = jnp.tanh(0.7 * state + slice)
            return state, state

        slices = jnp.moveaxis(x, axis, 0)
        _, states = lax.scan(turn, jnp.zeros_like(slices[0]), slices)
        return jnp.moveaxis(states, 0, axis)

    return Layer({}, call, value.roles, "recurrence")


def counted(draw: Draw, value: Value) -> Layer:
    """A `fori_loop` of a fixed count."""
    layer, count = inner(draw, value), draw.integer(1, 3)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        def turn(i: Any, x: jax.Array) -> jax.Array:
            return 0.5 * x + layer.call(hooks, params, x)

        return lax.fori_loop(0, count, turn, x)

    return _as(layer, "fori", call)


def conditional(draw: Draw, value: Value) -> Layer:
    """A `cond` or `switch` on a number of the example's own, under the user's `vmap` or not."""
    alone = without_batch(value)
    layers = [inner(draw, alone) for _ in range(draw.integer(1, 2))]
    both, threshold = chain(layers), draw.pick([0.0, 0.1])

    def one(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        calls = [
            functools.partial(layer.call, hooks, own)
            for layer, own in zip(layers, params, strict=True)
        ]
        if len(calls) == 1:
            return lax.cond(jnp.mean(x) > threshold, calls[0], lambda x: 0.5 * x, x)
        which = jnp.sum(jnp.mean(x) > jnp.array([-0.2, 0.1]))
        return lax.switch(which, [*calls, jnp.tanh], x)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return by_example(functools.partial(one, hooks, params), value.roles)(x)

    return _as(both, "cond", call, value.roles)


def _far(before: jax.Array, after: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(after - before)) > 1e-7


def _fixed_point(step: Callable[[jax.Array], jax.Array], start: jax.Array) -> jax.Array:
    """By a `while_loop` whose predicate depends on the data."""

    def more(carry: Any) -> jax.Array:
        before, after, turns = carry
        return _far(before, after) & (turns < 40)

    def turn(carry: Any) -> Any:
        _, after, turns = carry
        return after, step(after), turns + 1

    return lax.while_loop(more, turn, (start, step(start), 0))[1]


def _equilibrium(weights: jax.Array, x: jax.Array) -> jax.Array:
    return _fixed_point(lambda z: jnp.tanh(jnp.matmul(z, weights) + x), jnp.zeros_like(x))


equilibrium = jax.custom_vjp(_equilibrium)
"""z = tanh(z W + x), with the implicit derivative, which is another fixed point."""


def _equilibrium_forward(weights: jax.Array, x: jax.Array) -> Any:
    z = equilibrium(weights, x)
    return z, (weights, x, z)


def _equilibrium_backward(kept: Any, g: jax.Array) -> Any:
    weights, x, z = kept
    _, pull = jax.vjp(lambda z: jnp.tanh(jnp.matmul(z, weights) + x), z)
    u = _fixed_point(lambda u: g + pull(u)[0], jnp.zeros_like(g))
    _, out = jax.vjp(lambda weights, x: jnp.tanh(jnp.matmul(z, weights) + x), weights, x)
    return out(u)


equilibrium.defvjp(_equilibrium_forward, _equilibrium_backward)


def deep_equilibrium(draw: Draw, value: Value) -> Layer:
    """A fixed point over the channels, with a derivative of its own, or none and no gradient."""
    width, axis = value.size("c"), value.axis("c")
    params = {"w": draw.normal(width, width, scale=0.3 / width)}

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        moved = jnp.moveaxis(x, axis, -1)
        return jnp.moveaxis(equilibrium(jnp.asarray(params["w"]), moved), -1, axis)

    return Layer(params, call, value.roles, "equilibrium")


def looped(draw: Draw, value: Value) -> Layer:
    """A `while_loop` that JAX has no gradient of: a fixed count, or until the data say so.

    The data are those of a whole batch, where the network is not vmapped: its images meet there.
    """
    layer, kind = inner(draw, value), draw.pick(["fixed", "data", "equilibrium"])

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        if kind == "equilibrium":
            return _fixed_point(lambda z: 0.3 * jnp.tanh(layer.call(hooks, params, z) + x), x)

        def more(carry: Any) -> jax.Array:
            x, turns = carry
            small = jnp.mean(x * x) < 1.0
            return (turns < 2) if kind == "fixed" else small & (turns < 5)

        def turn(carry: Any) -> Any:
            x, turns = carry
            return 1.3 * x + 0.5 * layer.call(hooks, params, x), turns + 1

        return lax.while_loop(more, turn, (x, 0))[0]

    marks = layer.marks | {"free"} | ({"meets"} if kind == "data" else set())
    return _as(layer, f"while_{kind}", call)._replace(marks=marks)


LAYERS = {
    residual: 3,
    dense: 1,
    branches: 2,
    remat: 1,
    jitted: 1,
    vmapped: 1,
    scanned: 2,
    recurrent: 1,
    counted: 1,
    conditional: 2,
    deep_equilibrium: 1,
}
"""How often each is drawn; `looped` only in networks without a gradient."""

__all__ = ["LAYERS", "looped", "result"]
