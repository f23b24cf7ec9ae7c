"""Heads: from the last value to logits, by a global pool or the whole of it, and a product."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.random_networks.draws import Draw, Hooks, Layer, Value


def _generalised_mean(x: jax.Array, over: tuple[int, ...]) -> jax.Array:
    return jnp.mean(jnp.maximum(x, 1e-3) ** 3, over) ** (1 / 3)


def _norm(x: jax.Array, over: tuple[int, ...]) -> jax.Array:
    return jnp.sqrt(jnp.sum(x * x, over) + 1e-6)


GLOBAL: dict[str, Callable[[jax.Array, tuple[int, ...]], jax.Array]] = {
    "mean": jnp.mean,
    "sum": lambda x, over: 0.2 * jnp.sum(x, over),
    "max": jnp.max,
    "logsumexp": jax.nn.logsumexp,
    "sharp_logsumexp": lambda x, over: jax.nn.logsumexp(8 * x, over) / 8,
    "gem": _generalised_mean,
    "l2": _norm,
    "softmax_pool": lambda x, over: jnp.sum(x * jax.nn.softmax(x, over), over),
    "variance": jnp.var,
}
"""Over all positions, by name."""


def head(draw: Draw, value: Value, pooled: bool) -> tuple[Layer, int]:
    """The head, by a global pool if asked for, and how many logits it has."""
    kinds = [*GLOBAL] if pooled else ["flat", "flat", *GLOBAL]
    logits, kind = draw.pick([1, 2, 3, 3, 4]), draw.pick(kinds)
    own = [i for i, role in enumerate(value.roles) if role != "b"]
    width = math.prod(value.shape[i] for i in own) if kind == "flat" else value.size("c")
    over, lead = value.axes(value.space), value.roles.find("b")
    params = {"w": draw.normal(width, logits, scale=1 / np.sqrt(width))}
    if draw.chance(0.5):
        params["b"] = draw.normal(logits)

    def call(hooks: Hooks, params: Any, x: jax.Array) -> jax.Array:
        if kind == "flat":
            x = x if lead < 0 else jnp.moveaxis(x, lead, 0)
            x = x.reshape(-1) if lead < 0 else x.reshape(x.shape[0], -1)
        else:
            x = GLOBAL[kind](x, over)
            swapped = lead >= 0 and value.roles.index("c") < lead
            x = x.T if swapped else x
        x = x @ params["w"]
        if "b" not in params:
            return x
        return x + (jnp.asarray(params["b"]) if lead < 0 else jnp.asarray(params["b"])[None])

    return Layer(params, call, "", f"{kind}_head({logits})"), logits
