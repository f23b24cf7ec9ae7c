"""Functions that are affine in pieces: equal to what JAX computes, in value and derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.rewrite.activations.functions import played
from jaxsal.rewrite.activations.piecewise_affine import IDENTITY
from jaxsal.rewrite.program import trace

POINTS = np.array([-7.3, -2.1, -0.6, 0.37, 1.7, 2.9, 9.1], np.float32)
NUMBERS = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
ONE = {
    "neg": lambda f: lambda x: -f(x),
    "abs": lambda f: lambda x: jnp.abs(f(x)),
    "stopped": lambda f: lambda x: jax.lax.stop_gradient(f(x)),
}
NUMBER = {
    "max": lambda f, c: lambda x: jnp.maximum(f(x), c),
    "min": lambda f, c: lambda x: jnp.minimum(c, f(x)),
    "clip": lambda f, c: lambda x: jax.lax.clamp(np.float32(c), f(x), np.float32(c + 2)),
    "scaled": lambda f, c: lambda x: c * f(x) + 1,
}
TWO = {
    "sum": lambda f, g, c: lambda x: f(x) + g(x),
    "difference": lambda f, g, c: lambda x: f(x) - g(x) / 2,
    "maximum": lambda f, g, c: lambda x: jnp.maximum(f(x), g(x)),
    "where": lambda f, g, c: lambda x: jnp.where(x > c, f(x), g(x)),
    "mask": lambda f, g, c: lambda x: f(x) * ((g(x) >= c) & ~(x == c)).astype(x.dtype),
}


def _larger(inner):
    return st.one_of(
        st.builds(lambda name, f: ONE[name](f), st.sampled_from(list(ONE)), inner),
        st.builds(
            lambda name, f, c: NUMBER[name](f, c), st.sampled_from([*NUMBER]), inner, NUMBERS
        ),
        st.builds(
            lambda name, f, g, c: TWO[name](f, g, c),
            st.sampled_from([*TWO]),
            inner,
            inner,
            NUMBERS,
        ),
    )


def _known(function):
    return played(trace(function, POINTS)[0], [IDENTITY])


@given(st.recursive(st.just(lambda x: x), _larger, max_leaves=6))
def test_known_functions_are_what_jax_computes(function):
    known = _known(function)
    assert known is not None
    values, back = jax.vjp(function, jnp.asarray(POINTS))
    slopes = back(jnp.ones_like(values))[0]
    for x, value, slope in zip(POINTS.tolist(), values, slopes, strict=True):
        part = known.meeting(x)
        np.testing.assert_allclose(part.at(x), value, rtol=1e-4, atol=1e-4)
        if min((abs(x - knot) for knot in known.knots), default=1) > 1e-4:
            np.testing.assert_allclose(part.derivative, slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "function",
    [jnp.exp, lambda x: x * x, lambda x: 1 / x, lambda x: x.astype(jnp.float16), jnp.round],
)
def test_what_is_not_affine_in_pieces_is_not_known(function):
    assert _known(function) is None


def test_infinite_bounds_are_none():
    assert _known(lambda x: jnp.clip(x, -jnp.inf, jnp.inf)) == IDENTITY
    assert _known(lambda x: jnp.clip(x, 0, jnp.inf)) == _known(lambda x: jnp.clip(x, 0))
