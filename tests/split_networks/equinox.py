"""In Equinox, channels first and one image at a time: the user's `vmap` makes the batch."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from tests.split_networks import CLASSES, Split, drawn, images, networks

KEY = jax.random.key(0)  # only shapes are made with it


def conv(inputs: int, width: int, size: int = 3, stride: int = 1, **options: Any) -> eqx.nn.Conv2d:
    padding = (size - 1) // 2
    return eqx.nn.Conv2d(inputs, width, size, stride, padding, key=KEY, **options)


def dense(inputs: int, width: int) -> eqx.nn.Linear:
    return eqx.nn.Linear(inputs, width, key=KEY)


def over_space(layer: Callable[[Array], Array], x: Array) -> Array:
    """A function of one position's channels, at all of `x` [C, h, w]."""
    return jax.vmap(jax.vmap(layer, 1, 1), 1, 1)(x)


class Norm(eqx.Module):
    """A batch norm, by its running statistics alone."""

    norm: eqx.nn.BatchNorm

    def __init__(self, width: int):
        self.norm = eqx.nn.BatchNorm(width, "batch", mode="ema", inference=True)

    def __call__(self, x: Array, state: eqx.nn.State) -> Array:
        return self.norm(x, state)[0]


class Normed(eqx.Module):
    """A convolution without bias and its batch norm."""

    conv: eqx.nn.Conv2d
    norm: Norm

    def __init__(self, inputs: int, width: int, size: int = 3, stride: int = 1, groups: int = 1):
        self.conv = conv(inputs, width, size, stride, groups=groups, use_bias=False)
        self.norm = Norm(width)

    def __call__(self, x: Array, state: eqx.nn.State) -> Array:
        return self.norm(self.conv(x), state)


class Network(eqx.Module):
    """`head(features(x))`: by default the head is the mean over space, and a product."""

    layers: dict[str, Any]

    def __call__(self, x: Array, state: eqx.nn.State) -> Array:
        return self.head(self.features(x, state))

    def features(self, x: Array, state: eqx.nn.State) -> Array:
        raise NotImplementedError

    def head(self, x: Array) -> Array:
        return self.layers["dense"](x.mean((1, 2)))


class Residual(eqx.Module):
    first: Normed
    second: Normed
    skip: Normed | None

    def __init__(self, inputs: int, width: int, stride: int = 1):
        self.first, self.second = Normed(inputs, width, 3, stride), Normed(width, width)
        self.skip = Normed(inputs, width, 1, stride) if stride > 1 else None

    def __call__(self, x: Array, state: eqx.nn.State) -> Array:
        y = self.second(jax.nn.relu(self.first(x, state)), state)
        return jax.nn.relu(y + (x if self.skip is None else self.skip(x, state)))


class ResNet(Network):
    def __init__(self):
        blocks = [Residual(4, 4), Residual(4, 8, 2)]
        self.layers = {"stem": Normed(3, 4, 3, 2), "blocks": blocks, "dense": dense(8, CLASSES)}

    def features(self, x: Array, state: eqx.nn.State) -> Array:
        x = jax.nn.relu(self.layers["stem"](x, state))
        for block in self.layers["blocks"]:
            x = block(x, state)
        return x


class DenseBlock(eqx.Module):
    norms: list[Norm]
    convs: list[eqx.nn.Conv2d]

    def __init__(self, inputs: int):
        widths = (inputs, inputs + 4)
        self.norms = [Norm(width) for width in widths]
        self.convs = [conv(width, 4, use_bias=False) for width in widths]

    def __call__(self, x: Array, state: eqx.nn.State) -> Array:
        for before, layer in zip(self.norms, self.convs, strict=True):
            x = jnp.concatenate([x, layer(jax.nn.relu(before(x, state)))])
        return x


class DenseNet(Network):
    def __init__(self):
        self.layers = {
            "stem": conv(3, 4, stride=2, use_bias=False),
            "first": DenseBlock(4),
            "between": Norm(12),
            "narrow": conv(12, 6, 1, use_bias=False),
            "pool": eqx.nn.AvgPool2d(2, 2),
            "second": DenseBlock(6),
            "last": Norm(14),
            "dense": dense(14, CLASSES),
        }

    def features(self, x: Array, state: eqx.nn.State) -> Array:
        layers = self.layers
        x = layers["between"](layers["first"](layers["stem"](x), state), state)
        x = layers["pool"](layers["narrow"](jax.nn.relu(x)))
        return jax.nn.relu(layers["last"](layers["second"](x, state), state))


class Inception(Network):
    def __init__(self):
        self.layers = {
            "stem": conv(3, 6, stride=2),
            "one": conv(6, 2, 1),
            "three": eqx.nn.Sequential([conv(6, 3, 1), eqx.nn.Lambda(jax.nn.relu), conv(3, 4)]),
            "pooled": eqx.nn.Sequential([eqx.nn.MaxPool2d(3, 1, padding=1), conv(6, 3, 1)]),
            "dense": dense(9, CLASSES),
        }

    def features(self, x: Array, state: eqx.nn.State) -> Array:
        del state
        x = jax.nn.relu(self.layers["stem"](x))
        branches = [self.layers[name](x) for name in ("one", "three", "pooled")]
        return jax.nn.relu(jnp.concatenate(branches))


class SqueezeExcite(eqx.Module):
    """Channels scaled by a gate: two 1x1 convolutions of their means."""

    down: eqx.nn.Conv2d
    up: eqx.nn.Conv2d
    gate: Callable[[Array], Array]

    def __init__(self, width: int, gate: Callable[[Array], Array] = jax.nn.sigmoid):
        self.down, self.up, self.gate = conv(width, 2, 1), conv(2, width, 1), gate

    def __call__(self, x: Array) -> Array:
        y = jax.nn.relu(self.down(x.mean((1, 2), keepdims=True)))
        return x * self.gate(self.up(y))


class SENet(Network):
    def __init__(self):
        self.layers = {
            "stem": Normed(3, 6, 3, 2),
            "first": Normed(6, 6),
            "second": Normed(6, 6),
            "squeeze": SqueezeExcite(6),
            "dense": dense(6, CLASSES),
        }

    def features(self, x: Array, state: eqx.nn.State) -> Array:
        x = jax.nn.relu(self.layers["stem"](x, state))
        y = jax.nn.relu(self.layers["first"](x, state))
        return jax.nn.relu(x + self.layers["squeeze"](self.layers["second"](y, state)))


class MobileNet(Network):
    """Its head is 1x1 convolutions after a mean that keeps its axes."""

    def __init__(self):
        self.layers = {
            "stem": Normed(3, 4, 3, 2),
            "wide": Normed(4, 8, 1),
            "deep": Normed(8, 8, groups=8),
            "squeeze": SqueezeExcite(8, jax.nn.hard_sigmoid),
            "narrow": Normed(8, 4, 1),
            "last": Normed(4, 8, 1),
            "hidden": conv(8, 8, 1),
            "logits": conv(8, CLASSES, 1),
        }

    def features(self, x: Array, state: eqx.nn.State) -> Array:
        x = jax.nn.hard_swish(self.layers["stem"](x, state))
        y = x
        for name in ("wide", "deep"):
            y = jax.nn.hard_swish(self.layers[name](y, state))
        x = x + self.layers["narrow"](self.layers["squeeze"](y), state)
        return jax.nn.hard_swish(self.layers["last"](x, state))

    def head(self, x: Array) -> Array:
        x = jax.nn.hard_swish(self.layers["hidden"](x.mean((1, 2), keepdims=True)))
        return self.layers["logits"](x)[:, 0, 0]


class NextBlock(eqx.Module):
    deep: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    wide: eqx.nn.Linear
    narrow: eqx.nn.Linear
    scale: Array

    def __init__(self, width: int):
        self.deep, self.norm = conv(width, width, groups=width), eqx.nn.LayerNorm(width)
        self.wide, self.narrow = dense(width, 2 * width), dense(2 * width, width)
        self.scale = jnp.full((width, 1, 1), 0.5)

    def __call__(self, x: Array) -> Array:
        def pointwise(c: Array) -> Array:
            return self.narrow(jax.nn.gelu(self.wide(self.norm(c))))

        return x + over_space(pointwise, self.deep(x)) * self.scale


class ConvNeXt(Network):
    def __init__(self):
        self.layers = {
            "stem": eqx.nn.Conv2d(3, 6, 2, 2, key=KEY),
            "norm": eqx.nn.LayerNorm(6),
            "blocks": [NextBlock(6), NextBlock(6)],
            "last_norm": eqx.nn.LayerNorm(6),
            "dense": dense(6, CLASSES),
        }

    def features(self, x: Array, state: eqx.nn.State) -> Array:
        del state
        x = over_space(self.layers["norm"], self.layers["stem"](x))
        for block in self.layers["blocks"]:
            x = block(x)
        return x

    def head(self, x: Array) -> Array:
        return self.layers["dense"](self.layers["last_norm"](x.mean((1, 2))))


def _split(kind: Callable[[], Network]) -> Split:
    both = eqx.filter_eval_shape(eqx.nn.make_with_state(kind))
    abstract, static = eqx.partition(both, lambda x: isinstance(x, jax.ShapeDtypeStruct))

    def apply(params: Any, images: Array) -> Array:
        model, state = eqx.combine(params, static)
        return jax.vmap(model, in_axes=(0, None))(images, state)

    def features(params: Any, image: Array) -> Array:
        model, state = eqx.combine(params, static)
        return model.features(image, state)

    return Split(
        apply,
        drawn(abstract, channels_first=True),
        images(channels_first=True),
        features,
        lambda params, value: eqx.combine(params, static)[0].head(value),
    )


NETWORKS = networks(
    _split,
    resnet=ResNet,
    densenet=DenseNet,
    inception=Inception,
    squeeze_excite=SENet,
    mobilenet=MobileNet,
    convnext=ConvNeXt,
)
