"""Max-pools without window reductions: equal to XLA's to the bit, whatever the ties and NaNs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.rewrite.optimize import REWRITES, count_rewrites, optimize

CASES = {
    "2-D": ((2, 8, 6, 3), (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    "drops the border": ((1, 7, 9, 2), (1, 2, 3, 1), (1, 2, 3, 1), "VALID"),
    "SAME, odd": ((1, 7, 5, 2), (1, 2, 2, 1), (1, 2, 2, 1), "SAME"),
    "SAME, padded at both ends": ((1, 7, 7, 1), (1, 3, 3, 1), (1, 3, 3, 1), "SAME"),
    "gaps": ((1, 8, 9, 2), (1, 2, 1, 1), (1, 3, 2, 1), "VALID"),
    "gap at the end": ((1, 5, 5, 1), (1, 2, 2, 1), (1, 3, 3, 1), "VALID"),
    "1-D": ((3, 9, 2), (1, 4, 1), (1, 4, 1), "SAME"),
    "3-D": ((1, 4, 5, 6, 2), (1, 2, 2, 2, 1), (1, 2, 2, 2, 1), "VALID"),
    "one window": ((1, 3, 3, 1), (1, 3, 3, 1), (1, 3, 3, 1), "VALID"),
    "channels": ((2, 4, 6), (1, 1, 3), (1, 1, 3), "VALID"),
}
OPERANDS = {
    "distinct": lambda x: x,
    "ties": lambda x: np.round(x),
    "black background": lambda x: np.maximum(x - 1.0, 0.0),
    "flat": lambda x: np.zeros_like(x),
    "below zero": lambda x: -np.abs(np.round(x)) - 1.0,
}
INFINITE = {
    "infinite": lambda x: np.select([x > 1, x < 0.5], [np.inf, -np.inf], x),
    "all the least": lambda x: np.full_like(x, -np.inf),
}
NAN = {
    "some": lambda x: np.where(x > 0.8, np.nan, np.round(x)),
    "most": lambda x: np.where(x > -0.8, np.nan, np.round(x)),
    "all": lambda x: np.full_like(x, np.nan),
    "among infinities": lambda x: np.select(
        [x > 0.8, x > 0, x > -0.5], [np.nan, np.inf, -np.inf], x
    ),
}


def maximum(x, size, stride, padding):
    return lax.reduce_window(x, -jnp.inf, lax.max, size, stride, padding)


def by_hand(x, size, stride, padding):
    """Each window's maximum by NumPy: NaN where there is one."""
    edges = lax.padtype_to_pads(x.shape, size, stride, padding)
    views = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, edges, constant_values=-np.inf), size
    )
    return views[tuple(slice(None, None, n) for n in stride)].max(tuple(range(x.ndim, 2 * x.ndim)))


def both_derivatives(windows):
    """`(value, forward derivative, reverse derivative)` of a max-pool."""

    def function(x, tangent, cotangent):
        def value(x):
            return maximum(x, *windows)

        y, moved = jax.jvp(value, (x,), (tangent,))
        return y, moved, jax.vjp(value, x)[1](cotangent)[0]

    return function


@pytest.mark.parametrize("name", CASES)
def test_equals_xla_to_the_bit(name):
    shape, *windows = CASES[name]
    function = both_derivatives(windows)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=shape).astype(np.float32)
    tangent = rng.normal(size=shape).astype(np.float32)
    out = jax.eval_shape(lambda x: maximum(x, *windows), tangent).shape
    cotangent = rng.normal(size=out).astype(np.float32)
    plain, rewritten = jax.jit(function), jax.jit(optimize(function, only=REWRITES))
    forward = jax.jit(optimize(lambda x: maximum(x, *windows), only=REWRITES))
    for kind, operand in (OPERANDS | INFINITE | NAN).items():
        args = operand(noise).astype(np.float32), tangent, cotangent
        # Not XLA's value: split among threads, it drops a NaN.
        expected = by_hand(args[0], *windows), *plain(*args)[1:]
        assert np.isnan(expected[0]).any() == (kind in NAN)
        for one, other in zip(rewritten(*args), expected, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=kind)
        np.testing.assert_array_equal(forward(args[0]), expected[0], err_msg=kind)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left_of_the_window_operations(name):
    shape, *windows = CASES[name]
    x = jnp.zeros(shape)
    y = maximum(x, *windows)
    function = both_derivatives(windows)
    assert count_rewrites(function, x, x, y, only=REWRITES)["max_pool_gradient"] == 1
    program = str(jax.make_jaxpr(optimize(function, only=REWRITES))(x, x, y))
    assert "reduce_window" not in program
    assert "select_and_scatter" not in program


@pytest.mark.parametrize(
    ("shape", "windows"),
    [
        ((1, 6, 6, 1), ((1, 3, 3, 1), (1, 2, 2, 1), "VALID")),
        ((1, 32, 32, 1), ((1, 16, 16, 1), (1, 16, 16, 1), "VALID")),
        ((1, 4, 4, 1), ((1, 1, 1, 1), (1, 2, 2, 1), "VALID")),
    ],
    ids=["overlapping", "large", "subsampling"],
)
def test_other_pools_are_left_alone(shape, windows):
    x = jnp.zeros(shape)
    function = jax.grad(lambda x: (maximum(x, *windows) ** 2).sum())
    assert not any(count_rewrites(function, x, only=REWRITES).values())
    np.testing.assert_array_equal(optimize(function, only=REWRITES)(x), function(x))


def test_integers_are_left_alone():
    x = jnp.arange(16).reshape(4, 4)

    def function(x):
        return lax.reduce_window(x, jnp.iinfo(x.dtype).min, lax.max, (2, 2), (2, 2), "VALID")

    assert not any(count_rewrites(function, x, platform="cpu").values())


def test_minimum_keeps_its_gradient():
    x = jnp.arange(16.0).reshape(4, 4)
    function = jax.grad(
        lambda x: lax.reduce_window(x, jnp.inf, lax.min, (2, 2), (2, 2), "VALID").sum()
    )
    np.testing.assert_array_equal(optimize(function, platform="cpu")(x), function(x))


@pytest.mark.parametrize("operand", OPERANDS)
def test_second_derivative_goes_to_the_first_maximum(operand):
    x = OPERANDS[operand](np.random.default_rng(1).normal(size=(1, 5, 6, 2))).astype(np.float32)

    def saliency(x):
        return jax.grad(lambda x: (maximum(x, (1, 2, 2, 1), (1, 2, 2, 1), "SAME") ** 3).sum())(x)

    def penalty(method):
        return jax.jit(jax.grad(lambda x: (method(x) ** 2).sum()))

    np.testing.assert_allclose(
        penalty(optimize(saliency, platform="cpu"))(x), penalty(saliency)(x), rtol=1e-6
    )


def test_half_precision():
    x = jnp.asarray(np.round(np.random.default_rng(2).normal(size=(1, 6, 6, 2))), jnp.bfloat16)
    function = jax.grad(lambda x: maximum(x, (1, 2, 2, 1), (1, 2, 2, 1), "VALID").sum())
    np.testing.assert_array_equal(optimize(function, platform="cpu")(x), function(x))
