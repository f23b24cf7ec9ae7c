"""A batch norm becomes a part of the layer before it, however it is written."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.rewrite.notes import collect_notes
from jaxsal.rewrite.relevance.layer_rules import RULES
from tests import toy

DRAW = np.random.default_rng(0)
CHANNELS = 4
MEAN, SCALE, SHIFT = (jnp.asarray(DRAW.normal(size=CHANNELS), jnp.float32) for _ in range(3))
VARIANCE = jnp.asarray(DRAW.uniform(0.5, 2, CHANNELS), jnp.float32)
GAIN = SCALE / jnp.sqrt(VARIANCE + 1e-3)
IMAGE = jnp.asarray(DRAW.normal(size=(5, 6, 4)), jnp.float32)


def last(values):
    """A value of each channel beside [B, H, W, C]."""
    return values.reshape(1, 1, 1, -1)


def flax(x):
    y = x - last(MEAN)
    return y * (jax.lax.rsqrt(last(VARIANCE) + 1e-3) * last(SCALE)) + last(SHIFT)


def keras(x):
    inverse = jax.lax.rsqrt(last(VARIANCE) + 1e-3) * last(SCALE)
    return x * inverse + (-last(MEAN) * inverse + last(SHIFT))


def equinox(x):
    """Channels first, one image, flattened space, a root and a quotient."""
    y = jnp.moveaxis(x[0], -1, 0).reshape(CHANNELS, -1)
    y = (y - MEAN[:, None]) / jnp.sqrt(VARIANCE + 1e-3)[:, None]
    y = y * SCALE[:, None] + SHIFT[:, None]
    return jnp.moveaxis(y.reshape(CHANNELS, *x.shape[1:3]), 0, -1)[None]


def broadcast(x):
    """By arrays of the whole value's shape."""
    wide = partial(jnp.broadcast_to, shape=x.shape)
    return wide(last(SHIFT)) + wide(last(GAIN)) * (x - wide(last(MEAN)))


def negated(x):
    return last(SHIFT) - (last(MEAN) - x) * last(GAIN)


FORMS = {each.__name__: each for each in (flax, keras, equinox, broadcast, negated)}


def convolve(x, kernel, **options):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 2), "SAME", dimension_numbers=layout, **options
    )


def dense(x, kernel):
    return jnp.einsum("bhwc,cd->bhwd", x, kernel)


LAYERS = {
    "convolution": (convolve, (3, 3, 4, 4)),
    "grouped": (partial(convolve, feature_group_count=2), (3, 3, 2, 4)),
    "dilated": (partial(convolve, rhs_dilation=(2, 1)), (2, 3, 4, 4)),
    "dense": (dense, (4, 4)),
}


def relevance(layer, kernel, norm, rule):
    def score(x):
        return jnp.sum(jax.nn.relu(norm(layer(x[None], kernel))) ** 2)

    return jaxsal.lrp(score, IMAGE, composite=lambda operation: rule, low=-3.0, high=3.0)


@pytest.mark.parametrize("name", LAYERS)
def test_every_form_equals_the_folded_layer(name):
    """Under every rule but epsilon the kernel itself counts: a norm passed over would show."""
    layer, shape = LAYERS[name]
    kernel = jnp.asarray(DRAW.normal(size=shape), jnp.float32)
    rules = [rule for rule in RULES if rule in ("zplus", "wsquare", "gamma", "zbox")]

    @jax.jit
    def run(kernel):
        folded = kernel * GAIN.reshape(*(1,) * (kernel.ndim - 1), -1)
        bias = lambda z: z + last(SHIFT - MEAN * GAIN)  # noqa: E731
        expected = {rule: relevance(layer, folded, bias, rule) for rule in rules}
        forms = {
            form: {rule: relevance(layer, kernel, norm, rule) for rule in rules[:2]}
            for form, norm in FORMS.items()
        }
        return expected, forms

    expected, forms = run(kernel)
    for found in forms.values():
        toy.close(found, {rule: expected[rule] for rule in found}, 1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_taken_from_a_constant_is_the_layer_of_the_opposite_kernel(name):
    """c - W x = (-W) x + c, with no product between: under every rule."""
    layer, shape = LAYERS[name]
    kernel = jnp.asarray(DRAW.normal(size=shape), jnp.float32)
    taken, added = (lambda z: last(SHIFT) - z), (lambda z: z + last(SHIFT))

    @jax.jit
    def run(kernel):
        found = {rule: relevance(layer, kernel, taken, rule) for rule in RULES}
        return found, {rule: relevance(layer, -kernel, added, rule) for rule in RULES}

    toy.close(*run(kernel))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("epsilon", -2.0), ("zplus", 0.0), ("alphabeta", -3.0), ("gamma", -24 / 17), ("zbox", 3.0)],
)
def test_of_five_less_twice_one_the_image_s_share(rule, expected):
    """W = -1, x = 2, b = 5, R = z = 3, between 0 and 3: by hand, rule by rule."""
    score = lambda x: (5.0 - x @ jnp.ones((1, 1)))[0]  # noqa: E731
    found = jaxsal.lrp(score, jnp.array([2.0]), composite=lambda _: rule, low=0.0, high=3.0)
    np.testing.assert_allclose(found, [expected], atol=1e-5)


def rules_of(score):
    with collect_notes() as notes:
        jax.eval_shape(partial(jaxsal.lrp, score), IMAGE)
    return [note.what for note in notes]


KERNEL = jnp.ones((3, 3, 4, 4))


def test_what_is_read_twice_is_not_folded():
    """A skip from between convolution and norm reads the convolution's own value."""

    def score(x):
        z = convolve(x[None], KERNEL)
        return jnp.sum(flax(z)) + jnp.max(z)

    assert any(what.startswith("constants") and what.endswith("pass") for what in rules_of(score))


def test_a_scale_that_differs_between_positions_is_not_folded():
    def score(x):
        z = convolve(x[None], KERNEL)
        return jnp.sum(z * jnp.arange(1.0, 1 + z.size).reshape(z.shape))

    assert any(what.startswith("constants") and what.endswith("pass") for what in rules_of(score))


def test_a_bias_alone_absorbs_its_share():
    """x -> x + c: R x / (x + c)."""
    found = jaxsal.lrp(lambda x: jnp.max(jax.nn.relu(x) + 3.0), jnp.array([1.0, -2.0, 0.5]))
    toy.close(found, jnp.array([1.0, 0.0, 0.0]))
