"""FLOPs of a program, against the formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxsal
from jaxsal.rewrite.cost import flops
from tests import toy

FORWARD = 2 * 8 * 8 * 4 * 9 + 2 * 64 * 3  # one convolution and one product; as much backwards


def count(fun: object, *args: object) -> float:
    return flops(jax.make_jaxpr(fun)(*args).jaxpr)


def test_convolutions_and_products_of_the_toy_model() -> None:
    params, images = toy.params(), toy.images(5)
    assert count(toy.apply, params, images) == 5 * FORWARD


def test_a_strided_convolution_s_gradient_costs_what_it_costs_forwards() -> None:
    kernel = np.ones((2, 2, 3, 4), np.float32)

    def apply(x: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=layout)
        return jnp.sum(y)

    x = np.ones((1, 8, 8, 3), np.float32)
    forwards = 2 * 4 * 4 * 4 * (2 * 2 * 3)
    assert count(apply, x) == forwards
    assert count(jax.grad(apply), x) == forwards * 2


def test_loops_count_turn_by_turn_and_branches_at_most() -> None:
    matrix = np.ones((3, 3), np.float32)
    one = 2 * 3 * 3 * 3

    def power(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda y, _: (y @ matrix, None), x, None, length=7)[0]

    def branch(x: jax.Array) -> jax.Array:
        return jax.lax.cond(x[0, 0] > 0, power, lambda y: y @ matrix, x)

    assert count(jax.jit(power), matrix) == 7 * one
    assert count(branch, matrix) == 7 * one


def test_what_an_explainer_says_of_itself() -> None:
    method = {
        "guided": jaxsal.guided_backprop,
        "path": functools.partial(jaxsal.integrated_gradients, steps=4),
    }
    explain = jaxsal.explainer(toy.apply, method)
    described = explain.describe(toy.params(), toy.images(5))
    passes = 1 + 2 + 4 * 2  # to predict, and forwards and backwards at each point
    assert described["flops"] == 5 * passes * FORWARD
    assert described["devices"] == 4 and described["images"] == 2 and described["chunk"] == 16
    assert described["compile_seconds"] > 0 and described["bytes"] > 0
    assert any(name.startswith("backward: relu") for name in described["rewritten"])
    assert described["rewritten"]["max_pool_gradient"] >= 2
    assert any("affine prefix costs" in each for each in described["passed_over"])
