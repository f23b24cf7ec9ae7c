"""In Flax Linen, channels last; a module told `features=True` stops before its head."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from tests.split_networks import CLASSES, Split, drawn, images, networks
from tests.zoo import Encoder

Norm = functools.partial(nn.BatchNorm, use_running_average=True)


class Pooled(nn.Module):
    """The mean over space, and a product."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.Dense(CLASSES)(x.mean((1, 2)))


class Network(nn.Module):
    """A network `top(features)`; the modules below differ in what makes the features."""

    features: bool = False
    top: type[nn.Module] = Pooled

    def end(self, x: Array) -> Array:
        return x if self.features else self.top(name="head")(x)


class Residual(nn.Module):
    width: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = nn.relu(Norm()(nn.Conv(self.width, (3, 3), self.stride, use_bias=False)(x)))
        y = Norm()(nn.Conv(self.width, (3, 3), use_bias=False)(y))
        if x.shape != y.shape:
            x = Norm()(nn.Conv(self.width, (1, 1), self.stride, use_bias=False)(x))
        return nn.relu(x + y)


class ResNet(Network):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.relu(Norm()(nn.Conv(4, (3, 3), 2, use_bias=False)(x)))
        return self.end(Residual(8, stride=2)(Residual(4)(x)))


class DenseBlock(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        for _ in range(2):
            y = nn.Conv(4, (3, 3), use_bias=False)(nn.relu(Norm()(x)))
            x = jnp.concatenate([x, y], axis=-1)
        return x


class DenseNet(Network):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = DenseBlock()(nn.Conv(4, (3, 3), 2, use_bias=False)(x))
        x = nn.Conv(6, (1, 1), use_bias=False)(nn.relu(Norm()(x)))
        with jax.numpy_dtype_promotion("standard"):  # Flax divides floats by integers
            x = nn.avg_pool(x, (2, 2), (2, 2))
        return self.end(nn.relu(Norm()(DenseBlock()(x))))


class Inception(Network):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.relu(nn.Conv(6, (3, 3), 2)(x))
        one = nn.relu(nn.Conv(2, (1, 1))(x))
        three = nn.relu(nn.Conv(4, (3, 3))(nn.relu(nn.Conv(3, (1, 1))(x))))
        pooled = nn.relu(nn.Conv(3, (1, 1))(nn.max_pool(x, (3, 3), padding="SAME")))
        return self.end(jnp.concatenate([one, three, pooled], axis=-1))


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate: two 1x1 convolutions of their means."""

    gate: Callable[[Array], Array] = nn.sigmoid

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = nn.relu(nn.Conv(2, (1, 1))(x.mean((1, 2), keepdims=True)))
        return x * self.gate(nn.Conv(x.shape[-1], (1, 1))(y))


class SENet(Network):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.relu(Norm()(nn.Conv(6, (3, 3), 2, use_bias=False)(x)))
        y = nn.relu(Norm()(nn.Conv(6, (3, 3), use_bias=False)(x)))
        y = Norm()(nn.Conv(6, (3, 3), use_bias=False)(y))
        return self.end(nn.relu(x + SqueezeExcite()(y)))


class PointwiseHead(nn.Module):
    """1x1 convolutions after a mean that keeps its axes."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.hard_swish(nn.Conv(8, (1, 1))(x.mean((1, 2), keepdims=True)))
        return nn.Conv(CLASSES, (1, 1))(x)[:, 0, 0]


class MobileNet(Network):
    top: type[nn.Module] = PointwiseHead

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.hard_swish(Norm()(nn.Conv(4, (3, 3), 2, use_bias=False)(x)))
        y = nn.hard_swish(Norm()(nn.Conv(8, (1, 1), use_bias=False)(x)))
        deep = nn.Conv(8, (3, 3), feature_group_count=8, use_bias=False)
        y = SqueezeExcite(nn.hard_sigmoid)(nn.hard_swish(Norm()(deep(y))))
        x = x + Norm()(nn.Conv(4, (1, 1), use_bias=False)(y))
        return self.end(nn.hard_swish(Norm()(nn.Conv(8, (1, 1), use_bias=False)(x))))


class NormedHead(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.Dense(CLASSES)(nn.LayerNorm()(x.mean((1, 2))))


class ConvNeXt(Network):
    top: type[nn.Module] = NormedHead

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.LayerNorm()(nn.Conv(6, (2, 2), 2)(x))
        for i in range(2):
            y = nn.LayerNorm()(nn.Conv(6, (3, 3), feature_group_count=6)(x))
            y = nn.Dense(6)(nn.gelu(nn.Dense(12)(y)))
            scale = self.param(f"scale_{i}", nn.initializers.constant(0.5), (6,))
            x = x + y * scale.reshape(1, 1, 1, 6)
        return self.end(x)


class TokenHead(nn.Module):
    """What comes after a ViT's first block: the second one, and the class token's logits."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.LayerNorm()(Encoder(name="block_1")(x))
        return nn.Dense(CLASSES)(x[:, 0])


class ViT(Network):
    """Patches of 4x4, a class token, two blocks. The last value of it in which attention still
    carries patches to the logits is the first block's."""

    top: type[nn.Module] = TokenHead

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.Conv(8, (4, 4), strides=4, name="patches")(x)
        x = x.reshape(x.shape[0], -1, 8)
        token = self.param("token", nn.initializers.normal(), (1, 1, 8))
        x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], 1, 8)), x], axis=1)
        x = x + self.param("position", nn.initializers.normal(), (1, x.shape[1], 8))
        return self.end(Encoder(name="block_0")(x))


class Windows(nn.Module):
    """Attention within windows of 2x2, of tokens `[B, h w, C]`, and a pointwise network."""

    shape: tuple[int, int]
    shift: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        (batch, _, width), (h, w), s = x.shape, self.shape, self.shift
        y = nn.LayerNorm()(x).reshape(batch, h, w, width)
        y = jnp.roll(y, (-s, -s), (1, 2)).reshape(batch, h // 2, 2, w // 2, 2, width)
        y = y.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 4, width)
        y = nn.MultiHeadDotProductAttention(2)(y).reshape(batch, h // 2, w // 2, 2, 2, width)
        y = jnp.roll(y.transpose(0, 1, 3, 2, 4, 5).reshape(batch, h, w, width), (s, s), (1, 2))
        x = x + y.reshape(batch, h * w, width)
        return x + nn.Dense(width)(nn.gelu(nn.Dense(2 * width)(nn.LayerNorm()(x))))


class MeanToken(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        return nn.Dense(CLASSES)(x.mean(1))


class Swin(Network):
    """Tokens `[B, h w, C]` between windows, 2x2 of which are merged once; a last norm."""

    top: type[nn.Module] = MeanToken

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.Conv(4, (2, 2), strides=2, name="patches")(x)
        batch, h, w, _ = x.shape
        x = Windows((h, w), name="block_0")(x.reshape(batch, h * w, 4))
        x = x.reshape(batch, h // 2, 2, w // 2, 2, 4).transpose(0, 1, 3, 2, 4, 5)
        x = nn.Dense(8, name="merge")(x.reshape(batch, -1, 16))
        x = Windows((h // 2, w // 2), shift=1, name="block_1")(x)
        return self.end(nn.LayerNorm(name="norm")(x))


def _split(kind: type[Network], layer: str | None = None, spatial: object = None) -> Split:
    model, trunk, top, batch = kind(), kind(features=True), kind().top(), images()
    apply = model.apply  # one object: each `model.apply` is another

    def features(params: dict, image: Array) -> Array:
        return trunk.apply(params, image[None])[0]

    def head(params: dict, value: Array) -> Array:
        return top.apply({"params": params["params"]["head"]}, value[None])[0]

    params = drawn(jax.eval_shape(model.init, jax.random.key(0), batch))
    return Split(apply, params, batch, features, head, layer, spatial)


NETWORKS = networks(
    _split,
    resnet=ResNet,
    densenet=DenseNet,
    inception=Inception,
    squeeze_excite=SENet,
    mobilenet=MobileNet,
    convnext=ConvNeXt,
    vit=(ViT, "block_0", lambda x: x[1:].reshape(4, 6, 8)),
    swin=(Swin, "norm", lambda x: x.reshape(4, 6, 8)),
)
