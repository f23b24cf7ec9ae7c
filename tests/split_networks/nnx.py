"""In Flax NNX, channels last; the modules themselves are the parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from tests.split_networks import CLASSES, Split, drawn, images, networks


def conv(inputs: int, width: int, size: int = 3, stride: int = 1, **options: object) -> nnx.Conv:
    return nnx.Conv(inputs, width, (size, size), stride, rngs=nnx.Rngs(0), **options)


def norm(width: int) -> nnx.BatchNorm:
    return nnx.BatchNorm(width, use_running_average=True, rngs=nnx.Rngs(0))


def dense(inputs: int, width: int) -> nnx.Linear:
    return nnx.Linear(inputs, width, rngs=nnx.Rngs(0))


def normed(inputs: int, width: int, size: int = 3, stride: int = 1) -> nnx.Sequential:
    """A convolution without bias and its batch norm."""
    return nnx.Sequential(conv(inputs, width, size, stride, use_bias=False), norm(width))


class Network(nnx.Module):
    """`head(features(x))`: by default the head is the mean over space, and a product."""

    def __init__(self, width: int):
        self.dense = dense(width, CLASSES)

    def __call__(self, x: Array) -> Array:
        return self.head(self.features(x))

    def features(self, x: Array) -> Array:
        raise NotImplementedError

    def head(self, x: Array) -> Array:
        return self.dense(x.mean((1, 2)))


class Residual(nnx.Module):
    def __init__(self, inputs: int, width: int, stride: int = 1):
        self.first = normed(inputs, width, stride=stride)
        self.second = normed(width, width)
        self.skip = normed(inputs, width, 1, stride) if stride > 1 else None

    def __call__(self, x: Array) -> Array:
        y = self.second(nnx.relu(self.first(x)))
        return nnx.relu(y + (x if self.skip is None else self.skip(x)))


class ResNet(Network):
    def __init__(self):
        super().__init__(8)
        self.stem = normed(3, 4, stride=2)
        self.layers = nnx.List([Residual(4, 4), Residual(4, 8, 2)])

    def features(self, x: Array) -> Array:
        x = nnx.relu(self.stem(x))
        for layer in self.layers:
            x = layer(x)
        return x


class DenseBlock(nnx.Module):
    def __init__(self, inputs: int):
        widths = (inputs, inputs + 4)
        self.norms = nnx.List([norm(width) for width in widths])
        self.convs = nnx.List([conv(width, 4, use_bias=False) for width in widths])

    def __call__(self, x: Array) -> Array:
        for before, layer in zip(self.norms, self.convs, strict=True):
            x = jnp.concatenate([x, layer(nnx.relu(before(x)))], axis=-1)
        return x


class DenseNet(Network):
    def __init__(self):
        super().__init__(14)
        self.stem, self.first = conv(3, 4, stride=2, use_bias=False), DenseBlock(4)
        self.between, self.narrow = norm(12), conv(12, 6, 1, use_bias=False)
        self.second, self.last = DenseBlock(6), norm(14)

    def features(self, x: Array) -> Array:
        x = self.narrow(nnx.relu(self.between(self.first(self.stem(x)))))
        with jax.numpy_dtype_promotion("standard"):  # Flax divides floats by integers
            x = nnx.avg_pool(x, (2, 2), (2, 2))
        return nnx.relu(self.last(self.second(x)))


class Inception(Network):
    def __init__(self):
        super().__init__(9)
        self.stem = conv(3, 6, stride=2)
        self.one, self.three = conv(6, 2, 1), nnx.Sequential(conv(6, 3, 1), nnx.relu, conv(3, 4))
        self.pooled = conv(6, 3, 1)

    def features(self, x: Array) -> Array:
        x = nnx.relu(self.stem(x))
        pooled = self.pooled(nnx.max_pool(x, (3, 3), padding="SAME"))
        return nnx.relu(jnp.concatenate([self.one(x), self.three(x), pooled], axis=-1))


class SqueezeExcite(nnx.Module):
    """Channels scaled by a gate: two 1x1 convolutions of their means."""

    def __init__(self, width: int, gate: Callable[[Array], Array] = nnx.sigmoid):
        self.down, self.up, self.gate = conv(width, 2, 1), conv(2, width, 1), gate

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.down(x.mean((1, 2), keepdims=True)))
        return x * self.gate(self.up(y))


class SENet(Network):
    def __init__(self):
        super().__init__(6)
        self.stem, self.first, self.second = normed(3, 6, stride=2), normed(6, 6), normed(6, 6)
        self.squeeze = SqueezeExcite(6)

    def features(self, x: Array) -> Array:
        x = nnx.relu(self.stem(x))
        return nnx.relu(x + self.squeeze(self.second(nnx.relu(self.first(x)))))


class MobileNet(Network):
    """Its head is 1x1 convolutions after a mean that keeps its axes."""

    def __init__(self):
        self.stem, self.wide, self.narrow = normed(3, 4, stride=2), normed(4, 8, 1), normed(8, 4, 1)
        self.deep = conv(8, 8, feature_group_count=8, use_bias=False)
        self.norm, self.squeeze = norm(8), SqueezeExcite(8, nnx.hard_sigmoid)
        self.last, self.hidden, self.logits = normed(4, 8, 1), conv(8, 8, 1), conv(8, CLASSES, 1)

    def features(self, x: Array) -> Array:
        x = nnx.hard_swish(self.stem(x))
        y = nnx.hard_swish(self.norm(self.deep(nnx.hard_swish(self.wide(x)))))
        return nnx.hard_swish(self.last(x + self.narrow(self.squeeze(y))))

    def head(self, x: Array) -> Array:
        x = nnx.hard_swish(self.hidden(x.mean((1, 2), keepdims=True)))
        return self.logits(x)[:, 0, 0]


class NextBlock(nnx.Module):
    def __init__(self, width: int):
        self.deep = conv(width, width, feature_group_count=width)
        self.norm = nnx.LayerNorm(width, rngs=nnx.Rngs(0))
        self.wide, self.narrow = dense(width, 2 * width), dense(2 * width, width)
        self.scale = nnx.Param(jnp.full((1, 1, 1, width), 0.5))

    def __call__(self, x: Array) -> Array:
        y = self.narrow(nnx.gelu(self.wide(self.norm(self.deep(x)))))
        return x + y * self.scale[...]


class ConvNeXt(Network):
    def __init__(self):
        super().__init__(6)
        self.stem, self.norm = conv(3, 6, 2, 2), nnx.LayerNorm(6, rngs=nnx.Rngs(0))
        self.blocks = nnx.List([NextBlock(6), NextBlock(6)])
        self.last = nnx.LayerNorm(6, rngs=nnx.Rngs(0))

    def features(self, x: Array) -> Array:
        x = self.norm(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return x

    def head(self, x: Array) -> Array:
        return self.dense(self.last(x.mean((1, 2))))


def apply(model: Network, x: Array) -> Array:
    return model(x)


def _split(kind: Callable[[], Network]) -> Split:
    graph, shapes = nnx.split(nnx.eval_shape(kind))
    return Split(
        apply,
        nnx.merge(graph, drawn(shapes)),
        images(),
        lambda model, image: model.features(image[None])[0],
        lambda model, value: model.head(value[None])[0],
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
