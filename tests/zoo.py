"""Models nobody prepared for jaxsal, each as `apply(params, images) -> logits` with its input."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

CLASSES = 3


class Animal(NamedTuple):
    """A model, an input and what the CAM family needs to know about it.

    Attributes:
      apply: `(params, images [B, ...]) -> logits [B, 3]`.
      params: its parameters.
      shape: one image's.
      grid: the spatial shape of the layer that is explained.
      layer: that layer; `None` = the last feature map that every path passes.
      spatial: for a layer without spatial axes.
      relus: how many ReLUs there are to replace (one in a loop counts once).
    """

    apply: Callable[[Any, Array], Array]
    params: Any
    shape: tuple[int, ...]
    grid: tuple[int, ...]
    layer: int | str | None = None
    spatial: Callable[[Array], Array] | None = None
    relus: int = 2

    def images(self, count: int = 2) -> Array:
        return jax.random.uniform(jax.random.key(7), (count, *self.shape))

    def score(self, target: int = 1) -> Callable[[Array], Array]:
        return lambda image: self.apply(self.params, image[None])[0, target]


def _linen(model: nn.Module, shape: tuple[int, ...], *args: Any, **known: Any) -> Animal:
    params = model.init(jax.random.key(0), jnp.zeros((1, *shape)))
    return Animal(model.apply, params, shape, *args, **known)


class LinenCNN(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in (4, 8):
            x = nn.max_pool(nn.relu(nn.Conv(width, (3, 3))(x)), (2, 2), (2, 2))
        return nn.Dense(CLASSES)(x.mean((1, 2)))


def linen() -> Animal:
    return _linen(LinenCNN(), (12, 8, 1), (6, 4))


class NnxCNN(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.dense = nnx.Linear(4, CLASSES, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.dense(self.drop(nnx.relu(self.norm(self.conv(x)))).mean((1, 2)))


def nnx_split_merge() -> Animal:
    model = NnxCNN(nnx.Rngs(0))
    model.eval()
    graph, state = nnx.split(model)
    return Animal(lambda state, x: nnx.merge(graph, state)(x), state, (8, 6, 1), (8, 6), relus=1)


def equinox() -> Animal:
    """Channels first, one image at a time: the user's `vmap` makes the batch."""
    keys = jax.random.split(jax.random.key(0), 2)
    model = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 4, 3, padding=1, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.AvgPool2d(2, 2),
            eqx.nn.Lambda(lambda x: x.mean((1, 2))),
            eqx.nn.Linear(4, CLASSES, key=keys[1]),
        ]
    )
    params, static = eqx.partition(model, eqx.is_array)
    return Animal(
        lambda params, x: jax.vmap(eqx.combine(params, static))(x),
        params,
        (1, 8, 6),
        (8, 6),
        relus=1,
    )


def haiku_style() -> Animal:
    """A pair of pure functions and parameters named by module, as `hk.transform` makes them."""

    def apply(params: Any, x: Array) -> Array:
        for name in ("net/conv", "net/conv_1"):
            x = jnp.maximum(_conv(x, params[name]["w"]) + params[name]["b"][None, None, None], 0)
        return (
            jnp.mean(x, axis=(1, 2)) @ params["net/linear"]["w"] + params["net/linear"]["b"][None]
        )

    shapes = {"net/conv": (3, 3, 1, 4), "net/conv_1": (3, 3, 4, 4), "net/linear": (4, CLASSES)}
    return Animal(apply, _drawn(shapes), (8, 8, 1), (8, 8))


def plain_jax() -> Animal:
    """No modules, a clip for a ReLU, under `jit` and `remat`."""

    @jax.jit
    def apply(params: Any, x: Array) -> Array:
        hidden = jax.checkpoint(lambda x: jnp.clip(_conv(x, params["conv"]["w"]), 0))(x)
        return jnp.einsum("bhwc,ck->bk", hidden, params["dense"]["w"])

    shapes = {"conv": (3, 3, 2, 4), "dense": (4, CLASSES)}
    return Animal(apply, _drawn(shapes), (6, 6, 2), (6, 6), relus=1)


class Block(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = nn.swish(nn.GroupNorm(2)(nn.Conv(self.width, (3, 3))(x)))
        y = nn.GroupNorm(2)(nn.Conv(self.width, (3, 3))(y))
        x = x if x.shape == y.shape else nn.Conv(self.width, (1, 1))(x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.relu(nn.Conv(4, (3, 3), strides=2)(x))
        for width in (4, 8):
            x = Block(width)(x)
        return nn.Dense(CLASSES)(x.mean((1, 2)))


def resnet() -> Animal:
    return _linen(ResNet(), (8, 8, 3), (4, 4), "Block_1", relus=3)


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        return x + nn.Dense(8)(nn.gelu(nn.Dense(16)(nn.LayerNorm()(x))))


class ViT(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.Conv(8, (4, 4), strides=4, name="patches")(x)
        x = x.reshape(x.shape[0], -1, 8)
        token = self.param("token", nn.initializers.normal(), (1, 1, 8))
        x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, 8)), x], axis=1)
        x = x + self.param("position", nn.initializers.normal(), (1, x.shape[1], 8))
        for i in range(2):
            x = Encoder(name=f"block_{i}")(x)
        return nn.Dense(CLASSES)(nn.LayerNorm()(x)[:, 0])


def vit() -> Animal:
    def grid(tokens: Array) -> Array:
        return tokens[1:].reshape(3, 2, -1)

    known = {"spatial": grid, "relus": 0}
    return _linen(ViT(), (12, 8, 1), (3, 2), "block_0", **known)


class Residual(nn.Module):
    @nn.compact
    def __call__(self, x: Array, _: None) -> tuple[Array, None]:
        return nn.relu(x + nn.Conv(4, (3, 3))(x)), None


class UNet(nn.Module):
    """Down, a `scan` over blocks, up, and a skip across all of it."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        top = nn.relu(nn.Conv(4, (3, 3))(x))
        with jax.numpy_dtype_promotion("standard"):  # Flax divides floats by integers
            x = nn.avg_pool(top, (2, 2), (2, 2))
        blocks = nn.scan(
            Residual, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        x, _ = blocks(name="blocks")(x, None)
        x = nn.relu(nn.ConvTranspose(4, (2, 2), strides=(2, 2))(x))
        x = jnp.concatenate([x, top], axis=-1)
        return nn.Dense(CLASSES)(nn.relu(nn.Conv(4, (3, 3), name="last")(x)).mean((1, 2)))


def unet() -> Animal:
    return _linen(UNet(), (8, 8, 1), (4, 4), "blocks", relus=4)


class Net(nn.Module):
    """A convolutional network in any number of dimensions."""

    rank: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        window = (2,) * self.rank
        x = nn.max_pool(nn.relu(nn.Conv(4, (3,) * self.rank)(x)), window, window)
        x = nn.relu(nn.Conv(4, (3,) * self.rank)(x))
        return nn.Dense(CLASSES)(x.mean(range(1, self.rank + 1)))


def volume() -> Animal:
    return _linen(Net(3), (4, 6, 8, 1), (2, 3, 4))


def signal() -> Animal:
    return _linen(Net(1), (16, 2), (8,))


def _conv(x: Array, w: Array) -> Array:
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, dict[str, Array]]:
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return {
        name: {
            "w": jax.random.normal(key, shape) / (shape[-2] * 3),
            "b": jnp.linspace(-0.1, 0.1, shape[-1]),
        }
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


ZOO: dict[str, Callable[[], Animal]] = {
    "linen": functools.cache(linen),
    "nnx": functools.cache(nnx_split_merge),
    "equinox": functools.cache(equinox),
    "haiku-style": functools.cache(haiku_style),
    "plain jax": functools.cache(plain_jax),
    "resnet": functools.cache(resnet),
    "vit": functools.cache(vit),
    "unet": functools.cache(unet),
    "volume": functools.cache(volume),
    "signal": functools.cache(signal),
}
