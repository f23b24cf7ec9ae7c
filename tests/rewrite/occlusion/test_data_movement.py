"""Incremental occlusion through operations that move values: padding, slices, reshapes, products.

Each network gives the score of the whole at corners inside and at every border, and costs a window
a part of the FLOPs that the whole costs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxsal
from jaxsal.rewrite.cost import flops
from jaxsal.rewrite.incremental_occlusion import incremental_score
from tests import toy

HEIGHT, WIDTH, CHANNELS = 32, 24, 2
WINDOW = (3, 4)
rng = np.random.default_rng(0)


def weights(*shape):
    return (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)


FIRST, SECOND = weights(3, 3, CHANNELS, 6), weights(3, 3, 6, 6)
PATCHED, DEEP, POINTWISE = weights(3, 3, 8, 6), weights(3, 3, 24, 6), weights(6, 6)


def conv(x, w, stride=1, padding="VALID", **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(
        x[None], w, (stride, stride), padding, dimension_numbers=numbers, **options
    )
    return out[0]


def head(x):
    """Channels last; a norm over channels, a mean over space."""
    x = conv(jax.nn.relu(x), SECOND, padding="SAME")
    x = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 0.1)
    return jnp.tanh(x.mean((0, 1))).sum()


def zero_padding(x):
    x = jnp.pad(x, ((1, 1), (2, 1), (0, 0)))
    return head(conv(jnp.pad(conv(x, FIRST), ((0, 1), (0, 1), (0, 0))), SECOND, 2))


def padded_by_a_number(x):
    return head(conv(jnp.pad(x, ((3, 0), (0, 2), (0, 0)), constant_values=0.7), FIRST))


def stuffed_and_cropped(x):
    x = lax.pad(x, jnp.float32(0.3), ((-3, 2, 1), (1, -5, 2), (0, 0, 0)))
    return head(conv(x, FIRST, 2))


def channels_padded(x):
    """The shortcut of a ResNet without weights: every other pixel, and zeros for new channels."""
    return head(conv(x, FIRST, 2, "SAME") + jnp.pad(x[::2, ::2], ((0, 0), (0, 0), (1, 3))))


def cropped(x):
    return head(conv(x, FIRST)[2:-3, 1:-1])


def every_third(x):
    return head(conv(x, FIRST, padding="SAME")[1::3, 2::2])


def turned(x):
    return head(conv(x[::-1], FIRST, padding="SAME")[::2, ::-1])


def four_phases(x):
    """Space to depth by strided slices, as the focus layer of YOLO has it."""
    parts = [x[i::2, j::2] for i in range(2) for j in range(2)]
    return head(conv(jnp.concatenate(parts, -1), PATCHED, padding="SAME"))


def space_to_depth(x):
    x = x.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, CHANNELS).transpose(0, 2, 1, 3, 4)
    return head(conv(x.reshape(HEIGHT // 2, WIDTH // 2, 8), PATCHED, padding="SAME"))


def depth_to_space(x):
    x = conv(x, weights_of_four, 2, "SAME").reshape(HEIGHT // 2, WIDTH // 2, 2, 2, 6)
    return head(x.transpose(0, 2, 1, 3, 4).reshape(HEIGHT, WIDTH, 6))


weights_of_four = weights(3, 3, CHANNELS, 24)


def unshuffled_channels_first(x):
    x = x.transpose(2, 0, 1).reshape(CHANNELS, HEIGHT // 2, 2, WIDTH // 2, 2)
    x = x.transpose(0, 2, 4, 1, 3).reshape(1, 8, HEIGHT // 2, WIDTH // 2)
    numbers = ("NCHW", "HWIO", "NCHW")
    x = jax.nn.relu(lax.conv_general_dilated(x, PATCHED, (1, 1), "SAME", dimension_numbers=numbers))
    return head(x[0].transpose(1, 2, 0))


def pooled_by_reshape(x):
    x = conv(x, FIRST, padding="SAME").transpose(2, 0, 1)
    x = x.reshape(6, HEIGHT // 2, 2, WIDTH // 2, 2).max((2, 4))
    return head(x.transpose(1, 2, 0))


def patches_and_pointwise(x):
    """A stem of patches and dense layers over the channels, as ConvNeXt's."""
    x = conv(x, STEM, 4)
    return head(x + jax.nn.gelu(conv(x, SECOND, padding="SAME") @ POINTWISE) @ POINTWISE)


STEM = weights(4, 4, CHANNELS, 6)


def tokens_and_back(x):
    """Rows of patches, embedded by a product."""
    x = x.reshape(HEIGHT // 4, 4, WIDTH // 4, 4, CHANNELS).swapaxes(1, 2)
    x = x.reshape(HEIGHT * WIDTH // 16, 16 * CHANNELS) @ STEM.reshape(-1, 6)
    return head(x.reshape(HEIGHT // 4, WIDTH // 4, 6))


def attention_in_windows(x):
    x = conv(x, FIRST, padding="SAME").reshape(HEIGHT // 4, 4, WIDTH // 4, 4, 6)
    x = x.swapaxes(1, 2).reshape(-1, 16, 6)
    scores = jnp.einsum("wic,wjc->wij", x @ POINTWISE, x)
    x = jnp.einsum("wij,wjc->wic", jax.nn.softmax(scores), x)
    x = x.reshape(HEIGHT // 4, WIDTH // 4, 4, 4, 6).swapaxes(1, 2)
    return head(x.reshape(HEIGHT, WIDTH, 6))


def grey_in_three(x):
    x = jnp.tile(x[..., :1], (1, 1, 3))
    return head(conv(jnp.concatenate([x, POSITIONS], -1), THREE, padding="SAME"))


POSITIONS = np.stack(np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT)), -1).astype(
    np.float32
)
THREE = weights(3, 3, 5, 6)


def framed_by_constants(x):
    """Rows joined above and below: zeros, and what does not depend on the image."""
    x = conv(x, FIRST, padding="SAME")
    top, below = jnp.zeros((2, WIDTH, 6)), jnp.full((1, WIDTH, 6), 0.4)
    return head(jnp.concatenate([top, x, below], 0))


def halves_swapped(x):
    """Both parts depend on the image."""
    left, right = jnp.split(conv(x, FIRST, padding="SAME"), 2, 1)
    return head(jnp.concatenate([left, jnp.tanh(left)], 0)[: HEIGHT + 5]) + head(right)


def upsampled(x):
    x = conv(x, FIRST, 2, "SAME")
    return head(jnp.repeat(jnp.repeat(x, 2, 0), 2, 1))


def transposed_convolution(x):
    x = conv(x, FIRST, 2, "SAME")
    return head(conv(x, SECOND, padding=((1, 2), (2, 0)), lhs_dilation=(2, 2)))


def cropped_by_a_convolution(x):
    return head(conv(x, FIRST, 2, ((-2, 1), (1, -3))))


def two_branches(x):
    x = conv(x, FIRST, padding="SAME")
    a, b = jnp.split(x, 2, -1)
    return head(jnp.stack([b, a], -1).reshape(HEIGHT, WIDTH, 6))


def an_empty_part(x):
    x = conv(x, FIRST, padding="SAME")
    return head(jnp.concatenate(jnp.split(x, [0], 0), 0))


SCORES = [
    an_empty_part,
    zero_padding,
    padded_by_a_number,
    stuffed_and_cropped,
    channels_padded,
    cropped,
    every_third,
    turned,
    four_phases,
    space_to_depth,
    depth_to_space,
    unshuffled_channels_first,
    pooled_by_reshape,
    patches_and_pointwise,
    tokens_and_back,
    attention_in_windows,
    grey_in_three,
    framed_by_constants,
    halves_swapped,
    upsampled,
    transposed_convolution,
    cropped_by_a_convolution,
    two_branches,
]
COARSE = [patches_and_pointwise, tokens_and_back, attention_in_windows, halves_swapped]
"""A window changes whole patches, or lies in several parts."""
IMAGE = rng.normal(size=(HEIGHT, WIDTH, CHANNELS)).astype(np.float32)
VALUES = rng.normal(size=(*WINDOW, CHANNELS)).astype(np.float32)
LAST = (HEIGHT - WINDOW[0], WIDTH - WINDOW[1])
PLACES = np.array(
    [
        (i, j)
        for i in range(LAST[0] + 1)
        for j in range(LAST[1] + 1)
        if (5 * i + j) % (3 if i in (0, LAST[0]) or j in (0, LAST[1]) else 17) == 0
    ],
    np.int32,
)


def at_places(replaced):
    return jax.vmap(lambda place: replaced(jnp.asarray(VALUES), (place[0], place[1], 0)))(PLACES)


def cost(fun, *args):
    return flops(jax.make_jaxpr(fun)(*args).jaxpr)


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.__name__)
def test_the_score_of_the_whole_for_less(score):
    """A window costs a part of the score, and gives the same number at every place."""

    def whole(values, corner):
        return score(lax.dynamic_update_slice(jnp.asarray(IMAGE), values, corner))

    replaced = incremental_score(score, jnp.asarray(IMAGE))
    changed, expected = (jax.jit(functools.partial(at_places, how))() for how in (replaced, whole))
    assert np.ptp(expected) > 1e-3
    toy.close(changed, expected)
    corner = (np.int32(3), np.int32(5), np.int32(0))
    share = cost(replaced, VALUES, corner) / cost(whole, VALUES, corner)
    assert share < (0.5 if score in COARSE else 0.2)


def test_a_model_of_images_channels_first():
    """Through the front door: padding of its own, pixel-unshuffle, pooling by reshape."""

    def apply(params, x):
        x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        numbers = ("NCHW", "HWIO", "NCHW")
        x = lax.conv_general_dilated(x, params["w"], (1, 1), "VALID", dimension_numbers=numbers)
        x = jax.nn.relu(x).reshape(-1, 6, 12, 2, 10, 2).transpose(0, 1, 3, 5, 2, 4)
        x = x.reshape(-1, 24, 12, 10)[:, :, 1:, ::-1]
        x = lax.conv_general_dilated(x, params["v"], (1, 1), "SAME", dimension_numbers=numbers)
        x = jnp.tanh(x[:, :, :10]).reshape(-1, 6, 5, 2, 5, 2).max((3, 5))
        return x.mean((2, 3)) @ params["dense"]

    params = {"w": FIRST, "v": DEEP, "dense": POINTWISE}
    images = rng.normal(size=(2, CHANNELS, 24, 20)).astype(np.float32)
    explain = functools.partial(jaxsal.explainer, apply, jaxsal.occlusion, window=4)
    fast, plain = (explain(rewrite=rewrite) for rewrite in (True, False))
    toy.close(fast(params, images, 1), plain(params, images, 1))
    told = fast.describe(params, images, 1)
    assert told["spatial_axes"] == (1, 2)
    (cost,) = (each for each in told["rewritten"] if each.startswith("occlusion"))
    assert float(cost.split("costs ")[1].split("%")[0]) < 35
