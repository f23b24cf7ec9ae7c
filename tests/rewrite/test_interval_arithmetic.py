"""Between which numbers outputs lie: what is sure for every input, and nothing that is not."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.rewrite.interval_arithmetic import bounds

X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32) * 5


def by_hand(x: jax.Array) -> jax.Array:
    return jnp.exp(x) / jnp.sum(jnp.exp(x), -1, keepdims=True)


def stable_sigmoid(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, 1 / (1 + jnp.exp(-x)), jnp.exp(x) / (1 + jnp.exp(x)))


def both_classes(x: jax.Array) -> jax.Array:
    chance = jax.nn.sigmoid(x[:, 0])
    return jnp.stack([1 - chance, chance], axis=1)


def by_logsumexp(x: jax.Array) -> jax.Array:
    return jnp.exp(x - jax.nn.logsumexp(x, axis=-1, keepdims=True))


def ensemble(x: jax.Array) -> jax.Array:
    return jnp.mean(jnp.stack([jax.nn.sigmoid(x), jax.nn.softmax(x)]), axis=0)


def kept_apart(x: jax.Array) -> jax.Array:
    """No softmax: each is divided by another row's sum."""
    e = jnp.exp(x)
    return e / jnp.roll(e.sum(-1, keepdims=True), 1, 0)


CHANCES = {
    "a sigmoid": jax.nn.sigmoid,
    "a softmax": jax.nn.softmax,
    "a softmax in half": lambda x: jax.nn.softmax(x.astype("bfloat16")).astype("float32"),
    "a softmax that is clipped": lambda x: jnp.clip(jax.nn.softmax(x), 1e-7, 1 - 1e-7),
    "a softmax of one image at a time": jax.vmap(jax.nn.softmax),
    "a softmax by hand": by_hand,
    "a softmax with an epsilon": lambda x: jnp.exp(x) / (jnp.exp(x).sum(-1, keepdims=True) + 1e-7),
    "exp of log_softmax": lambda x: jnp.exp(jax.nn.log_softmax(x)),
    "exp of less logsumexp": by_logsumexp,
    "exp of log_sigmoid": lambda x: jnp.exp(jax.nn.log_sigmoid(x)),
    "one over": lambda x: 1 / (1 + jnp.exp(-x)),
    "a softmax over rows": lambda x: jax.nn.softmax(x, axis=0),
    "a softmax of two axes": lambda x: jax.nn.softmax(x.reshape(8, 8, 3), axis=(1, 2)),
    "a power of minus one": lambda x: (1 + jnp.exp(-x)) ** -1,
    "the case that does not overflow": stable_sigmoid,
    "half a tanh": lambda x: 0.5 * (jnp.tanh(x / 2) + 1),
    "a clip": lambda x: jnp.clip(x, 0, 1),
    "a hard sigmoid": jax.nn.hard_sigmoid,
    "both classes": both_classes,
    "a mean of two": ensemble,
    "a radial basis": lambda x: jnp.exp(-jnp.sum(x**2, -1, keepdims=True)),
    "a checkpoint of calls": jax.checkpoint(jax.jit(jax.nn.sigmoid)),
}

OTHERS = {
    "a product": lambda x: x @ jnp.ones((3, 2)),
    "tanh": jnp.tanh,
    "log-probabilities": jax.nn.log_softmax,
    "a gated value": jax.nn.silu,
    "attention": lambda x: jax.nn.softmax(x @ x.T) @ x,
    "a ReLU": jax.nn.relu,
    "a softplus": jax.nn.softplus,
    "a scaled sigmoid": lambda x: 10 * jax.nn.sigmoid(x),
    "a sum of two": lambda x: jax.nn.sigmoid(x) + jax.nn.softmax(x),
    "a residual around a softmax": lambda x: x + jax.nn.softmax(x),
    "the sum of others": kept_apart,
    "the sum of columns": lambda x: jnp.exp(x[:3]) / jnp.exp(x[:3]).sum(1)[None],
    "its own transpose": lambda x: jnp.exp(x[:3]) / (jnp.exp(x[:3]).T + 1e-3),
    "less the logsumexp of columns": lambda x: jnp.exp(
        x[:3] - jax.nn.logsumexp(x[:3], axis=1)[None]
    ),
    "an outer product": lambda x: jnp.exp(-(x[:, :, None] * x[:, None, :])),
    "an odd power": lambda x: x**3,
    "an even power": lambda x: x**-2,
    "a magnitude": lambda x: jnp.abs(x) - 1,
    "a root": lambda x: jnp.sqrt(jnp.square(x) + 1) - jnp.log1p(jnp.square(x)),
    "a difference": lambda x: jnp.maximum(x, 1) - jnp.minimum(x, 2),
    "a division by what may be zero": lambda x: 1 / x,
    "an exponential, less one": lambda x: jnp.expm1(-jnp.abs(x)) * jnp.exp2(x),
    "a sum": lambda x: jnp.sum(jnp.cos(x), -1, keepdims=True),
    "padding": lambda x: jnp.pad(jax.nn.sigmoid(x), 1, constant_values=2.0),
}


@pytest.mark.parametrize("name", [*CHANCES, *OTHERS])
def test_bounds_hold_and_tell_a_probability(name: str) -> None:
    function = {**CHANCES, **OTHERS}[name]
    least, most = bounds(jax.make_jaxpr(function)(X))[0]
    values = np.asarray(function(X), np.float64)
    assert least - 1e-6 <= values.min() and values.max() <= most + 1e-6
    assert (0 <= least < most <= 1) == (name in CHANCES)


def test_what_is_known_of_constants_and_powers() -> None:
    half = jnp.full((1, 1), 0.5)
    program = jax.make_jaxpr(lambda x: (x * half * 0 + half, (jnp.tanh(x) * 2) ** 3))(X[:1, :1])
    assert bounds(program) == [(0.5, 0.5), (-8.0, 8.0)]
    assert bounds(jax.make_jaxpr(lambda x: 2.0)(X))[0] == (2.0, 2.0)
    assert math.isinf(bounds(jax.make_jaxpr(lambda x: x)(X))[0][1])
