"""What depends on what, and which values are known, through the bodies of calls and loops."""

import jax
import jax.numpy as jnp
import pytest

from jaxsal.rewrite.dataflow import Dataflow
from jaxsal.rewrite.program import equations, outputs_depending, trace


def _flow_and(fun, primitive):
    """The flow of a program and its equations of one kind."""
    flow = Dataflow(trace(fun, jnp.ones(3))[0])
    return flow, [e for e in equations(flow.closed.jaxpr) if e.primitive.name == primitive]


def _looped(change):
    def fun(x):
        body = lambda c, _: ((c[0] * c[1], change(c[1])), None)  # noqa: E731
        return jax.lax.scan(body, (x, jnp.float32(2)), length=3)[0][0]

    return fun


@pytest.mark.parametrize(
    ("fun", "value"),
    [
        (lambda x: x * jnp.full((3,), 5.0), 5.0),
        (lambda x: x * jnp.array([1.0, 2.0, 1.0]), None),
        (jax.jit(lambda x: jax.jit(lambda x, y: x * y)(x, jnp.float32(4))), 4.0),
        (_looped(lambda c: c), 2.0),
        (_looped(lambda c: c + 1), None),
        (lambda x: jax.lax.cond(True, lambda x, y: x * y, lambda x, y: x, x, 7.0), 7.0),
        (lambda x: x * x, None),
    ],
)
def test_constants_are_known_only_where_they_never_change(fun, value):
    flow, (eqn,) = _flow_and(fun, "mul")
    assert flow.constant(eqn.invars[1]) == value


def test_dependence_runs_through_loops_and_decisions():
    def fun(x):
        step = lambda c: (c[0] + 1, jnp.sin(c[1]), jnp.cos(c[2]))  # noqa: E731
        _, moved, still = jax.lax.while_loop(lambda c: c[0] < 2, step, (0, x, jnp.ones(3)))
        return moved, jnp.exp(still), jnp.where(x > 0, 1.0, 2.0)

    flow, _ = _flow_and(fun, "sin")
    kinds = {e.primitive.name: e.outvars[0] in flow.dependent for e in equations(flow.closed.jaxpr)}
    assert kinds["sin"] and not kinds["cos"] and not kinds["exp"]
    assert flow.depends(flow.closed.jaxpr.outvars[2])


def test_what_no_output_needs_is_not_live():
    def fun(x):
        unused = jnp.sin(x)
        return jax.lax.scan(lambda c, _: (jnp.cos(c), jnp.exp(c)), x + 0 * unused[0], length=2)[0]

    flow, (sine,) = _flow_and(lambda x: (jnp.sin(x), jnp.cos(x))[1], "sin")
    assert sine.outvars[0] not in flow.live
    flow, (exponential,) = _flow_and(fun, "exp")
    assert exponential.outvars[0] not in flow.live
    cosine = next(e for e in equations(flow.closed.jaxpr) if e.primitive.name == "cos")
    assert cosine.outvars[0] in flow.live and flow.leaves(cosine.outvars[0])


@jax.jit
def _positive(x):
    return jnp.where(x > 0, x, 0)


def test_outputs_that_depend_on_an_input_are_told_apart_in_calls():
    """JAX traces a call once for all who make it: each has its own inputs nevertheless."""

    def fun(x, y):
        unread = jax.jit(lambda x, y: (y + 1, x))(x, y)[0]
        looped = jax.lax.scan(lambda c, _: ((c[0] + 1, 2 * c[1]), None), (x, y), length=2)[0][1]
        return _positive(x), _positive(y), unread, looped, jnp.ones(3), x

    jaxpr = trace(fun, jnp.ones(3), jnp.ones(3))[0].jaxpr
    depends = outputs_depending(jaxpr, jaxpr.invars[:1])
    assert depends == [True, False, False, True, False, True]
