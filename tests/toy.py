"""A toy model in plain JAX that tests share, and the counters that they count with."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (8, 8, 1)
CLASSES = 3


def params(seed: int = 0, *, channels: int = 1, classes: int = CLASSES) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "conv": jnp.asarray(rng.normal(size=(3, 3, channels, 4)), jnp.float32),
        "bias": jnp.asarray(rng.normal(size=4), jnp.float32),
        "dense": jnp.asarray(rng.normal(size=(64, classes)), jnp.float32),
    }


def images(count: int, seed: int = 1, shape: tuple = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def targets(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int32) % CLASSES


def apply(params: dict, images: jax.Array) -> jax.Array:
    """Convolution, ReLU, max pool, dense: [B, 8, 8, C] -> [B, K]."""
    layout = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(
        images, params["conv"], (1, 1), "SAME", dimension_numbers=layout
    )
    x = jax.nn.relu(x + params["bias"].reshape(1, 1, 1, -1))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.reshape(x.shape[0], -1) @ params["dense"]


def channels_first(params: dict, images: jax.Array) -> jax.Array:
    """The same network of images [B, C, 8, 8]."""
    return apply(params, images.transpose(0, 2, 3, 1))


def linear(params: jax.Array, images: jax.Array) -> jax.Array:
    """[B, ...] -> [B, K] with `params` [..., K]: the gradient of a logit is its weights."""
    return images.reshape(images.shape[0], -1) @ params.reshape(-1, params.shape[-1])


def token_params(*, channels: int = 1) -> dict:
    """Of `attended`: two layers, and what reads the class token."""
    rng, width = np.random.default_rng(0), 4 * channels
    return {
        "query": rng.normal(size=(2, width, width)).astype(np.float32) / width,
        "head": rng.normal(size=(width, CLASSES)).astype(np.float32),
    }


def attended(params: dict, images: jax.Array) -> jax.Array:
    """A class token and patches of 2x2 through attention: [B, H, W, C] -> [B, K]."""
    count, height, width, channels = images.shape
    grid = images.reshape(count, height // 2, 2, width // 2, 2, channels)
    tokens = grid.transpose(0, 1, 3, 2, 4, 5).reshape(count, -1, 4 * channels)
    tokens = jnp.concatenate([jnp.ones_like(tokens[:, :1]), tokens], 1)
    for query in params["query"]:
        tokens = tokens + jax.nn.softmax(tokens @ query @ tokens.swapaxes(1, 2)) @ tokens
    return tokens[:, 0] @ params["head"]


def score(params: dict, image: jax.Array, target: int) -> jax.Array:
    return apply(params, image[None])[0, target]


class Counter:
    count = 0


@contextlib.contextmanager
def compilations() -> Iterator[Counter]:
    """Counts the programs that XLA compiles inside the `with` block."""
    counter = Counter()

    def listen(event: str, *_: object, **__: object) -> None:
        counter.count += event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield counter
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def close(got: object, expected: object, tolerance: float = 1e-5) -> None:
    """Two pytrees agree to within `tolerance` of the largest expected value."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    leaves = jax.tree.leaves_with_path(got)
    for (path, a), b in zip(leaves, jax.tree.leaves(expected), strict=True):
        a, b, where = np.asarray(a), np.asarray(b), jax.tree_util.keystr(path)
        assert a.shape == b.shape, where
        atol = tolerance * max(np.abs(b).max(), 1e-30)
        np.testing.assert_allclose(a, b, atol=atol, rtol=0, err_msg=where)
