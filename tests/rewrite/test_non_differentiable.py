"""What leads to a program's outputs, and whether a derivative goes the same way back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.non_differentiable import constant_weights, non_differentiable
from tests import toy

P = toy.params()
X = jnp.asarray(toy.images(1))


def traced(function, *args):
    return jax.make_jaxpr(function)(*args)


def loop(x):
    return lax.scan(lambda carry, _: (jnp.sin(carry), None), x, None, length=2)[0].sum()


def straight_through(x):
    return (x + lax.stop_gradient(jnp.round(x) - x)).sum()


PASSES = {
    "a network": (lambda x: toy.apply(P, x)[0, 0], True),
    "a loop": (loop, True),
    "remat and jit": (jax.jit(jax.checkpoint(lambda x: jnp.tanh(x).sum())), True),
    "a branch": (lambda x: lax.cond(True, jnp.sum, lambda x: x[0, 0, 0, 0], x), True),
    "straight through": (straight_through, True),
    "a rule of one's own": (lambda x: jax.nn.relu(x).sum(), True),
    "a loop that it ends": (
        lambda x: lax.while_loop(lambda i: i < x.sum(), lambda i: i + 1.0, 0.0),
        False,
    ),
    "a branch that it takes": (lambda x: lax.cond(x.sum() > 0, lambda: 1.0, lambda: 2.0), False),
    "integers": (lambda x: jnp.arange(9.0)[x.astype(jnp.int32)].sum(), False),
    "a comparison": (lambda x: jnp.where(x > 0, 1.0, 0.0).sum(), False),
    "rounding": (lambda x: jnp.round(x).sum(), False),
    "the largest one's place": (lambda x: jnp.argmax(x).astype(jnp.float32), False),
    "stop_gradient": (lambda x: lax.stop_gradient(x).sum(), False),
}


@pytest.mark.parametrize("name", PASSES)
def test_a_derivative_passes_where_there_is_one(name) -> None:
    function, passes = PASSES[name]
    closed = traced(function, X)
    (image,) = closed.jaxpr.invars
    assert (image in Dataflow(closed).active) is passes
    assert passes or non_differentiable(closed, image)
    if "loop" not in name:
        assert bool(np.any(jax.grad(function)(X))) is passes


def test_what_is_in_the_way_is_named() -> None:
    closed = traced(lambda p, x: (p * jnp.floor(x)).sum() + jnp.sign(p).sum(), X, X)
    assert non_differentiable(closed, closed.jaxpr.invars[1]) == ["floor"]


WEIGHTS = {
    "frozen": (lambda x: toy.apply(P, x), sum(leaf.size for leaf in jax.tree.leaves(P)) - 4),
    "frozen, under jit": (
        jax.jit(lambda x: toy.apply(P, x)),
        sum(leaf.size for leaf in jax.tree.leaves(P)) - 4,
    ),
    "a mean image": (lambda x: (x - P["dense"].mean()).sum((1, 2)), 0),
    "a mask": (lambda x: (x * toy.images(1)).sum((1, 2)), 0),
    "a resize": (lambda x: jax.image.resize(x, (1, 4, 4, 1), "bilinear").sum((1, 2)), 0),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_what_products_read_of_constants(name) -> None:
    function, count = WEIGHTS[name]
    assert constant_weights(traced(function, X)) == count
