"""The platform that rules are chosen by is that which a program is lowered for."""

import functools
import re
import warnings
from collections import Counter

import jax
import jax.export
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental import checkify

from jaxsal.rewrite.at_lowering import SETTINGS, by_platform
from jaxsal.rewrite.backward import backward
from jaxsal.rewrite.cost import flops
from jaxsal.rewrite.non_differentiable import non_differentiable
from jaxsal.rewrite.optimize import optimize
from tests import toy


def score(kernel, image):
    x = lax.conv_general_dilated(
        image[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    windows = (1, 2, 2, 1)
    x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, windows, windows, "VALID")
    return jnp.sum(jnp.tanh(x))


gradient = jax.grad(score, argnums=1)
KERNEL = jax.random.normal(jax.random.key(0), (3, 3, 1, 4))
IMAGES = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))


def batched(fun):
    return jax.jit(jax.vmap(fun, (None, 0)))


def exported(fun, *platforms):
    return jax.export.export(batched(fun), platforms=platforms)(KERNEL, IMAGES)


def operations(exported):
    """How many operations there are of those that rules replace, and of those they bring in."""
    found = Counter(re.findall(r"stablehlo\.(\w+)", exported.mlir_module()))
    return {name: found[name] for name in NAMES}


NAMES = ("select_and_scatter", "reduce_window", "convolution", "dot_general", "select", "pad")


@pytest.mark.parametrize(
    ("word", "platform"), [("cpu", "cpu"), ("cuda", "gpu"), ("rocm", "gpu"), ("tpu", "tpu")]
)
def test_an_exported_program_has_the_rules_of_its_platform(word, platform):
    found = exported(optimize(gradient), word)
    expected = operations(exported(optimize(gradient, platform=platform), word))
    if platform == "tpu":  # the convolution that nothing reads any longer, which XLA drops
        expected["convolution"] += 1
    assert operations(found) == expected
    assert operations(found)["select_and_scatter"] == 0
    read = jax.export.deserialize(found.serialize())
    assert operations(read) == operations(found)
    if word == "cpu":
        toy.close(read.call(KERNEL, IMAGES), batched(gradient)(KERNEL, IMAGES))


def test_a_program_for_several_platforms():
    found = exported(optimize(gradient), "tpu", "cpu")
    read = jax.export.deserialize(found.serialize())
    alone = operations(exported(optimize(gradient), "cpu"))
    assert operations(read)["convolution"] > alone["convolution"]
    toy.close(read.call(KERNEL, IMAGES), batched(gradient)(KERNEL, IMAGES))


def test_what_is_closed_over_may_be_traced():
    def closing(kernel, images):
        return jax.vmap(optimize(lambda image: gradient(kernel, image)))(images)

    toy.close(jax.jit(closing)(KERNEL, IMAGES), batched(gradient)(KERNEL, IMAGES))


def test_outside_a_trace_it_is_the_default_platform():
    def pooled(image):
        return lax.reduce_window(image, -jnp.inf, lax.max, (2, 2, 1), (2, 2, 1), "VALID")

    toy.close(optimize(pooled)(IMAGES[0]), pooled(IMAGES[0]))


def test_derivatives():
    def loss(gradient):
        return jax.jit(jax.grad(lambda x: (jax.vmap(gradient, (None, 0))(KERNEL, x) ** 2).sum()))

    toy.close(loss(optimize(gradient))(IMAGES), loss(gradient)(IMAGES))


def test_the_transpose_of_a_linear_function():
    def linear(image, kernel=KERNEL):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            image[None], kernel, (1, 1), "SAME", dimension_numbers=dimensions
        )

    def transposed(fun):
        return jax.jit(jax.linear_transpose(fun, IMAGES[0]))(jnp.ones((1, 8, 8, 4)))

    toy.close(transposed(optimize(linear)), transposed(linear))


def test_names_of_mapped_axes_reach_the_program():
    def centred(image):
        return image - lax.pmean(image, "batch")

    mapped = jax.jit(jax.vmap(optimize(centred), axis_name="batch"))
    toy.close(mapped(IMAGES), IMAGES - IMAGES.mean(0, keepdims=True))


def test_its_arithmetic_is_counted_as_often_as_it_is_mapped():
    def product(a):
        return a @ a

    def counted(fun):
        return flops(jax.make_jaxpr(jax.vmap(jax.vmap(fun)))(jnp.ones((2, 3, 4, 4))).jaxpr)

    assert counted(optimize(product)) == counted(product) == 2 * 3 * 2 * 4**3


def test_a_rule_is_traced_under_the_settings_of_the_trace():
    with jax.enable_x64(True):
        kernel, images = KERNEL.astype(float), IMAGES.astype(float)
        traced = batched(optimize(gradient)).trace(kernel, images)
        plain = batched(gradient)(kernel, images)
    compiled = traced.lower().compile()
    with jax.enable_x64(True):
        toy.close(compiled(kernel, images), plain)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_enable_x64", True),
        ("jax_default_matmul_precision", "bfloat16"),
        ("jax_numpy_rank_promotion", "warn"),
        ("jax_numpy_dtype_promotion", "standard"),
    ],
)
def test_each_of_the_settings_is_that_of_the_trace(name, value):
    seen = []

    def choose(closed, platform):
        return lambda x: [seen.append(getattr(jax.config, name)) or x]

    closed = jax.make_jaxpr(lambda x: x)(1.0)
    with SETTINGS[name](value):
        traced = jax.jit(lambda x: by_platform(choose, closed, x)).trace(jnp.float32(1))
    assert not seen
    traced.lower()
    assert set(seen) == {value} != {getattr(jax.config, name)}


def test_a_check_in_the_program_is_found():
    def checking(image):
        checkify.check(image.sum() < 1e6, "too much light")
        return gradient(KERNEL, image)

    checked = jax.jit(checkify.checkify(jax.jit(jax.vmap(optimize(checking)))))
    error, out = checked(IMAGES)
    assert error.get() is None
    toy.close(out, batched(gradient)(KERNEL, IMAGES))
    assert "too much light" in checked(IMAGES.at[1].set(1e6))[0].get()


@pytest.mark.parametrize(
    ("errors", "fun", "message"),
    [
        (checkify.float_checks, jnp.log, "nan generated by primitive: log"),
        (checkify.float_checks, lambda x: 1 / (x - x), "division by zero"),
        (checkify.index_checks, lambda x: x[x.astype(int).max() * 0 + 9], "out-of-bounds"),
    ],
)
def test_automatic_checks_are_those_of_the_program(errors, fun, message):
    def found(fun):
        return checkify.checkify(jax.jit(jax.vmap(fun)), errors=errors)(IMAGES)[0].get()

    assert message in found(optimize(fun))
    assert found(optimize(functools.partial(gradient, KERNEL))) is None


@pytest.mark.parametrize("axes", [1, 2])
def test_a_relu_in_such_a_program_is_given_another_derivative(axes):
    def score(optimized):
        fun = optimized(lambda x: jnp.tanh(jax.nn.relu(2 * x).sum(-1)))
        for _ in range(axes):
            fun = jax.vmap(fun)
        return lambda images: jnp.sum(fun(images))

    def map_of(score):
        return jax.grad(backward(score, lambda g, positive: 3 * g))(IMAGES)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        toy.close(map_of(score(optimize)), map_of(score(lambda fun: fun)))


def test_what_no_derivative_passes_is_found_in_such_a_program():
    closed = jax.make_jaxpr(jax.vmap(optimize(lambda x: jnp.round(x).sum())))(IMAGES)
    assert non_differentiable(closed, closed.jaxpr.invars[0]) == ["round"]


def test_a_mesh_does_not_say_what_a_program_is_lowered_for():
    automatic = jax.sharding.AxisType.Auto
    with jax.set_mesh(jax.make_mesh((1,), ("batch",), axis_types=(automatic,))):
        found = exported(optimize(gradient), "tpu")
    assert operations(found) == operations(exported(optimize(gradient), "tpu"))
    assert operations(found) != operations(exported(optimize(gradient), "cpu"))


def test_the_derivative_of_a_map_has_the_rules_of_the_default_platform():
    def program(gradient):
        loss = jax.jit(jax.grad(lambda x: jnp.sum(jax.vmap(gradient, (None, 0))(KERNEL, x) ** 2)))
        return operations(jax.export.export(loss, platforms=["tpu"])(IMAGES))

    assert program(optimize(gradient)) == program(optimize(gradient, platform="cpu"))
    assert program(optimize(gradient)) != program(optimize(gradient, platform="tpu"))
