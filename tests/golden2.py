"""The three networks and the arrays of `golden2.npz` (see golden.md), channels last."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.golden import IMAGES, PARAMS, TARGETS, apply, channels_last

ROWS = dict(np.load(Path(__file__).with_name("golden2.npz")))

__all__ = ["IMAGES", "PARAMS", "ROWS", "TARGETS", "apply", "channels_last"]


def _weights(prefix):
    return {
        name.removeprefix(prefix): value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        for name, value in ROWS.items()
        if name.startswith(prefix)
    }


B_PARAMS, V_PARAMS = _weights("b/w/"), _weights("v/w/")


def b_apply(params, images):
    """Convolutions, batch norms, a max pool, a residual, an average pool: [B, 5] logits."""
    hidden = _convolve(images, params["c1.weight"]) + params["c1.bias"][None, None, None]
    hidden = jax.nn.relu(_norm(params, "b1", hidden))
    hidden = lax.reduce_window(hidden, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    inner = jax.nn.relu(_norm(params, "b2", _convolve(hidden, params["c2.weight"])))
    hidden = _norm(params, "b3", _convolve(inner, params["c3.weight"])) + hidden
    hidden = jax.nn.relu(hidden)
    hidden = lax.reduce_window(hidden, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    flat = hidden.transpose(0, 3, 1, 2).reshape(len(hidden), -1)
    return flat @ params["l.weight"].T + params["l.bias"][None]


def _convolve(images, kernel):
    return lax.conv_general_dilated(
        images, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _norm(params, name, values):
    mean, variance = params[f"{name}.running_mean"], params[f"{name}.running_var"]
    scale = params[f"{name}.weight"] / jnp.sqrt(variance + 1e-5)
    with jax.named_scope(name):
        return (values - mean[None, None, None]) * scale[None, None, None] + params[f"{name}.bias"][
            None, None, None
        ]


def v_apply(params, images):
    """A vision transformer of three blocks, class token first: [B, 5] logits."""
    kernel = params["patch_embed.proj.weight"]
    tokens = lax.conv_general_dilated(
        images, kernel, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    tokens = tokens.reshape(len(images), 16, 12) + params["patch_embed.proj.bias"][None, None]
    first = jnp.broadcast_to(params["cls_token"], (len(images), 1, 12))
    tokens = jnp.concatenate([first, tokens], 1) + params["pos_embed"]
    for block in ("blocks.0.", "blocks.1.", "blocks.2."):
        tokens = tokens + _attention(params, block, _layer_norm(params, f"{block}norm1", tokens))
        hidden = _dense(params, f"{block}mlp.fc1", _layer_norm(params, f"{block}norm2", tokens))
        tokens = tokens + _dense(params, f"{block}mlp.fc2", jax.nn.gelu(hidden, approximate=False))
    return _dense(params, "head", _layer_norm(params, "norm", tokens)[:, 0])


def _attention(params, block, tokens):
    count = len(tokens)
    parts = _dense(params, f"{block}attn.qkv", tokens).reshape(count, 17, 3, 2, 6)
    q, k, v = parts.transpose(2, 0, 3, 1, 4)
    weights = jax.nn.softmax(jnp.einsum("bhqd,bhkd->bhqk", q, k) / jnp.sqrt(jnp.float32(6)))
    mixed = jnp.einsum("bhqk,bhkd->bqhd", weights, v).reshape(count, 17, 12)
    return _dense(params, f"{block}attn.proj", mixed)


def _dense(params, name, values):
    bias = params[f"{name}.bias"]
    return values @ params[f"{name}.weight"].T + bias.reshape(*(1,) * (values.ndim - 1), -1)


def _layer_norm(params, name, values):
    mean = jnp.mean(values, -1, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(jnp.square(values - mean), -1, keepdims=True) + 1e-6)
    scale, shift = params[f"{name}.weight"], params[f"{name}.bias"]
    return (values - mean) / deviation * scale[None, None] + shift[None, None]


NETWORKS = {"": (apply, PARAMS), "b/": (b_apply, B_PARAMS), "v/": (v_apply, V_PARAMS)}
"""From the prefix of an array's name to the network that it is of, and its parameters."""
