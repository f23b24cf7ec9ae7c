"""Which arrays read an axis in order, by what they are made of."""

import jax
import jax.numpy as jnp
import pytest

from jaxsal.rewrite.axes.index_arrays import is_increasing, is_plain, is_small
from jaxsal.rewrite.interpreter import inline

MATRIX = jnp.ones((4, 4))


def _last(fun):
    """Whether the result of `fun` is rising, plain."""
    flat = inline(jax.make_jaxpr(fun)()).jaxpr
    rising, plain, small = set(), set(), set()
    for eqn in flat.eqns:
        rising.update(eqn.outvars if is_increasing(eqn, rising) else ())
        plain.update(eqn.outvars if is_plain(eqn, plain, small) else ())
        small.update(eqn.outvars if is_small(eqn, small) else ())
    return flat.outvars[0] in rising, flat.outvars[0] in plain


@pytest.mark.parametrize(
    ("fun", "found"),
    [
        (lambda: jnp.arange(4), (True, True)),
        (lambda: jnp.floor((jnp.arange(4.0) + 0.5) * 0.5).astype(int), (True, True)),
        (lambda: 3 - jnp.arange(4), (False, True)),
        (lambda: jnp.arange(4) * -1, (False, True)),
        (lambda: jnp.sin(jnp.arange(4.0)), (False, False)),
        (lambda: jnp.flip(jnp.arange(4)), (False, False)),
        (lambda: 1 - jnp.abs(jnp.arange(4.0)[:, None] - 2 * jnp.arange(3.0)[None]), (False, True)),
        (lambda: MATRIX + jnp.arange(4.0)[None], (False, False)),
    ],
)
def test_what_is_made_of_positions(fun, found):
    assert _last(fun) == found
