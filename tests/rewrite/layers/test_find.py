"""Naming layers: numbers, tags, scopes, and what a convolution's value takes in."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxsal.rewrite.split_at_layer import cut

IMAGE = jnp.asarray(np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 4, 2))
KERNEL = np.linspace(-0.5, 0.6, 36, dtype=np.float32).reshape(3, 3, 2, 2)


def conv(x, scale=1.0):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, scale * KERNEL, (1, 1), "SAME", dimension_numbers=numbers
    )


def _norm(x):
    """Statistics over all positions: what leaves a layer's shape and comes back to it."""
    return (x - x.mean((1, 2), keepdims=True)) * jax.lax.rsqrt(x.var((1, 2), keepdims=True) + 1e-3)


def _pool(x):
    return nn.max_pool(x, (2, 2), strides=(1, 1), padding="SAME")


def _gate(x):
    """Squeeze and excite: a product bears on the value."""
    return x * jax.nn.sigmoid(x.mean((1, 2)) @ jnp.eye(2))[:, None, None]


def _squared_norm(x):
    """A product, before which a layer ends."""
    return x.reshape(-1) @ x.reshape(-1)


# What follows the convolution, of which the value is to be (first) and the rest (second).
TAILS = {
    "nothing": (lambda y, x: y, lambda v, x: v),
    "bias, activation": (lambda y, x: jax.nn.relu(y + 1), lambda v, x: v),
    "norm and swish": (lambda y, x: nn.swish(_norm(y)), lambda v, x: v),
    "residual add and relu": (lambda y, x: jax.nn.relu(_norm(y) + x), lambda v, x: v),
    "remat and jit": (lambda y, x: jax.jit(jax.checkpoint(jax.nn.gelu))(y), lambda v, x: v),
    "skip around the next layer": (lambda y, x: jax.nn.relu(y), lambda v, x: v + _pool(v)),
    "pool of the same shape": (lambda y, x: y + 1, lambda v, x: _pool(v)),
    "product": (lambda y, x: y + 1, lambda v, x: jax.nn.relu(v @ jnp.eye(2))),
    "squeeze and excite": (lambda y, x: nn.swish(y), lambda v, x: _gate(v)),
    "concatenation": (lambda y, x: y, lambda v, x: jnp.concatenate([v, x], axis=-1)),
    "two activations of it": (lambda y, x: y, lambda v, x: jnp.stack([nn.relu(v), nn.relu(-v)])),
    "an unused branch": (lambda y, x: (y.sum(), jax.nn.relu(y))[1], lambda v, x: v),
}


@pytest.mark.parametrize("name", TAILS)
def test_a_convolution_takes_in_what_all_its_paths_pass(name):
    inside, outside = TAILS[name]

    def score(image):
        x = image[None]
        return _squared_norm(outside(inside(conv(x), x), x))

    def compute(image):
        value, head = cut(score, image, -1)
        x = image[None]
        expected = inside(conv(x), x)
        return value, expected, head(value), score(image), head(2 * value), outside(2 * expected, x)

    value, expected, whole, same, doubled, by_hand = jax.jit(compute)(IMAGE)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole, same, rtol=1e-5)
    np.testing.assert_allclose(doubled, (by_hand**2).sum(), rtol=1e-4)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(3, (3, 3))(x))
        for _ in range(2):
            x = Block()(x)
        return nn.Conv(4, (1, 1), name="last")(x).sum((1, 2))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(x + nn.Conv(3, (3, 3))(checkpoint_name(x, f"into_{self.name}")))


NET = Net()
PARAMS = NET.init(jax.random.key(0), IMAGE[None])


def _score(image):
    return NET.apply(PARAMS, image[None])[0, 1]


def _values(layer):
    return cut(_score, IMAGE, layer)[0]


def test_names_of_a_linen_model_none_of_which_was_prepared():
    intermediates = NET.apply(PARAMS, IMAGE[None], capture_intermediates=True)[1]["intermediates"]
    close = lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5)  # noqa: E731
    close(_values("Block_0"), intermediates["Block_0"]["__call__"][0])
    close(_values("Net/Block_1"), intermediates["Block_1"]["__call__"][0])
    close(_values("Block_1/Conv_0"), intermediates["Block_1"]["Conv_0"]["__call__"][0])
    close(_values("last"), intermediates["last"]["__call__"][0])
    close(_values("Net/Conv_0"), intermediates["Conv_0"]["__call__"][0])
    close(_values("into_Block_1"), intermediates["Block_0"]["__call__"][0])


def test_numbers_count_convolutions_in_order_and_from_the_end():
    np.testing.assert_array_equal(_values(None), _values(-1))
    np.testing.assert_array_equal(_values(1), _values(-3))
    np.testing.assert_array_equal(_values(2), _values("Block_1"))
    np.testing.assert_array_equal(_values(0), np.maximum(_values("Net/Conv_0"), 0))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("Conv_0", "'Conv_0' is ambiguous.*Net/Conv_0, Net/Block_0/Conv_0, Net/Block_1/Conv_0"),
        ("Conv_9", "there is no 'Conv_9'; there are convolutions: 0: f32"),
        ("onv_0", "there is no 'onv_0'"),
        ("", "there is no ''"),
        (4, r"from -4 to 3, got 4; .*3: f32\[1,4,4,4\] in Net/last"),
        (-5, "got -5; .*tags: Net/Block_0/into_Block_0: f32"),
        ("nothing", r"scopes: .*Net/Block_1: f32\[1,4,4,3\]"),
    ],
)
def test_unknown_and_ambiguous_layers_list_what_there_is(layer, message):
    with pytest.raises(ValueError, match=f"layer: .*{message}"):
        cut(_score, IMAGE, layer)


def test_a_tag_on_two_values_is_ambiguous():
    def score(image):
        once = jax.ad_checkpoint.checkpoint_name(jnp.sin(image), "here")
        return jax.ad_checkpoint.checkpoint_name(jnp.sin(once), "here").sum()

    with pytest.raises(ValueError, match="layer: 'here' is ambiguous, 2 values are tagged with it"):
        cut(score, IMAGE, "here")


def test_no_convolution_at_all():
    with pytest.raises(
        ValueError, match=r"the model has no convolution, name a layer; .*scopes: a:"
    ):
        cut(lambda image: jax.named_scope("a")(jnp.sin)(image).sum(), IMAGE)


def test_a_layer_is_an_int_or_a_string():
    with pytest.raises(TypeError, match="layer: expected None, an int or a string, got True"):
        cut(_score, IMAGE, True)


@pytest.mark.parametrize("layer", [0, "deep", "tag"])
@pytest.mark.parametrize("kind", ["cond", "while"])
def test_inside_a_branch_or_an_open_loop_is_an_error(kind, layer):
    @jax.named_scope("deep")
    def body(x):
        return checkpoint_name(conv(x), "tag")

    def score(image):
        if kind == "cond":
            return jax.lax.cond(image.sum() > 0, body, lambda x: x, image[None]).sum()
        step = lambda c: (c[0] + 1, body(c[1]))  # noqa: E731
        return jax.lax.while_loop(lambda c: c[0] < c[1].sum(), step, (0, image[None]))[1].sum()

    with pytest.raises(ValueError, match=f"inside a `{kind}`, where a program cannot be cut"):
        cut(score, IMAGE, layer)


def test_dead_and_image_independent_convolutions_do_not_count():
    def score(image):
        x = conv(image[None])
        conv(x, 2.0)
        return (x * conv(jnp.ones((1, 4, 4, 2)), 3.0)).sum()

    value, _ = cut(score, IMAGE, -1)
    np.testing.assert_array_equal(value.shape, (1, 4, 4, 2))
    with pytest.raises(ValueError, match="from -1 to 0, got 1"):
        cut(score, IMAGE, 1)


def test_names_of_transformations_are_no_scopes():
    @jax.named_scope("net")
    def net(x):
        return jax.named_scope("inner")(jnp.sin)(x)

    value, _ = cut(lambda image: jax.vmap(net)(image[None]).sum(), IMAGE, "net/inner")
    np.testing.assert_allclose(value[0], np.sin(IMAGE), rtol=1e-6)
