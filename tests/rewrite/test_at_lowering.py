"""The platform that rules are chosen by is that which a program is lowered for."""

import re
from collections import Counter

import jax
import jax.export
import jax.numpy as jnp
import pytest
from jax import lax

from jaxsal.rewrite.cost import flops
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


def operations(exported):
    """How many operations there are of those that rules replace, and of those they bring in."""
    found = Counter(re.findall(r"stablehlo\.(\w+)", exported.mlir_module()))
    return {name: found[name] for name in NAMES}


NAMES = ("select_and_scatter", "reduce_window", "convolution", "dot_general", "select", "pad")


@pytest.mark.parametrize(
    ("word", "platform"), [("cpu", "cpu"), ("cuda", "gpu"), ("rocm", "gpu"), ("tpu", "tpu")]
)
def test_an_exported_program_has_the_rules_of_its_platform(word, platform):
    def exported(fun):
        return jax.export.export(batched(fun), platforms=[word])(KERNEL, IMAGES)

    found = exported(optimize(gradient))
    assert operations(found) == operations(exported(optimize(gradient, platform=platform)))
    assert operations(found)["select_and_scatter"] == (platform == "tpu")
    read = jax.export.deserialize(found.serialize())
    assert operations(read) == operations(found)
    if word == "cpu":
        toy.close(read.call(KERNEL, IMAGES), batched(gradient)(KERNEL, IMAGES))


def test_a_program_for_several_platforms():
    found = jax.export.export(batched(optimize(gradient)), platforms=["tpu", "cpu"])
    read = jax.export.deserialize(found(KERNEL, IMAGES).serialize())
    assert operations(read)["select_and_scatter"] > 0
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
