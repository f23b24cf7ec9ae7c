"""The derivative of a max-pool of ReLUs from less: equal to JAX's own to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.rewrite.optimize import count_rewrites, optimize
from tests.rewrite.rules.test_max_pool import CASES, INFINITE, NAN, OPERANDS, maximum

ONLY = ("relu_pool_gradient",)


def gradient(windows, relu=jax.nn.relu):
    """The cotangent of what goes into a ReLU and then a max-pool."""

    def function(x, cotangent):
        return jax.vjp(lambda x: maximum(relu(x), *windows), x)[1](cotangent)[0]

    return function


def arguments(shape, windows):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=shape).astype(np.float32)
    out = jax.eval_shape(lambda x: maximum(x, *windows), noise).shape
    return noise, rng.normal(size=out).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_equals_jax_to_the_bit(name):
    shape, *windows = CASES[name]
    noise, cotangent = arguments(shape, windows)
    plain, rewritten = gradient(windows), optimize(gradient(windows), only=ONLY)
    assert count_rewrites(plain, noise, cotangent, only=ONLY) == {"relu_pool_gradient": 1}
    for kind, operand in (OPERANDS | INFINITE | NAN).items():
        x = operand(noise).astype(np.float32)
        expected = jax.jit(plain)(x, cotangent)
        np.testing.assert_array_equal(jax.jit(rewritten)(x, cotangent), expected, err_msg=kind)


def test_the_search_for_the_maximum_is_gone_from_the_program():
    shape, *windows = CASES["2-D"]
    args = arguments(shape, windows)
    programs = (optimize(gradient(windows), only=ONLY), gradient(windows))
    texts = [jax.jit(program).lower(*args).compile().as_text() for program in programs]
    assert ["select_and_scatter" in text for text in texts] == [False, True]


LEFT = {
    "another bound": lambda x: jnp.where(x > 0.5, x, 0.0),
    "leaky": lambda x: jax.nn.leaky_relu(x),
    "relu6": jax.nn.relu6,
    "no ReLU": lambda x: x,
    "of something else": lambda x: jax.nn.relu(x) + x,
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_no_relu_before_a_pool_is_left_alone(name):
    shape, *windows = CASES["2-D"]
    noise, cotangent = arguments(shape, windows)
    function = gradient(windows, LEFT[name])
    assert not any(count_rewrites(function, noise, cotangent, only=ONLY).values())
    rewritten = optimize(function, only=ONLY)
    np.testing.assert_array_equal(rewritten(noise, cotangent), function(noise, cotangent))


def test_overlapping_windows_are_left_alone():
    windows = ((1, 3, 3, 1), (1, 2, 2, 1), "SAME")
    noise, cotangent = arguments((1, 8, 8, 2), windows)
    assert not any(count_rewrites(gradient(windows), noise, cotangent, only=ONLY).values())


def test_under_scan_and_its_own_derivative():
    shape, *windows = CASES["2-D"]
    noise, _ = arguments(shape, windows)

    def score(x):
        return (maximum(jax.nn.relu(x), *windows) ** 3).sum()

    def path(x):
        def step(total, scale):
            return total + jax.grad(score)(scale * x), None

        return lax.scan(step, jnp.zeros_like(x), jnp.array([0.5, 1.0]))[0]

    def squares(path):
        return jax.jit(jax.grad(lambda x: (path(x) ** 2).sum()))

    assert count_rewrites(path, noise, only=ONLY) == {"relu_pool_gradient": 1}
    rewritten = optimize(path, only=ONLY)
    np.testing.assert_allclose(jax.jit(rewritten)(noise), jax.jit(path)(noise), rtol=1e-6)
    assert np.abs(squares(path)(noise)).max() > 1
    np.testing.assert_allclose(squares(rewritten)(noise), squares(path)(noise), rtol=1e-5)


@jax.custom_jvp
def gated(gate, x):
    """max(x, 0), whose derivative is that of a gate: not of what is compared with zero."""
    return jnp.maximum(x, 0.0)


gated.defjvp(lambda at, by: (gated(*at), lax.select(at[0] > 0, by[1], 0 * by[1])))


@jax.custom_jvp
def rounded(x):
    """A ReLU in half precision, where a small positive x is zero: x > 0 does not say the same."""
    return jnp.maximum(x.astype(jnp.float16), 0).astype(x.dtype)


rounded.defjvps(lambda g, ans, x: lax.select(x > 0, g, lax.full_like(g, 0)))

MISREAD = {
    "gated": lambda x: gated(jnp.roll(x, 1, 1), x),
    "rounded": lambda x: rounded(1e-8 * x),
    "turned": lambda x: gated(x, jnp.roll(x, 1, 1)),
}


@pytest.mark.parametrize("name", MISREAD)
def test_what_is_compared_is_what_the_maximum_is_of(name):
    shape, *windows = CASES["2-D"]
    noise, cotangent = arguments(shape, windows)
    function = gradient(windows, MISREAD[name])
    rewritten = optimize(function, only=ONLY)
    expected = jax.jit(function)(noise, cotangent)
    assert np.any(expected)
    np.testing.assert_array_equal(jax.jit(rewritten)(noise, cotangent), expected)
