"""Derivatives with respect to kernels as products: the same numbers for any batch and shape."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from jaxsal.rewrite.optimize import count_rewrites, optimize
from jaxsal.rewrite.rules import kernel_gradient
from tests import toy

ONLY = ["kernel_gradient"]
NHWC = ("NHWC", "HWIO", "NHWC")


def operands(batch, size=(9, 8), channels=4, window=(3, 3), outputs=5):
    draw = np.random.default_rng(batch)
    shapes = (batch, *size, channels), (*window, channels, outputs)
    return [draw.normal(size=shape).astype(np.float32) for shape in shapes]


def loss(w, x, **options):
    given = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC, **options}
    return jnp.sum(jnp.sin(lax.conv_general_dilated(x, w, **given)))


@pytest.fixture
def four_at_a_time(monkeypatch):
    """Images of 9 x 8 pixels with 4 channels, and their 5 outputs."""
    monkeypatch.setattr(kernel_gradient, "CACHE_BYTES", 4 * 9 * 8 * (4 + 5) * 4)


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 16, 23])
@pytest.mark.parametrize("options", [{}, {"window_strides": (2, 1)}, {"rhs_dilation": (1, 2)}])
def test_any_number_of_images_is_summed(batch, options, four_at_a_time) -> None:
    x, w = operands(batch)
    gradient = jax.grad(functools.partial(loss, x=x, **options))
    assert count_rewrites(gradient, w, only=ONLY)["kernel_gradient"] == 1
    program = str(jax.make_jaxpr(optimize(gradient, only=ONLY))(w))
    assert program.count("conv_general_dilated[") == 1  # forwards
    if not options:
        assert f"length={max(1, batch // 4)}" in program
    toy.close(jax.jit(optimize(gradient, only=ONLY))(w), jax.jit(gradient)(w))


@given(
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    window=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    spread=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    edges=st.lists(st.integers(-1, 3), min_size=4, max_size=4),
    channels=st.integers(1, 4),
)
def test_any_window_stride_dilation_and_padding(
    size, window, stride, spread, edges, channels
) -> None:
    padding = tuple(edges[:2]), tuple(edges[2:])
    outputs = [
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(size, padding, spread, window, stride, strict=True)
    ]
    if min(outputs) < 1:
        return
    x, w = operands(2, size, channels, window)
    options = {"window_strides": stride, "rhs_dilation": spread, "padding": padding}
    gradient = jax.grad(functools.partial(loss, x=x, **options))
    larger = math.prod(outputs) > math.prod(window)
    assert count_rewrites(gradient, w, only=ONLY)["kernel_gradient"] == larger
    toy.close(jax.jit(optimize(gradient, only=ONLY))(w), jax.jit(gradient)(w))


@pytest.mark.parametrize("numbers", [("NCHW", "OIHW", "NCHW"), ("NHWC", "OIHW", "NCHW")])
def test_channels_first(numbers, four_at_a_time) -> None:
    x, w = operands(6)
    x = jnp.moveaxis(x, -1, 1) if numbers[0] == "NCHW" else x
    gradient = jax.grad(functools.partial(loss, x=x, dimension_numbers=numbers))
    w = jnp.transpose(w, (3, 2, 0, 1))
    assert count_rewrites(gradient, w, only=ONLY)["kernel_gradient"] == 1
    toy.close(jax.jit(optimize(gradient, only=ONLY))(w), jax.jit(gradient)(w))


@pytest.mark.parametrize(
    "options",
    [{"lhs_dilation": (2, 2), "padding": ((1, 1), (1, 1))}, {"feature_group_count": 2}],
)
def test_dilated_inputs_and_groups_are_left(options) -> None:
    x, w = operands(2)
    w = w[:, :, :2, :4] if "feature_group_count" in options else w
    gradient = jax.grad(functools.partial(loss, x=x, **options))
    assert count_rewrites(gradient, w, only=ONLY)["kernel_gradient"] == 0


def test_convolutions_that_are_no_derivative_are_left() -> None:
    """Even one whose window is the whole image."""
    x, w = operands(2, window=(9, 8))
    value = functools.partial(loss, x=x, padding="VALID")
    assert count_rewrites(value, w, only=ONLY)["kernel_gradient"] == 0


def test_its_derivatives_and_batches_are_the_convolution_s(four_at_a_time) -> None:
    x, w = operands(6)

    def steepness(rewrite, w, x):
        return jnp.sum(rewrite(jax.grad(loss))(w, x) ** 2)

    for derivative in (jax.grad, jax.jacfwd):
        both = [
            jax.jit(derivative(functools.partial(steepness, rewrite)))(w, x)
            for rewrite in (functools.partial(optimize, only=ONLY), lambda fun: fun)
        ]
        toy.close(*both, 1e-4)
    each = jax.vmap(jax.grad(loss), (None, 0))
    pairs = x.reshape(2, 3, *x.shape[1:])
    alone = jax.vmap(optimize(jax.grad(loss), only=ONLY), (None, 0))
    toy.close(jax.jit(alone)(w, pairs), jax.jit(each)(w, pairs))
    toy.close(jax.jit(optimize(each, only=ONLY))(w, pairs), jax.jit(each)(w, pairs))


def test_over_eight_devices(four_at_a_time) -> None:
    x, w = operands(16)
    mesh = jax.make_mesh((8,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(x, NamedSharding(mesh, Spec("devices")))
    gradient = optimize(jax.grad(loss), only=ONLY)
    expected = jax.jit(jax.grad(loss))(w, x)
    toy.close(jax.jit(gradient)(w, spread), expected)
    summed = jax.shard_map(
        lambda w, x: lax.psum(gradient(lax.pcast(w, "devices", to="varying"), x), "devices"),
        mesh=mesh,
        in_specs=(Spec(), Spec("devices")),
        out_specs=Spec(),
    )
    toy.close(jax.jit(summed)(w, x), expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_summed_in_float32(dtype, four_at_a_time) -> None:
    x, w = operands(23)
    exact = jax.jit(jax.grad(loss))(w, x)
    half = jnp.asarray(w, dtype), jnp.asarray(x, dtype)
    plain, found = (
        jax.jit(f)(*half) for f in (jax.grad(loss), optimize(jax.grad(loss), only=ONLY))
    )
    assert found.dtype == plain.dtype == dtype
    error = [float(jnp.abs(g.astype(jnp.float32) - exact).max()) for g in (found, plain)]
    assert error[0] <= 1.5 * error[1]


def test_the_user_s_precision_is_kept() -> None:
    x, w = operands(2)
    gradient = jax.grad(functools.partial(loss, x=x, precision=lax.Precision.DEFAULT))
    program = str(jax.make_jaxpr(optimize(gradient, only=ONLY))(w))
    assert "dot_general" in program and "HIGHEST" not in program
