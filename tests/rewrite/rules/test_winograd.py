"""Convolutions by Winograd's minimal filtering: the same numbers, wherever they stand."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxsal.rewrite.optimize import count_rewrites, optimize
from jaxsal.rewrite.rules import winograd
from jaxsal.rewrite.rules.winograd import MIN_CHANNELS, MIN_POSITIONS

NHWC = ("NHWC", "HWIO", "NHWC")
ONLY = ["winograd"]


def convolve(x, w, *, padding="SAME", numbers=NHWC, **options):
    return lax.conv_general_dilated(
        x, w, (1, 1), padding, dimension_numbers=numbers, precision="highest", **options
    )


def operands(shape=(2, 24, 24, 16), outputs=16, seed=0):
    random = np.random.default_rng(seed)
    x, w = random.normal(size=shape), random.normal(size=(3, 3, shape[-1], outputs)) / 12
    return jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)


def same(fun, *args):
    """The rewritten function's results are the function's, to 1e-5 of the largest."""
    expected, found = jax.jit(fun)(*args), jax.jit(optimize(fun, only=ONLY))(*args)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5 * float(jnp.abs(a).max()))


@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    edges=st.lists(st.integers(-1, 3), min_size=4, max_size=4),
    outputs=st.integers(14, 20),
)
@settings(max_examples=20)
def test_any_size_and_padding(batch, height, width, edges, outputs) -> None:
    padding = tuple(edges[:2]), tuple(edges[2:])
    size = [n + low + high - 2 for n, (low, high) in zip((height, width), padding, strict=True)]
    if min(size) < 1:
        return
    x, w = operands((batch, height, width, 16), outputs)
    same(lambda x, w: convolve(x, w, padding=padding), x, w)
    taken = count_rewrites(lambda x, w: convolve(x, w, padding=padding), x, w, only=ONLY)
    suits = outputs >= MIN_CHANNELS and batch * size[0] * size[1] >= MIN_POSITIONS
    assert taken == {"winograd": int(suits)}


@given(images=st.integers(1, 9), fit=st.integers(1, 9))
@settings(max_examples=12)
def test_any_number_of_images_in_turns(images, fit) -> None:
    """As many images at a time as the cache holds, the last turn shorter: the same, once each."""
    x, w = operands((images, 16, 16, 16))
    with mock.patch.object(winograd, "CACHE_BYTES", fit * x[0].nbytes):
        same(lambda x, w: convolve(x, w), x, w)
        text = str(jax.make_jaxpr(optimize(convolve, only=ONLY))(x, w))
        assert text.count("dot_general") <= 32 and ("scan" in text) == (fit < images)


@pytest.mark.parametrize(
    "options",
    [
        {"lhs_dilation": (2, 2), "padding": ((1, 1), (1, 1))},
        {"rhs_dilation": (2, 1)},
        {"feature_group_count": 2},
        {"padding": ((1, 1), (1, 1)), "numbers": ("NHWC", "HWIO", "NCHW")},
    ],
)
def test_what_it_is_not_for_is_left_and_any_order_of_axes_is_read(options) -> None:
    x, w = operands()
    w = w[:, :, :8] if "feature_group_count" in options else w
    fun = lambda x, w: convolve(x, w, **options)  # noqa: E731
    same(fun, x, w)
    assert count_rewrites(fun, x, w, only=ONLY)["winograd"] == ("numbers" in options)


def network(w, x):
    return jnp.sum(jnp.tanh(convolve(jax.nn.relu(convolve(x, w)), w)) ** 2)


def test_its_derivatives_are_the_convolutions() -> None:
    x, w = operands((1, 24, 24, 16))
    gradient = jax.grad(network, argnums=(0, 1))
    same(gradient, w, x)
    assert count_rewrites(gradient, w, x, only=ONLY)["winograd"] == 2  # those back
    second, expected = (
        jax.jit(jax.grad(lambda w, x, f=f: jnp.sum(f(w, x) ** 2)))(w, x)
        for f in (optimize(gradient_of_inputs, only=ONLY), gradient_of_inputs)
    )
    np.testing.assert_allclose(second, expected, atol=1e-4 * float(jnp.abs(expected).max()))
    tangent, plain = (
        jax.jvp(f, (w, x), (w, x))[1] for f in (optimize(network, only=ONLY), network)
    )
    np.testing.assert_allclose(tangent, plain, rtol=1e-4)


gradient_of_inputs = jax.grad(network, argnums=1)


def test_what_a_derivative_chooses_by_its_forward_pass_stays() -> None:
    """The largest of a window, the side of a ReLU: the same ones, to the last digit."""
    x, w = operands((1, 24, 24, 16))

    def score(x):
        y = jax.nn.relu(convolve(convolve(x, w), w))
        return jnp.sum(lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"))

    flat = jnp.where(jnp.arange(24)[:, None, None] < 9, 0.3, x)  # ties everywhere in a third of it
    for image in (x, flat):
        same(jax.grad(score), image)
    assert count_rewrites(jax.grad(score), x, only=ONLY)["winograd"] == 2
    assert count_rewrites(score, x, only=ONLY)["winograd"] == 2
    turned = ("NCHW", "OIHW", "NCHW")
    first = jax.grad(lambda x, w: jnp.sum(convolve(x, w, numbers=turned) ** 2))
    args = jnp.moveaxis(x, 3, 1), jnp.transpose(w, (3, 2, 0, 1))
    assert count_rewrites(first, *args, only=ONLY)["winograd"] == 1
    same(first, *args)


def test_in_loops_and_batches() -> None:
    x, w = operands((3, 24, 24, 16))

    def one(x):
        step = lambda x, _: (jnp.tanh(convolve(x[None], w)[0]), None)  # noqa: E731
        return lax.scan(step, x, None, length=3)[0]

    expected = jax.jit(jax.vmap(one))(x)
    found = jax.jit(jax.vmap(optimize(one, only=ONLY)))(x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_flat_images_stay_flat() -> None:
    """On a black background: exact zeros, and equal values where all inputs are equal."""
    _, w = operands()
    zeros = optimize(convolve, only=ONLY)(jnp.zeros((1, 24, 24, 16)), w)
    assert not zeros.any()
    ones = optimize(lambda x, w: convolve(x, w, padding="VALID"), only=ONLY)(
        jnp.ones((1, 26, 26, 16)), w
    )
    spread = jnp.ptp(ones, axis=(1, 2))
    assert float(spread.max()) <= 1e-5
