"""The study's Flax CNN: plain convolutions, ReLU and max-pooling; the rewrites make them fast."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


class BatchNorm(nn.Module):
    """Batch normalisation whose statistics weigh the examples (Ioffe and Szegedy, ICML 2015).

    `y = (x - mean) / sqrt(var + epsilon) * scale + bias`, with mean and variance over batch and
    space in training (`sum w x / sum w`, over all devices of `axis_name`), and the running ones in
    inference. Flax's own layer averages the devices' masked means without their weights: a padded
    batch would give other numbers on other device counts.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *space c"], weights: Float[Array, " batch"] | None = None
    ) -> Float[Array, "batch *space c"]:
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        moments = (mean.value, var.value)
        if weights is not None and not self.is_initializing():
            moments = self._moments(x.astype(jnp.float32), weights)
            for running, new in zip((mean, var), moments, strict=True):
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        gain = scale * jax.lax.rsqrt(moments[1] + self.epsilon)
        shift = bias - moments[0] * gain
        stretch = (1,) * (x.ndim - 1)
        return x * gain.reshape(*stretch, -1).astype(self.dtype) + shift.reshape(
            *stretch, -1
        ).astype(self.dtype)

    def _moments(self, x: Array, weights: Array) -> tuple[Array, Array]:
        axes = tuple(range(x.ndim - 1))
        positions = x[0, ..., 0].size

        def mean(values: Array) -> Array:
            column = weights.reshape(-1, *(1,) * (values.ndim - 1))
            total, count = jnp.sum(values * column, axes), jnp.sum(weights) * positions
            if self.axis_name is not None:
                total, count = jax.lax.psum((total, count), self.axis_name)
            return total / count

        first = mean(x)
        return first, mean(jnp.square(x - first.reshape(*(1,) * (x.ndim - 1), -1)))


class CNN(nn.Module):
    """A stack of (convolution 3x3, normalisation, ReLU, max-pool 2x2) stages, global mean, dense.

    `model.apply(variables, images [B, H, W, C]) -> logits [B, classes]` is pure: with batch
    normalisation the inference statistics are part of `variables`. Training passes `weights [B]`
    (0 for padding) and `keys [B]` (one an example, for dropout: the same draws on any devices).

    Attributes:
        classes: number of logits, K.
        widths: channels of each stage; its length is the depth.
        convs: convolutions in each stage.
        stride: of the first convolution; 2 makes an image of twice the side cost about the same.
        norm: batch normalisation between convolution and ReLU (layer and group normalisation make
            integrated gradients from a black baseline meaningless, and are not offered).
        dropout: rate before the dense layer.
        dtype: of the computation; parameters are float32.
        axis_name: the device axis under `pmap`, over which batch statistics are taken.
    """

    classes: int
    widths: tuple[int, ...] = (32, 64, 128, 256)
    convs: int = 1
    stride: int = 1
    norm: bool = True
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        *,
        weights: Float[Array, " batch"] | None = None,
        keys: Shaped[Array, "batch ..."] | None = None,
    ) -> Float[Array, "batch classes"]:
        x, stride = images.astype(self.dtype), self.stride
        for width in self.widths:
            for _ in range(self.convs):
                x = nn.Conv(width, (3, 3), stride, use_bias=not self.norm, dtype=self.dtype)(x)
                stride = 1
                if self.norm:
                    x = BatchNorm(axis_name=self.axis_name, dtype=self.dtype)(x, weights)
                x = nn.relu(x)
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = jnp.mean(x, (1, 2))
        if keys is not None and self.dropout:
            x = x * _dropout_mask(keys, x.shape[-1], self.dropout).astype(x.dtype)
        return nn.Dense(self.classes, dtype=jnp.float32)(x.astype(jnp.float32))


def _dropout_mask(
    keys: Shaped[Array, "batch ..."], width: int, rate: float
) -> Float[Array, "batch {width}"]:
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, (width,)))(keys)
    return keep / (1 - rate)
