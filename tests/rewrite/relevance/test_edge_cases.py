"""What rules meet at the edges: masks, scalars, repeated and dead values, norms by hand, tricks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.rewrite.relevance.flat_score import flat_score
from jaxsal.rewrite.relevance.softmax import find_softmaxes
from tests import toy

WEIGHTS = jnp.array([[1.0, -2.0, 0.5], [0.3, 0.7, -1.0], [2.0, 0.1, 0.4]])
X = jnp.array([0.5, -1.0, 2.0])
METHODS = (jaxsal.lrp, jaxsal.deep_lift, jaxsal.attn_lrp)


def total(score, image=X):
    parts = jaxsal.full_gradients(score, image)
    return sum(np.sum(part) for part in jax.tree.leaves(parts))


@pytest.mark.parametrize("explain", METHODS)
def test_a_value_that_nothing_reads_and_that_is_computed_again(explain):
    def score(x, dead):
        if dead:
            x @ WEIGHTS
        hidden = x @ WEIGHTS
        return jnp.sum(jnp.tanh(hidden) * hidden)

    toy.close(explain(partial(score, dead=True), X), explain(partial(score, dead=False), X))


@pytest.mark.parametrize("explain", METHODS)
def test_a_scalar_beside_an_array_is_broadcast(explain):
    """A gate of one number is the gate of as many equal ones."""
    gated = lambda x, gate: jnp.sum(jax.nn.relu(x @ WEIGHTS) * gate)  # noqa: E731
    one = explain(lambda x: gated(x, jax.nn.sigmoid(x[2])), X)
    toy.close(one, explain(lambda x: gated(x, jax.nn.sigmoid(x[2:])), X))


def masked(x):
    mask = jnp.where(jnp.array([True, False, True]), 0, -jnp.inf)
    return jnp.sum(jax.nn.softmax(x * 2 + mask) * x)


def filled(x):
    return jnp.sum(jax.nn.softmax(jnp.where(jnp.array([True, False, True]), x, -jnp.inf)) * x)


@pytest.mark.parametrize("score", [masked, filled])
def test_a_mask_of_infinities_keeps_maps_complete(score):
    """-inf less -inf is no number, nor is it times a derivative of zero."""
    toy.close(jaxsal.deep_lift(score, X).sum(), score(X) - score(0 * X))
    toy.close(total(score), score(X))


def padded(x):
    return jnp.max(jnp.pad(x * 2 + 1, 1, constant_values=-jnp.inf))


def added_in_places(x):
    return jnp.sum(jnp.arange(1.0, 6.0).at[jnp.array([0, 1, 1])].add(x) ** 2)


def counted(x):
    return jnp.sum((x > 0).astype(jnp.int32)).astype(jnp.float32)


@jax.custom_vjp
def raised_sine(x):
    return jnp.sin(x) + 1


raised_sine.defvjp(lambda x: (raised_sine(x), x), lambda x, g: (g * jnp.cos(x),))


@jax.custom_vjp
def times_sum(x):
    return x * jnp.sum(x)


times_sum.defvjp(lambda x: (times_sum(x), x), lambda x, g: (g * jnp.sum(x) + jnp.sum(g * x),))


def own_derivatives(x):
    return jnp.sum(times_sum(raised_sine(x @ WEIGHTS)) * x)


@pytest.mark.parametrize("score", [padded, added_in_places, counted, own_derivatives])
def test_full_gradients_are_complete(score):
    """Infinite pads, sums onto constants, integers, derivatives that are known backwards alone."""
    toy.close(total(score), score(X))


def rsqrt(variance):
    return jax.lax.rsqrt(variance)


FORMS = {
    "1 / sqrt": lambda v: 1 / jnp.sqrt(v),
    "1 / (sqrt + 0)": lambda v: 1 / (jnp.sqrt(v) + 0.0),
    "1 / power": lambda v: 1 / v**0.5,
    "power": lambda v: v**-0.5,
}


def normed(x, inverse):
    centred = x - x.mean()
    hidden = (centred * inverse(jnp.mean(centred**2) + 1e-3)) @ WEIGHTS
    return jnp.sum(jax.nn.relu(hidden) * jnp.arange(1.0, 4.0))


@pytest.mark.parametrize("explain", [jaxsal.lrp, jaxsal.attn_lrp])
def test_a_norm_by_hand_is_a_norm(explain):
    """However its deviation is inverted; as a product of two values half would be lost."""
    expected = explain(partial(normed, inverse=rsqrt), X)
    for inverse in FORMS.values():
        toy.close(explain(partial(normed, inverse=inverse), X), expected)


def test_a_gate_that_is_one_over_something_is_a_gate():
    gate = lambda x: jnp.sum(x[:1] * (1 / (1 + jnp.exp(-x[1:2]))))  # noqa: E731
    toy.close(jaxsal.lrp(gate, X)[0], gate(X) / 2)


@pytest.mark.parametrize("explain", [jaxsal.lrp, jaxsal.attn_lrp])
def test_a_derivative_of_a_map_goes_through_what_rules_hold_constant(explain):
    image = jnp.array([0.4, -1.0, 2.0])
    run = jax.jit(lambda x: explain(partial(normed, inverse=rsqrt), x) @ jnp.array([1.0, 2, -1]))
    steps = 1e-2 * jnp.eye(3)
    differences = jax.vmap(lambda h: run(image + h) - run(image - h))(steps) / 2e-2
    toy.close(jax.grad(run)(image), differences, 1e-2)


def test_what_is_only_like_a_softmax_is_none():
    square = lambda x: x[:, None] * WEIGHTS + x[None]  # noqa: E731

    def rows_by_sums_of_columns(x):
        e = jnp.exp(square(x))
        return jnp.sum(e / e.sum(0)[:, None] * WEIGHTS)

    def by_hand(x):
        e = jnp.exp(square(x))
        return jnp.sum(e / e.sum(1)[:, None] * WEIGHTS)

    def less_another_maximum(x):
        e = jnp.exp(square(x) - square(x).max(0, keepdims=True))
        return jnp.sum(e / e.sum(1, keepdims=True) * WEIGHTS)

    find = lambda score: list(find_softmaxes(flat_score(score, X)).values())  # noqa: E731
    assert not find(rows_by_sums_of_columns)
    assert [each.axes for each in find(by_hand)] == [(1,)]
    (found,) = find(less_another_maximum)  # of the difference, not of what it is taken from
    assert all(eqn.primitive.name != "sub" for eqn in found.equations)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("eps", [0.0, 1e-10])
def test_no_difference_is_no_attribution_whatever_the_type(dtype, eps):
    """1e-10 is zero in float16; the slope of a root at zero is infinite."""
    image, baseline = jnp.array([0.5, 0.0, 4.0], dtype), jnp.array([0.5, 0.0, 0.0], dtype)
    found = jaxsal.deep_lift(lambda x: jnp.sum(jnp.sqrt(x)), image, baseline=baseline, eps=eps)
    toy.close(found, jnp.array([0.0, 0.0, 2.0]), 1e-2)


def test_the_secant_of_what_is_infinite_at_zero_is_the_derivative():
    toy.close(jaxsal.attn_lrp(lambda x: jnp.sum(jnp.log(x)), jnp.array([0.5, 2.0])), jnp.ones(2))
    toy.close(
        jaxsal.attn_lrp(lambda x: jnp.sum(jnp.sqrt(x)), jnp.array([0.0, 4.0])),
        jnp.array([0.0, 2.0]),
    )


def test_rounding_behind_a_layer_is_no_part_of_it():
    whole = lambda x: (x @ WEIGHTS).astype(jnp.int32).astype(jnp.float32)  # noqa: E731
    found = jaxsal.lrp(lambda x: jnp.sum(whole(x) * 2), 3 * X)
    toy.close(found, jaxsal.lrp(lambda x: jnp.sum(jnp.trunc(x @ WEIGHTS) * 2), 3 * X))
    assert np.any(found)


def test_what_is_subtracted_is_held_only_where_it_is_a_mean():
    """x - cumsum(x) is a sum of two values, which for one that differs from both are its shares."""
    score = lambda x: jnp.sum(x - jnp.cumsum(x))  # noqa: E731
    image = jnp.array([1.0, 2.0, 3.0])
    tiny = partial(jaxsal.lrp, composite="epsilon", epsilon=1e-9, stabilizer=1e-9)
    toy.close(tiny(score, image), jaxsal.input_x_gradient(score, image))
