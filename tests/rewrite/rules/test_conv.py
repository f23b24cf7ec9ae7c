"""Convolutions in other forms: the same numbers for any stride, padding, dilation and layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.rewrite.optimize import count_rewrites, optimize

NHWC = ("NHWC", "HWIO", "NHWC")
RULES = (
    "kernel_gradient",
    "im2col_conv",
    "matmul_shift_conv",
    "spread_volume_conv",
    "channels_last_conv",
)
"""In the order in which they are tried; which of them are on differs by JAX's version."""

CASES = {
    # inputs, kernel, options; which rewrites of value and both gradients
    "one channel": (
        (2, 7, 6, 1),
        (3, 3, 1, 5),
        {},
        {"im2col_conv", "matmul_shift_conv", "kernel_gradient"},
    ),
    "one channel, stride": (
        (1, 9, 8, 1),
        (3, 3, 1, 4),
        {"window_strides": (2, 2)},
        {"im2col_conv", "kernel_gradient"},
    ),
    "three channels": ((2, 5, 6, 3), (3, 3, 3, 4), {}, {"matmul_shift_conv", "kernel_gradient"}),
    "to one channel": (
        (2, 5, 6, 4),
        (3, 3, 4, 1),
        {},
        {"im2col_conv", "matmul_shift_conv", "kernel_gradient"},
    ),
    "wide": ((2, 6, 5, 4), (3, 3, 4, 5), {}, {"channels_last_conv", "kernel_gradient"}),
    "VALID": (
        (1, 6, 7, 1),
        (3, 2, 1, 4),
        {"padding": "VALID"},
        {"im2col_conv", "matmul_shift_conv", "kernel_gradient"},
    ),
    "uneven padding, cropped": (
        (1, 6, 7, 1),
        (3, 3, 1, 4),
        {"padding": ((3, -1), (0, 2))},
        {"im2col_conv", "matmul_shift_conv", "kernel_gradient"},
    ),
    "dilated kernel": (
        (1, 9, 8, 2),
        (2, 2, 2, 4),
        {"rhs_dilation": (2, 1)},
        {"im2col_conv", "matmul_shift_conv", "kernel_gradient"},
    ),
    "strided and dilated": (
        (1, 9, 9, 4),
        (3, 3, 4, 5),
        {"rhs_dilation": (2, 1), "window_strides": (1, 3)},
        {"channels_last_conv", "kernel_gradient"},
    ),
    "dilated inputs": (
        (1, 4, 4, 2),
        (3, 3, 2, 4),
        {"lhs_dilation": (2, 2)},
        {"channels_last_conv"},
    ),
    "groups": ((1, 5, 5, 4), (3, 3, 2, 6), {"feature_group_count": 2}, {"channels_last_conv"}),
    "depthwise": ((1, 5, 5, 3), (3, 3, 1, 3), {"feature_group_count": 3}, {"channels_last_conv"}),
    "NCHW": (
        (1, 4, 6, 5),
        (5, 4, 3, 3),
        {"dimension_numbers": ("NCHW", "OIHW", "NCHW")},
        {"channels_last_conv", "kernel_gradient"},
    ),
    "NCHW, one channel": (
        (1, 1, 6, 5),
        (4, 1, 3, 3),
        {"dimension_numbers": ("NCHW", "OIHW", "NCHW")},
        {"im2col_conv", "matmul_shift_conv", "kernel_gradient"},
    ),
    "1-D": (
        (2, 9, 1),
        (5, 1, 4),
        {"dimension_numbers": ("NWC", "WIO", "NWC")},
        {"im2col_conv", "matmul_shift_conv", "kernel_gradient"},
    ),
    "3-D": (
        (1, 4, 5, 4, 1),
        (2, 2, 2, 1, 2),
        {"dimension_numbers": ("NDHWC", "DHWIO", "NDHWC")},
        {"im2col_conv", "matmul_shift_conv", "kernel_gradient"},
    ),
    "3-D, strided": (
        (2, 7, 6, 5, 1),
        (3, 3, 3, 1, 2),
        {"dimension_numbers": ("NDHWC", "DHWIO", "NDHWC"), "window_strides": (2, 3, 1)},
        {"spread_volume_conv", "kernel_gradient"},
    ),
    "3-D, strided and dilated, cropped": (
        (1, 2, 9, 8, 7),
        (4, 2, 2, 2, 3),
        {
            "dimension_numbers": ("NCDHW", "OIDHW", "NCDHW"),
            "window_strides": (2, 2, 3),
            "rhs_dilation": (2, 1, 1),
            "padding": ((1, -1), (0, 3), (2, 0)),
        },
        {"spread_volume_conv", "kernel_gradient"},
    ),
    "1 x 1": ((2, 4, 4, 3), (1, 1, 3, 5), {}, {"im2col_conv", "kernel_gradient"}),
}


def problem(name):
    """A function `(x, w, cotangent) -> (y, dx, dw)`, and its arguments."""
    inputs, kernel, given, _ = CASES[name]
    options = {
        "window_strides": (1,) * (len(inputs) - 2),
        "padding": "SAME" if "lhs_dilation" not in given else ((1, 2), (2, 1)),
        "dimension_numbers": NHWC,
        **given,
    }

    def convolve(x, w):
        return lax.conv_general_dilated(x, w, **options)

    def function(x, w, cotangent):
        y, pull_back = jax.vjp(convolve, x, w)
        return y, *pull_back(cotangent)

    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in (inputs, kernel))
    cotangent = rng.normal(size=jax.eval_shape(convolve, x, w).shape).astype(np.float32)
    return function, (x, w, cotangent)


def assert_close(actual, expected, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        scale = float(jnp.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(scale, 1e-30))


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients(name):
    function, args = problem(name)
    assert_close(jax.jit(optimize(function, only=RULES))(*args), jax.jit(function)(*args))


@pytest.mark.parametrize("name", CASES)
def test_sums_of_products(name):
    function, args = problem(name)
    only = ("unrolled_conv",)
    thin = "im2col_conv" in CASES[name][-1]
    assert bool(count_rewrites(function, *args, only=only)["unrolled_conv"]) == thin
    assert_close(jax.jit(optimize(function, only=only))(*args), jax.jit(function)(*args))


@pytest.mark.parametrize("name", CASES)
def test_what_is_rewritten(name):
    function, args = problem(name)
    counts = count_rewrites(function, *args, only=RULES)
    assert CASES[name][-1] <= {rewrite for rewrite, count in counts.items() if count}


def test_large_kernels_are_left_in_the_library():
    x, w = jnp.zeros((1, 16, 16, 3)), jnp.zeros((7, 7, 3, 4))
    counts = count_rewrites(
        lambda x, w: lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=NHWC),
        x,
        w,
        platform="cpu",
    )
    assert not any(counts.values())


@pytest.mark.parametrize("name", ["one channel", "to one channel", "wide", "NCHW"])
def test_precision_is_kept(name):
    inputs, kernel, options, _ = CASES[name]
    options = {"dimension_numbers": NHWC, **options}

    def function(x, w):
        return lax.conv_general_dilated(
            x, w, (1, 1), "SAME", precision=lax.Precision.DEFAULT, **options
        )

    gradient = jax.grad(lambda x, w: function(x, w).sum())
    x, w = jnp.zeros(inputs), jnp.zeros(kernel)
    assert any(count_rewrites(gradient, x, w, only=RULES).values())
    for written in (
        function,
        optimize(gradient, platform="cpu"),
        optimize(gradient, only=RULES),
    ):
        program = str(jax.make_jaxpr(written)(x, w))
        assert "HIGHEST" not in program


@pytest.mark.parametrize("name", ["one channel", "to one channel", "wide"])
def test_half_precision_is_no_less_exact(name):
    function, args = problem(name)
    exact = jax.jit(function)(*args)
    half = [jnp.asarray(a, jnp.bfloat16) for a in args]
    assert any(count_rewrites(function, *half, only=RULES).values())
    plain = jax.jit(function)(*half)
    for chosen in ({"platform": "cpu"}, {"only": RULES}):
        rewritten = jax.jit(optimize(function, **chosen))(*half)
        for reference, a, b in zip(exact, plain, rewritten, strict=True):
            assert b.dtype == jnp.bfloat16
            error_plain, error = (jnp.abs(z.astype(jnp.float32) - reference).max() for z in (a, b))
            assert error <= 1.5 * error_plain
