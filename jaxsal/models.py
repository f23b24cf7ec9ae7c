"""The Flax CNN of the study, and ResNet: plain convolutions, ReLU, pools; rewrites do the rest."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from jaxsal.common.filters import binomial
from jaxsal.types import accumulator


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
    dtype: DTypeLike = jnp.float32

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
        space = tuple(range(1, x.ndim - 1))
        count = jnp.sum(weights) * x[0, ..., 0].size

        def mean(values: Array) -> Array:
            # Over space first: weights spread over every pixel are an array of the images' size.
            total = jnp.sum(weights[:, None] * jnp.sum(values, space), 0)
            both = (total, count)
            if self.axis_name is not None:
                both = jax.lax.psum(both, self.axis_name)
            return both[0] / both[1]

        first = mean(x)
        return first, mean(jnp.square(x - first.reshape(*(1,) * (x.ndim - 1), -1)))


class CNN(nn.Module):
    """A stack of (convolution 3x3, normalisation, ReLU, max-pool 2x2) stages, global mean, dense.

    `model.apply(variables, images [B, H, W, C]) -> logits [B, classes]` is pure (of volumes
    [B, X, Y, Z, C], with kernels of 3x3x3 and pools of 2x2x2, where `axes` is 3): with batch
    normalisation the inference statistics are part of `variables`. Training passes `weights [B]`
    (0 for padding) and `keys [B]` (one an example, for dropout: the same draws on any devices).

    Attributes:
        classes: number of logits, K.
        widths: channels of each stage; its length is the depth.
        convs: convolutions in each stage.
        smooth: how often the images go through a binomial mean of 3x3 pixels first. Scanners differ
            in sharpness and classes in scanners: a network that sees the finest detail learns it.
        stride: of the first convolution; 2 makes an image of twice the side cost about the same.
        last_pool: whether the last stage pools too. Where it does not, four times as many values
            make the mean, and the logits have smaller kinks: integrated gradients need fewer steps.
        norm: batch normalisation between convolution and ReLU (layer and group normalisation make
            integrated gradients from a black baseline meaningless, and are not offered).
        dropout: rate before the dense layer.
        dtype: of the computation; parameters are float32.
        axis_name: the device axis under `pmap`, over which batch statistics are taken.
        axes: how many are spatial, 2 or 3; volumes are not smoothed.
        top: what of each channel is kept of all positions of the last stage: their "mean", or their
            "max". A lesion that fills a thousandth of a volume hardly moves a mean.
    """

    classes: int
    widths: tuple[int, ...] = (32, 64, 128, 256)
    convs: int = 1
    smooth: int = 0
    stride: int = 1
    last_pool: bool = True
    norm: bool = True
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    axes: int = 2
    top: str = "mean"

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch *space channels"],
        *,
        weights: Float[Array, " batch"] | None = None,
        keys: Shaped[Array, "batch ..."] | None = None,
    ) -> Float[Array, "batch classes"]:
        kernel, window = (3,) * self.axes, (2,) * self.axes
        for _ in range(self.smooth):
            images = binomial(images)
        x, stride = images.astype(self.dtype), self.stride
        for stage, width in enumerate(self.widths, 1):
            for _ in range(self.convs):
                x = nn.Conv(width, kernel, stride, use_bias=not self.norm, dtype=self.dtype)(x)
                stride = 1
                if self.norm:
                    x = BatchNorm(axis_name=self.axis_name, dtype=self.dtype)(x, weights)
                x = nn.relu(x)
            if self.last_pool or stage < len(self.widths):
                x = nn.max_pool(x, window, window)
        space = tuple(range(1, x.ndim - 1))
        x = jnp.max(x, space) if self.top == "max" else jnp.mean(x, space)
        if keys is not None and self.dropout:
            x = x * _dropout_mask(keys, x.shape[-1], self.dropout).astype(x.dtype)
        return _logits(self.classes, self.dtype)(x)


def _dropout_mask(
    keys: Shaped[Array, "batch ..."], width: int, rate: float
) -> Float[Array, "batch {width}"]:
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, jnp.float32(1 - rate), (width,)))(keys)
    return keep.astype(jnp.float32) / (1 - rate)


def _logits(classes: int, dtype: DTypeLike) -> nn.Dense:
    """The last layer, never less exact than float32."""
    return nn.Dense(classes, dtype=accumulator(dtype))


class Bottleneck(nn.Module):
    """A residual block of 1x1, 3x3 and 1x1 convolutions: width, width and 4 width channels."""

    width: int
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch h w c"], weights: Float[Array, " batch"] | None = None
    ) -> Float[Array, "batch h2 w2 c2"]:
        def conv(x: Array, width: int, side: int, stride: int = 1) -> Array:
            pad = side // 2
            kernel, padding = (side, side), ((pad, pad), (pad, pad))
            x = nn.Conv(width, kernel, stride, padding, use_bias=False, dtype=self.dtype)(x)
            return BatchNorm(axis_name=self.axis_name, dtype=self.dtype)(x, weights)

        y = nn.relu(conv(x, self.width, 1))
        y = nn.relu(conv(y, self.width, 3, self.stride))
        y = conv(y, 4 * self.width, 1)
        if x.shape != y.shape:
            x = conv(x, 4 * self.width, 1, self.stride)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A residual network of bottleneck blocks (He et al., CVPR 2016); by default ResNet-50.

    The stride of a block is that of its 3x3 convolution ("v1.5"), and padding is symmetric, as in
    the PyTorch model of that name, whose weights therefore fit. `apply`, `weights` and the
    statistics in `variables` are as of `CNN`.

    Attributes:
        classes: number of logits, K.
        blocks: how many blocks each stage has; each stage after the first halves the image.
        width: channels inside the blocks of the first stage; doubled from stage to stage.
        mean, std: of each channel of images in [0, 1], taken off them first; none: they stay.
        dtype: of the computation; parameters are float32.
        axis_name: the device axis under `pmap`, over which batch statistics are taken.
    """

    classes: int
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        *,
        weights: Float[Array, " batch"] | None = None,
        keys: Shaped[Array, "batch ..."] | None = None,
    ) -> Float[Array, "batch classes"]:
        x = images.astype(self.dtype)
        if self.mean:
            mean, std = (jnp.array(v, self.dtype)[None, None, None] for v in (self.mean, self.std))
            x = (x - mean) / std
        x = nn.Conv(self.width, (7, 7), 2, ((3, 3), (3, 3)), use_bias=False, dtype=self.dtype)(x)
        x = nn.relu(BatchNorm(axis_name=self.axis_name, dtype=self.dtype)(x, weights))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, count in enumerate(self.blocks):
            for index in range(count):
                stride = 2 if stage and not index else 1
                block = Bottleneck(self.width << stage, stride, self.dtype, self.axis_name)
                x = block(x, weights)
        x = jnp.mean(x, (1, 2))
        return _logits(self.classes, self.dtype)(x)


Network = CNN | ResNet
"""What can be trained."""
