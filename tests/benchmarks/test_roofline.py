"""What a case asks of the device is counted from its program, loops turn by turn."""

import jax
import jax.numpy as jnp

from benchmarks.roofline import floor, model_cost
from jaxsal.rewrite.optimize import optimize


def test_a_product_in_a_loop_counts_every_turn():
    def program(a):
        return jax.lax.scan(lambda c, _: (c @ a, None), a, None, length=5)[0]

    cost = model_cost(jax.make_jaxpr(program)(jnp.ones((4, 4))).jaxpr, batch=3)
    assert cost == {"flops": 3 * 5 * 2 * 4**3, "bytes": 3 * 5 * 3 * 16 * 4}


PRODUCT = {"flops": 2 * 4**3, "bytes": 3 * 16 * 4}


def test_of_a_choice_the_dearest_branch_counts():
    def program(a):
        return jax.lax.cond(a[0, 0] > 0, lambda a: a @ a, lambda a: a @ a @ a, a)

    cost = model_cost(jax.make_jaxpr(program)(jnp.ones((4, 4))).jaxpr, batch=1)
    assert cost == {key: 2 * value for key, value in PRODUCT.items()}


def test_what_is_put_off_to_the_lowering_counts_as_often_as_it_is_mapped():
    program = jax.vmap(optimize(lambda a: a @ a))
    cost = model_cost(jax.make_jaxpr(program)(jnp.ones((3, 4, 4))).jaxpr, batch=1)
    assert cost == {key: 3 * value for key, value in PRODUCT.items()}


def test_the_floor_is_the_slower_of_arithmetic_and_memory():
    rates = {"float32": {"product": 10.0, "convolution": 20.0}, "bytes": 5.0}
    assert floor({"flops": 100.0, "bytes": 10.0}, rates) == 5.0
    assert floor({"flops": 1.0, "bytes": 10.0}, rates) == 2.0
