"""AttnLRP: parity with LRP-eXplains-Transformers on a vision transformer."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import golden2 as golden
from tests import toy

METHODS = {
    "v/lxt/attn_lrp": jaxsal.attn_lrp,
    "v/lxt/cp_lrp": partial(jaxsal.attn_lrp, values_only=True),
    "v/lxt/cp_lrp_rules": partial(jaxsal.attn_lrp, values_only=True),
}


@cache
def maps():
    apply, params = golden.NETWORKS["v/"]
    found = jaxsal.explainer(apply, METHODS)(params, golden.IMAGES, golden.TARGETS)
    return jax.device_get(found)


@pytest.mark.parametrize("name", METHODS)
def test_peers(name):
    toy.close(maps()[name], golden.channels_last(golden.ROWS[name]))


@pytest.mark.parametrize("x", [0.0, -1e-10, 1e-10, -1e-3])
@pytest.mark.parametrize("gelu", [True, False])
def test_the_secant_of_gelu_near_zero_is_a_half(x, gelu):
    """lxt's is -inf at -1e-10 and 0 at 0."""

    def score(image):
        return jnp.sum(jax.nn.gelu(image + x, approximate=gelu))

    found = jaxsal.attn_lrp(score, jnp.full(3, 1e-20))
    expected = np.full(3, 1e-20) * (0.5 + 0.3989 * x)
    toy.close(found, expected, 1e-4)


def test_products_are_halved_and_deviations_constant():
    """Of `q k v`: half to v, a quarter each to q and k; a norm by hand is linear."""
    image = jnp.array([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0]])
    found = jaxsal.attn_lrp(lambda x: (x[0] * x[1]) @ x[2], image)
    products = jnp.prod(image, 0)
    toy.close(found, products[None] * jnp.array([[0.25], [0.25], [0.5]]))
    normed = lambda x: (x / jnp.sqrt(jnp.sum(x**2)))[0, 0]  # noqa: E731
    expected = jnp.zeros_like(image).at[0, 0].set(normed(image))
    toy.close(jaxsal.attn_lrp(normed, image), expected)


def test_wrong_options():
    with pytest.raises((TypeError, ValueError), match="values_only"):
        jaxsal.attn_lrp(jnp.sum, jnp.ones(3), values_only="yes")
