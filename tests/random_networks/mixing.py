"""Layers that mix positions and channels, or move them: attention, sums, sorts, gathers, FFTs."""

import math
import string
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.random_networks.draws import Draw, Hooks, Layer, Unsuitable, Value, along


def attention(draw: Draw, value: Value) -> Layer:
    """Softmax attention over the positions as tokens, some of them masked by -inf, and a skip."""
    order = ("b" if "b" in value.roles else "") + value.space + "c"
    tokens, width = math.prod(value.size(role) for role in value.space), value.size("c")
    if tokens > 36:
        raise Unsuitable
    params = {name: draw.normal(width, width, scale=1 / np.sqrt(width)) for name in "qkv"}
    mask = np.arange(tokens) % 4 != 3 if draw.chance(0.4) else None
    lower = draw.chance(0.3)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        moved = jnp.transpose(x, value.axes(order))
        rows = moved.reshape(*moved.shape[: len(order) - 1 - len(value.space)], tokens, width)
        q, k, v = (jnp.einsum("...nc,cd->...nd", rows, params[name]) for name in "qkv")
        logits = jnp.einsum("...nd,...md->...nm", q, k) / np.sqrt(width)
        if mask is not None:
            logits = jnp.where(along(mask, logits.ndim - 1, logits.ndim), logits, -jnp.inf)
        if lower:
            causal = np.tril(np.ones((tokens, tokens), bool))
            causal = causal.reshape(*(1,) * (logits.ndim - 2), tokens, tokens)
            logits = jnp.where(causal, logits, -jnp.inf)
        rows = rows + jnp.einsum("...nm,...md->...nd", jax.nn.softmax(logits, axis=-1), v)
        return jnp.transpose(rows.reshape(moved.shape), [order.index(r) for r in value.roles])

    return Layer(params, call, value.roles, "attention", frozenset({"attention"}))


def channel_product(draw: Draw, value: Value) -> Layer:
    """A matrix over the channels, as an einsum."""
    width, out = value.size("c"), draw.integer(1, 4)
    letters = dict(zip(value.roles, string.ascii_lowercase[5:], strict=False))
    left = "".join(letters[role] for role in value.roles)
    right = left.replace(letters["c"], "z")
    equation = f"{left},{letters['c']}z->{right}"

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return jnp.einsum(equation, x, params["w"])

    params = {"w": draw.normal(width, out, scale=1 / np.sqrt(width))}
    return Layer(params, call, value.roles, "einsum")


def space_product(draw: Draw, value: Value) -> Layer:
    """A matrix along one spatial axis."""
    role = draw.pick(value.space)
    axis, size = value.axis(role), value.size(role)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return jnp.moveaxis(jnp.tensordot(x, params["w"], axes=(axis, 0)), -1, axis)

    params = {"w": draw.normal(size, size, scale=1 / np.sqrt(size))}
    return Layer(params, call, value.roles, "mixer")


def squeeze_excite(draw: Draw, value: Value) -> Layer:
    """Channels weighted by what their means make of each other."""
    width, over = value.size("c"), value.axes(value.space)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        mean = jnp.moveaxis(jnp.mean(x, over, keepdims=True), value.axis("c"), -1)
        gate = jnp.tanh(mean @ params["down"]) @ params["up"]
        return x * jax.nn.sigmoid(jnp.moveaxis(gate, -1, value.axis("c")))

    params = {"down": draw.normal(width, 2), "up": draw.normal(2, width)}
    return Layer(params, call, value.roles, "squeeze_excite")


def cumulative(draw: Draw, value: Value) -> Layer:
    """A running sum, maximum or log-sum-exp along an axis, from either end."""
    axis, reverse = value.axis(draw.pick(value.space)), draw.chance(0.3)
    name = draw.pick(["cumsum", "cummax", "cumlogsumexp"])

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return getattr(lax, name)(x, axis, reverse) * 0.5

    return Layer({}, call, value.roles, name)


def ordered(draw: Draw, value: Value) -> Layer:
    """A sort, or the largest few, along an axis."""
    axis = value.axis(draw.pick(value.space))
    kind = draw.pick(["sort", "top_k"])
    kept = max(2, value.shape[axis] - 2)
    if value.shape[axis] < 2:
        raise Unsuitable

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        if kind == "sort":
            return jnp.sort(x, axis)
        return jnp.moveaxis(lax.top_k(jnp.moveaxis(x, axis, -1), kept)[0], -1, axis)

    return Layer({}, call, value.roles, kind)


def gathered(draw: Draw, value: Value) -> Layer:
    """Positions or channels taken by a table, some twice, some never; or rolled."""
    axis = value.axis(draw.pick(value.space + "c"))
    size, kind = value.shape[axis], draw.pick(["take", "take", "roll", "indexed"])
    table = draw.rng.integers(0, size, size)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        if kind == "roll":
            return jnp.roll(x, 1, axis)
        if kind == "take":
            return jnp.take(x, table, axis)
        return x[tuple(table if i == axis else slice(None) for i in range(x.ndim))]

    return Layer({}, call, value.roles, kind)


def fourier(draw: Draw, value: Value) -> Layer:
    """Magnitudes of the transform over space, or a low-pass filter by it."""
    axes = value.axes(value.space)
    if draw.chance(0.5):

        def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
            spectrum = jnp.fft.rfftn(x, axes=axes)
            return jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-2) / np.sqrt(tokens)

    else:

        def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
            spectrum = jnp.fft.rfftn(x, axes=axes)
            keep = along(np.arange(spectrum.shape[axes[-1]]) < 2, axes[-1], x.ndim)
            sizes = [x.shape[axis] for axis in axes]
            return jnp.fft.irfftn(jnp.where(keep, spectrum, 0), sizes, axes)

    tokens = math.prod(value.shape[axis] for axis in axes)
    return Layer({}, call, value.roles, "fft")


def transposed(draw: Draw, value: Value) -> Layer:
    """Another order of the axes, the batch among them."""
    roles = draw.order(value.roles)
    return Layer(
        {}, lambda hooks, params, x: jnp.transpose(x, value.axes(roles)), roles, "transpose"
    )


def merged(draw: Draw, value: Value) -> Layer:
    """Two neighbouring spatial axes as one."""
    pairs = [i for i, (a, b) in enumerate(zip(value.roles, value.roles[1:], strict=False))
             if a in "xyz" and b in "xyz"]  # fmt: skip
    if not pairs:
        raise Unsuitable
    at = draw.pick(pairs)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:at], x.shape[at] * x.shape[at + 1], *x.shape[at + 2 :])

    return Layer({}, call, value.roles[: at + 1] + value.roles[at + 2 :], "merge")


def into_channels(draw: Draw, value: Value) -> Layer:
    """Every second position along an axis becomes a channel of its own."""
    role = draw.pick(value.space)
    axis, channel = value.axis(role), value.axis("c")
    if value.size(role) % 2 or value.size(role) < 4:
        raise Unsuitable

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        x = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        x = jnp.moveaxis(x, axis + 1, -1)  # every axis is where it was, and the pairs are last
        x = jnp.moveaxis(x, channel, -1)
        x = x.reshape(*x.shape[:-2], -1)
        return jnp.moveaxis(x, -1, channel)

    return Layer({}, call, value.roles, "space_to_depth")


LAYERS = {
    attention: 2,
    channel_product: 2,
    space_product: 1,
    squeeze_excite: 1,
    cumulative: 1,
    ordered: 1,
    gathered: 2,
    fourier: 1,
    transposed: 2,
    merged: 1,
    into_channels: 1,
}
"""How often each is drawn."""
