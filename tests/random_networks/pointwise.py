"""Layers of single numbers and their statistics: activations, own derivatives, norms, casts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.random_networks.draws import Draw, Hooks, Layer, Value, along

INFINITY = float("inf")

RELUS: dict[str, tuple[Callable[[jax.Array], jax.Array], float]] = {
    "relu": (jax.nn.relu, INFINITY),
    "maximum": (lambda x: jnp.maximum(x, 0), INFINITY),
    "flipped_maximum": (lambda x: jnp.maximum(np.float32(0), x), INFINITY),
    "lax_max": (lambda x: lax.max(x, jnp.zeros_like(x)), INFINITY),
    "clip": (lambda x: jnp.clip(x, 0), INFINITY),
    "jitted_relu": (jax.jit(lambda x: jax.nn.relu(x)), INFINITY),
    "relu6": (jax.nn.relu6, 6.0),
    "where": (lambda x: jnp.where(x < 0, 0, x), INFINITY),
    "select": (lambda x: lax.select(x <= 0, jnp.zeros_like(x), x), INFINITY),
    "minus_minimum": (lambda x: -jnp.minimum(-x, 0), INFINITY),
    "six_where": (lambda x: jnp.where(x > 6, 6, jnp.where(x < 0, 0, x)), 6.0),
}
"""What guided backpropagation replaces, each with its upper bound; of NaN all of them make NaN."""


def relu(draw: Draw, value: Value) -> Layer:
    """A ReLU, however it is written."""
    name = draw.pick(["relu", "relu", *RELUS])
    function, bound = RELUS[name]

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return function(x) if hooks.relu is None else hooks.relu(x, bound)

    return Layer({}, call, value.roles, name, frozenset({"relu"}))


SMOOTH: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": jax.nn.gelu,
    "exact_gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "leaky": lambda x: jax.nn.leaky_relu(x, 0.1),
    "inline_swish": lambda x: x * jax.nn.relu6(x + 3) / 6,
    "hard_sigmoid": lambda x: jax.nn.relu6(x + 3) / 6,
    "two_relus": lambda x: jax.nn.relu(x) - 0.1 * jax.nn.relu(-x),
    "threshold": lambda x: jnp.where(x > 0.2, x, 0),
    "written_leaky": lambda x: jnp.where(x > 0, x, np.float32(0.2) * x),
    "clipped": lambda x: jnp.clip(x, -0.7, 0.9),
    "infinite_clip": lambda x: jnp.clip(x, -jnp.inf, jnp.inf),
    "infinite_minimum": lambda x: jnp.minimum(x, jnp.inf) * 0.5,
    "absolute": jnp.abs,
    "square": lambda x: 0.5 * x * x,
    "hard_swish": jax.nn.hard_swish,
    "celu": jax.nn.celu,
    "sine": jnp.sin,
    "root": lambda x: jnp.sqrt(x * x + 0.1),
    "bump": lambda x: 1 / (1 + x**2),
}
"""Other functions of one number (some with kinks), of which the first is as good as the last."""


def activation(draw: Draw, value: Value) -> Layer:
    name = draw.pick(list(SMOOTH))
    return Layer({}, lambda hooks, params, x: SMOOTH[name](x), value.roles, name)


@jax.custom_jvp
def sloped(slope: jax.Array, x: jax.Array) -> jax.Array:
    """A ReLU of its second argument; the first is the slope of its derivative's sigmoid."""
    return jnp.maximum(x, 0)


@sloped.defjvp
def _sloped_jvp(primals: Any, tangents: Any) -> Any:
    (slope, x), (_, change) = primals, tangents
    return sloped(slope, x), jax.nn.sigmoid(slope * x) * change


@jax.custom_jvp
def cast_spike(x: jax.Array) -> jax.Array:
    """A leaky ramp through a cast, with a derivative of its own."""
    return jnp.maximum(x, 0).astype(jnp.float16).astype(x.dtype) + 0.1 * x


@cast_spike.defjvp
def _cast_spike_jvp(primals: Any, tangents: Any) -> Any:
    return cast_spike(*primals), tangents[0] / (1 + jnp.abs(primals[0])) ** 2


@jax.custom_jvp
def two_sided(x: jax.Array) -> jax.Array:
    """The sum of two ramps, of which each is a `max` with 0."""
    return jnp.maximum(x, 0) + jnp.maximum(-0.5 - x, 0)


@two_sided.defjvp
def _two_sided_jvp(primals: Any, tangents: Any) -> Any:
    return two_sided(*primals), jnp.where(primals[0] > 0, 1.0, -0.3) * tangents[0]


@jax.custom_vjp
def clipped_back(x: jax.Array) -> jax.Array:
    """A hyperbolic tangent that passes at most 0.05 of a gradient back."""
    return jnp.tanh(x)


clipped_back.defvjp(
    lambda x: (jnp.tanh(x), x),
    lambda x, g: (jnp.clip(g * (1 - jnp.tanh(x) ** 2), -0.05, 0.05),),
)


@jax.custom_vjp
def straight_through(x: jax.Array) -> jax.Array:
    """The sign, with the derivative of a ramp."""
    return jnp.sign(x)


straight_through.defvjp(
    lambda x: (jnp.sign(x), x),
    lambda x, g: (jnp.where(jnp.abs(x) < 1, g, 0),),
)


@jax.custom_jvp
def quantised(x: jax.Array) -> jax.Array:
    """A staircase: nothing but a `max` with 0 and casts."""
    return jnp.maximum((4 * x).astype(jnp.int32), 0).astype(x.dtype) / 4


@quantised.defjvp
def _quantised_jvp(primals: Any, tangents: Any) -> Any:
    return quantised(*primals), jax.nn.sigmoid(primals[0]) * tangents[0]


@jax.custom_jvp
def counted(x: jax.Array) -> jax.Array:
    """The whole part of a positive number."""
    return jnp.maximum(x.astype(jnp.int32), 0).astype(x.dtype)


@counted.defjvp
def _counted_jvp(primals: Any, tangents: Any) -> Any:
    return counted(*primals), jax.nn.sigmoid(primals[0]) * tangents[0]


OWN: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sloped_spike": lambda x: sloped(jnp.asarray(4.0, x.dtype), x),
    "map_of_slopes": lambda x: sloped(jnp.full_like(x, 2.0), x),
    "cast_spike": cast_spike,
    "two_sided": two_sided,
    "quantised": quantised,
    "counted": lambda x: counted(2 * x),
    "clipped_back": clipped_back,
    "straight_through": straight_through,
}
"""Functions with a derivative of the user's own."""


def surrogate(draw: Draw, value: Value) -> Layer:
    name = draw.pick(list(OWN))
    marks = frozenset({"half"}) if name == "cast_spike" else frozenset()
    return Layer({}, lambda hooks, params, x: OWN[name](x), value.roles, name, marks)


def prelu(draw: Draw, value: Value) -> Layer:
    """A slope for each channel below zero."""

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        slope = along(params["a"], value.axis("c"), x.ndim).astype(x.dtype)
        return jnp.where(x > 0, x, slope * x)

    return Layer({"a": draw.uniform(value.size("c"), high=0.5)}, call, value.roles, "prelu")


def norm(draw: Draw, value: Value) -> Layer:
    """By constants (batch), or by the statistics of a layer, a group, an instance, or its RMS."""
    kind = draw.pick(["batch", "batch", "layer", "channels", "instance", "group", "rms"])
    width = value.size("c")
    params = {
        "scale": draw.uniform(width, low=0.5, high=1.5),
        "shift": draw.normal(width, scale=0.3),
    }
    if kind == "batch":
        params |= {
            "mean": draw.normal(width, scale=0.3),
            "var": draw.uniform(width, low=0.5, high=2),
        }
    channel, epsilon = value.axis("c"), draw.pick([1e-3, np.float32(1e-2), 0.1])
    own = tuple(i for i, role in enumerate(value.roles) if role != "b")
    over = {
        "layer": own,
        "channels": (channel,),
        "rms": (channel,),
        "instance": value.axes(value.space),
        "group": value.axes(value.space),
    }.get(kind, ())

    def normalised(x: jax.Array) -> jax.Array:
        mean = 0.0 if kind == "rms" else jnp.mean(x, over, keepdims=True)
        return (x - mean) * lax.rsqrt(jnp.mean((x - mean) ** 2, over, keepdims=True) + epsilon)

    def grouped(x: jax.Array) -> jax.Array:
        groups = 2 if width % 2 == 0 else 1
        parts = jnp.split(x, groups, channel)
        return jnp.concatenate(
            [_grouped(part, (*over, channel), epsilon) for part in parts], channel
        )

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        spread = {name: along(each, channel, x.ndim) for name, each in params.items()}
        if kind == "batch":
            x = (x - spread["mean"]) / jnp.sqrt(spread["var"] + epsilon)
        else:
            x = grouped(x) if kind == "group" else normalised(x)
        return x * spread["scale"] + spread["shift"]

    return Layer(params, call, value.roles, f"{kind}_norm")


def _grouped(x: jax.Array, over: tuple[int, ...], epsilon: float) -> jax.Array:
    centred = x - jnp.mean(x, over, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, over, keepdims=True) + epsilon)


def scaled(draw: Draw, value: Value) -> Layer:
    """Arithmetic with the closure's Python and NumPy scalars, and NumPy arrays."""
    factor, shift = draw.pick([0.5, 2, np.float32(1.5), np.int32(2)]), draw.pick([1, -0.25])
    table = draw.normal(value.size("c"))

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        return (x - shift) / factor * (1 + 0.1 * along(table, value.axis("c"), x.ndim))

    return Layer({}, call, value.roles, "scaled")


def half(draw: Draw, value: Value) -> Layer:
    """A product of channels in bfloat16."""
    width, axis = value.size("c"), value.axis("c")
    params = {"w": draw.normal(width, width, scale=1 / np.sqrt(width))}

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        weights = jnp.asarray(params["w"]).astype(jnp.bfloat16)
        mixed = jnp.tensordot(x.astype(jnp.bfloat16), weights, axes=(axis, 0))
        return jnp.moveaxis(mixed, -1, axis).astype(jnp.float32)

    return Layer(params, call, value.roles, "bfloat16", frozenset({"half"}))


def root(draw: Draw, value: Value) -> Layer:
    """A square root or a logarithm, which of a negative number is NaN."""
    name, function = draw.pick([("sqrt", jnp.sqrt), ("log", jnp.log)])
    shift = draw.pick([0.0, 1.0, 2.0])
    return Layer(
        {}, lambda hooks, params, x: function(x + shift), value.roles, name, frozenset({"nan"})
    )


def masked(draw: Draw, value: Value) -> Layer:
    """Positions at -inf, under a softmax or a log-sum-exp over one of the axes."""
    role = draw.pick(value.space + "c")
    axis, size = value.axis(role), value.size(role)
    keep = np.arange(size) % 3 != 1 if size > 1 else np.ones(1, bool)
    kind = draw.pick(["softmax", "logsumexp", "added"])

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        mask = along(keep, axis, x.ndim)
        if kind == "added":
            return jax.nn.softmax(x + jnp.where(mask, 0.0, -jnp.inf), axis) * size
        hidden = jnp.where(mask, x, -jnp.inf)
        if kind == "softmax":
            return jax.nn.softmax(hidden, axis) * size
        return x - jax.nn.logsumexp(hidden, axis, keepdims=True)

    return Layer({}, call, value.roles, f"masked_{kind}")


LAYERS = {
    relu: 6,
    activation: 5,
    surrogate: 3,
    prelu: 1,
    norm: 4,
    scaled: 1,
    half: 1,
    masked: 2,
}
"""How often each is drawn; `root` only where a network may make NaN."""
