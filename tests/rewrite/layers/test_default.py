"""No layer named: the last feature map that every path passes, before the pools that follow."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import jaxsal
from jaxsal.rewrite.split_at_layer import cut, split_at_layer

RNG = np.random.default_rng(3)
IMAGE = jnp.asarray(RNG.normal(size=(6, 8, 2)), jnp.float32)


@functools.cache
def _drawn(*shape):
    return (np.random.default_rng(sum(shape)).normal(size=shape) / 3).astype(np.float32)


def conv(x, width=4, size=3, stride=1):
    kernel = _drawn(size, size, x.shape[-1], width)
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=numbers
    )


def norm(x):
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-3)


def excited(x):
    """Squeeze and excite by 1x1 convolutions, as MobileNetV3 and EfficientNet have it."""
    gate = conv(nn.relu(conv(x.mean((1, 2), keepdims=True), 2, 1)), x.shape[-1], 1)
    return x * jax.nn.sigmoid(gate)


def pooled(x):
    return nn.max_pool(x, (2, 2), (2, 2))


def averaged(x):
    windows = (1, 2, 2, 1)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, windows, windows, "VALID") / 4


def by_reshaping(x):
    return x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4))


def masked(x, image):
    """A mean over what is no padding: a comparison is on no path."""
    kept = (jnp.abs(image).sum(-1, keepdims=True) > 0.1)[None]
    return jnp.where(kept, x, 0.0).sum((1, 2)) / kept.sum(dtype=jnp.float32)


def branched(x):
    return jax.lax.cond(x.sum() > 0, conv, lambda y: conv(y) + 1, x)


def dense(x):
    for _ in range(2):
        x = jnp.concatenate([x, conv(nn.relu(norm(x)), 3)], -1)
    return nn.relu(norm(x))


def inception(x):
    x = nn.relu(conv(x))
    others = [nn.relu(conv(x, 3, 1)), conv(nn.max_pool(x, (3, 3), (1, 1), "SAME"), 2, 1)]
    return jnp.concatenate([conv(x), *others], -1)


def turns(x):
    step = lambda y, w: (nn.relu(conv(y) * w), None)  # noqa: E731
    return jax.lax.scan(step, conv(x), jnp.asarray([1.0, 2.0]))[0]


mean = lambda x: x.mean((1, 2))  # noqa: E731
kept = lambda x: conv(nn.silu(conv(x.mean((1, 2), keepdims=True), 5, 1)), 3, 1).squeeze()  # noqa: E731
attended = lambda x: jnp.einsum("bhw,bhwc->bc", jax.nn.softmax(conv(x, 1, 1)[..., 0]), x)  # noqa: E731

# The features, and what the score makes of them.
NETS = {
    "activation": (lambda x: nn.relu(conv(x) + 1), mean),
    "residual": (lambda x: nn.relu(norm(conv(x)) + conv(x, 4, 1)), mean),
    "skip around two": (lambda x: (lambda y: y + conv(nn.relu(conv(y))))(conv(x)), mean),
    "1x1 head after a kept mean": (lambda x: nn.silu(conv(x)), kept),
    "squeeze and excite": (lambda x: nn.relu(conv(excited(nn.relu(conv(x))), 5, 1)), mean),
    "excited last": (lambda x: excited(conv(x)), kept),
    "dense block": (dense, mean),
    "inception": (inception, mean),
    "1x1 convolution last": (lambda x: conv(nn.relu(conv(x)), 3, 1), mean),
    "pointwise product last": (lambda x: nn.gelu(norm(conv(x)) @ _drawn(4, 5)), mean),
    "pooled": (lambda x: nn.relu(conv(x)), lambda x: mean(pooled(x))),
    "maxout": (lambda x: conv(x, 8).reshape(1, 6, 8, 4, 2).max(-1), mean),
    "the largest channel": (lambda x: conv(x).max(-1, keepdims=True), mean),
    "pooled twice and flattened": (
        lambda x: nn.tanh(conv(x)),
        lambda x: nn.max_pool(pooled(x) * 2.0, (2, 2), (1, 1)).reshape(1, -1),
    ),
    "pooled by reshaping": (lambda x: nn.relu(conv(x)), lambda x: mean(by_reshaping(x))),
    "averaged": (lambda x: nn.relu(conv(x)), lambda x: averaged(x).reshape(1, -1)),
    "pooled, then activated": (lambda x: nn.relu(pooled(conv(x))), mean),
    "weighed by one product": (lambda x: nn.relu(conv(x)), attended),
    "in a loop": (turns, mean),
    "in a branch": (branched, mean),
    "remat and jit": (jax.jit(jax.checkpoint(lambda x: nn.gelu(conv(x)))), mean),
    "down to one position": (
        lambda x: nn.relu(conv(x, stride=2)),
        lambda x: conv(pooled(x), 3, 4, 4).squeeze(),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_last_feature_map(name):
    features, head = NETS[name]

    def compute(image):
        expected = features(image[None])
        top = lambda value: jnp.sin(head(value)).sum()  # noqa: E731
        parts = split_at_layer(lambda x: top(features(x[None])), image)
        by_hand = jaxsal.grad_cam_from(expected, top, image)
        found = jaxsal.grad_cam(lambda x: top(features(x[None])), image)
        return parts.value, expected, found, by_hand

    value, expected, found, by_hand = jax.jit(compute)(IMAGE)
    assert value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5 * np.abs(by_hand).max())


def test_a_mask_of_the_image_is_on_no_path():
    score = lambda x: masked(nn.relu(conv(x[None])), x).sum()  # noqa: E731
    value, _ = cut(score, IMAGE)
    mask = (jnp.abs(IMAGE).sum(-1, keepdims=True) > 0.1)[None]
    np.testing.assert_allclose(value, jnp.where(mask, nn.relu(conv(IMAGE[None])), 0.0), rtol=1e-5)


def test_what_no_derivative_passes_is_on_no_path():
    gain = lambda x: jax.lax.stop_gradient(jnp.abs(x).mean()) + jnp.round(x).max()  # noqa: E731
    value, _ = cut(lambda x: (nn.relu(conv(x[None])).mean() * gain(x)) ** 2, IMAGE)
    np.testing.assert_allclose(value, nn.relu(conv(IMAGE[None])), rtol=1e-5)


def test_tokens_that_are_mixed_without_attention_are_told_too():
    def score(image):
        x = conv(image[None], 4, 2, 2).reshape(1, 12, 4)
        with jax.named_scope("mixed"):
            x = x + jnp.swapaxes(jnp.swapaxes(x, 1, 2) @ _drawn(12, 12), 1, 2)
        return norm(x).mean()

    told = (
        r"come others in which the image's axes are merged, .*layer='mixed' f32\[1,12,4\] spatial"
    )
    with pytest.raises(ValueError, match=told):
        cut(score, IMAGE)


def test_the_same_with_channels_first():
    def score(image):
        x = conv(jnp.moveaxis(image, 0, -1)[None])
        return jnp.sin(jnp.moveaxis(nn.relu(x), -1, 1)).max((2, 3)).sum()

    parts = split_at_layer(score, jnp.moveaxis(IMAGE, -1, 0))
    assert parts.axes == (2, 3) and parts.spatial == (1, 2) and parts.value.shape == (1, 4, 6, 8)


@jax.custom_vjp
def _fused(q, k, v):
    return jax.nn.softmax(q @ k.mT) @ v


_fused.defvjp(
    lambda *x: (_fused(*x), x), lambda saved, g: jax.vjp(_fused.__wrapped__, *saved)[1](g)
)


def _in_turns(x):
    turn = lambda y, _: (y + jax.nn.softmax(y @ y.mT) @ y, None)  # noqa: E731
    return jax.lax.scan(turn, x, length=2)[0]


ATTENTION = {
    "plain": lambda x: jax.nn.softmax((x @ _drawn(4, 4)) @ x.mT) @ x,
    "linear": lambda x: nn.elu(x) @ (nn.elu(x).mT @ x),
    "by one query": lambda x: jax.nn.softmax(x.mean(1, keepdims=True) @ x.mT) @ x,
    "jitted": jax.jit(lambda x: jax.nn.softmax(x @ x.mT) @ x),
    "of a custom derivative": lambda x: _fused(x, x, x),
    "in a loop": _in_turns,
}


@pytest.mark.parametrize("kind", ATTENTION)
def test_attention_after_it_asks_for_a_layer(kind):
    def tokens(x):
        x = conv(x[None], 4, 2, 2)
        with jax.named_scope("tokens"):
            return x.reshape(1, 12, 4) + 1

    def score(image):
        return ATTENTION[kind](tokens(image)).mean()

    with pytest.raises(ValueError) as raised:
        cut(score, IMAGE)
    told = str(raised.value)
    assert "attention comes after the last value that lies over the image, f32[1,3,4,4]" in told
    given = "layer='tokens' f32[1,12,4] spatial=lambda t: t.reshape(3, 4, -1)"
    assert given in told
    found = jaxsal.grad_cam(score, IMAGE, layer="tokens", spatial=lambda t: t.reshape(3, 4, -1))
    by_hand = jaxsal.grad_cam_from(
        tokens(IMAGE).reshape(1, 3, 4, 4),
        lambda v: ATTENTION[kind](v.reshape(1, 12, 4)).mean(),
        IMAGE,
    )
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-6)


def test_after_the_last_attention_tokens_that_are_not_read_are_no_candidates():
    def block(x):
        return x + jax.nn.softmax(x @ x.mT) @ x

    def score(image):
        x = conv(image[None], 4, 2, 2).reshape(1, 12, 4)
        x = jnp.concatenate([jnp.ones((1, 1, 4)), x], 1)
        for i in range(2):
            with jax.named_scope(f"block{i}"):
                x = block(x)
        return x[:, 0].sum()

    with pytest.raises(ValueError, match=r"block0.*t\[1:\]") as raised:
        cut(score, IMAGE)
    assert "block1" not in str(raised.value)


def test_an_image_that_goes_around_all_of_it_leaves_no_feature_map():
    @jax.named_scope("body")
    def body(x):
        return nn.relu(conv(x))

    score = lambda x: (body(x[None]).mean() + (x @ _drawn(2, 3)).mean()) ** 2  # noqa: E731
    with pytest.raises(ValueError, match="no value that every path from the image to the score"):
        cut(score, IMAGE)


def test_describe_says_which_value_was_used():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(4, (3, 3))(x))
            return nn.Conv(3, (1, 1))(x.mean((1, 2), keepdims=True))[:, 0, 0]

    params = Net().init(jax.random.key(0), IMAGE[None])
    methods = {"cam": jaxsal.grad_cam, "named": functools.partial(jaxsal.eigen_cam, layer="Conv_0")}
    explain = jaxsal.explainer(Net().apply, methods)
    given = (params, jnp.stack([IMAGE, IMAGE]))
    expected = ["f32[1,6,8,4] by relu in Net", "f32[1,6,8,4] by add in Net/Conv_0"]
    assert explain.layers(*given) == expected
    assert explain.describe(*given)["layers"] == expected
    assert jaxsal.explainer(Net().apply, jaxsal.gradient).layers(*given) == []


def test_a_tag_is_still_a_layer_of_a_score_without_convolutions():
    score = lambda x: (checkpoint_name(jnp.sin(x), "here") ** 2).sum()  # noqa: E731
    np.testing.assert_allclose(cut(score, IMAGE, "here")[0], jnp.sin(IMAGE))
