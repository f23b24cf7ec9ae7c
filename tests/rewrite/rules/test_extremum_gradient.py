"""The derivative of a maximum over space, where XLA computes the operand twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsal.rewrite.optimize import count_rewrites, optimize

ONLY = ("extremum_gradient",)


def _features(weights, image):
    """Two convolutions, GELU, a norm, ReLU: long enough to be computed again, not kept."""
    first, second = weights
    numbers = ("NHWC", "HWIO", "NHWC")
    conv = lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers)  # noqa: E731
    x = conv(jax.nn.gelu(conv(image[None], first)), second)
    x = (x - x.mean((1, 2), keepdims=True)) * lax.rsqrt(x.var((1, 2), keepdims=True) + 1e-5)
    return jax.nn.relu(x)


def _draws(count):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return [((draw(3, 3, 2, 5), draw(3, 3, 5, 6)), draw(7, 7, 2)) for _ in range(count)]


def test_the_gradient_goes_to_where_the_maximum_is():
    """The places are found in a program of their own, from the same features."""
    ahead = jax.jit(_features)
    scales = jnp.arange(1.0, 7.0)[None]
    score = lambda weights, image: (_features(weights, image).max((1, 2)) * scales).sum()  # noqa: E731
    found = jax.jit(optimize(jax.grad(score, argnums=1), only=ONLY))

    @jax.jit
    def expected(weights, image, held):
        back = jax.vjp(lambda x: _features(weights, x), image)[1]
        return back(held * scales[:, None, None] / held.sum((1, 2), keepdims=True))[0]

    for weights, image in _draws(12):
        x = ahead(weights, image)
        right = expected(weights, image, (x == x.max((1, 2), keepdims=True)).astype(x.dtype))
        off = np.abs(found(weights, image) - right).max()
        assert off < 1e-3 * np.abs(right).max()


FUNCTIONS = {
    "maximum": lambda x: x.max((0, 1)).sum(),
    "minimum of everything": lambda x: x.min(),
    "kept axes": lambda x: (x - x.max(1, keepdims=True)).sum() ** 2,
    "in a batch": lambda x: jax.vmap(lambda x: x.max(0))(x).sum(),
    "in a loop": lambda x: lax.scan(lambda c, y: (c + y.max(), None), jnp.zeros(()), x)[0],
    "amax of a view": lambda x: jnp.max(jnp.swapaxes(x, 0, 2), (0, 1)).prod(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ties_are_shared_as_before(name):
    x = jnp.round(jax.random.normal(jax.random.key(0), (3, 4, 2)) * 2)
    plain = jax.grad(FUNCTIONS[name])
    assert count_rewrites(plain, x, only=ONLY) == {"extremum_gradient": 1}
    written = optimize(plain, only=ONLY)
    both = jax.jit(lambda x, t: [jax.jvp(f, (x,), (t,)) for f in (plain, written)])
    for one, other in zip(*both(x, jnp.ones_like(x)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_other_comparisons_are_left_alone():
    fun = lambda x: ((x == x[::-1].max(0, keepdims=True)).sum(), (x == x.mean()).sum())  # noqa: E731
    assert not any(count_rewrites(fun, jnp.ones((3, 4)), only=ONLY).values())


BESIDE = {
    "another row's": (lambda x: x.max(1)[None, :], False),
    "another row's, reshaped": (lambda x: x.max(0).reshape(-1, 1), False),
    "its own row's": (lambda x: x.max(1)[:, None], True),
    "its own column's": (lambda x: x.max(0)[None], True),
    "its own row's, reshaped": (lambda x: x.max(1).reshape(-1, 1), True),
    "everything's": (lambda x: x.max(keepdims=True), True),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_maximum_beside_other_places_is_another_comparison(name):
    """On a square array the best of row j may stand beside column j."""
    best, own = BESIDE[name]
    x = jax.random.normal(jax.random.key(1), (6, 6))
    chosen = lambda x: jnp.where(x == best(x), x, 0).sum()  # noqa: E731
    assert count_rewrites(chosen, x, only=ONLY)["extremum_gradient"] == own
    np.testing.assert_array_equal(optimize(chosen, only=ONLY)(x), chosen(x))
