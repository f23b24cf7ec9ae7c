"""Model-parameter randomisation: methods whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsal.metrics import sanity

IMAGES = jax.random.normal(jax.random.key(0), (3, 6, 6, 1))
PARAMS, FRESH = ({"w": jax.random.normal(jax.random.key(s), (6, 6, 1))} for s in (1, 2))


def weights(params, images, targets, *, key=None):
    """The gradient of a linear model: all that was learned, nothing of the image."""
    return jnp.broadcast_to(params["w"], images.shape)


def edges(params, images, targets, *, key=None):
    """A map of the image alone."""
    return images**2


def test_spearman_is_scipys_of_the_absolute_values():
    a, b = IMAGES[0, ..., 0], IMAGES[1, ..., 0]
    expected = stats.spearmanr(np.abs(a).ravel(), np.abs(b).ravel())[0]
    np.testing.assert_allclose(sanity.spearman(a, b), expected, atol=1e-6)
    np.testing.assert_allclose(sanity.spearman(a, -a), 1, atol=1e-6)


def test_a_map_of_the_image_survives_and_a_map_of_the_weights_does_not():
    def both(params, images, targets, *, key=None):
        return {
            "edges": edges(params, images, targets),
            "weights": weights(params, images, targets),
        }

    got = sanity.parameter_randomisation(both, PARAMS, FRESH, IMAGES, 0)
    np.testing.assert_allclose(got["edges"], 1, atol=1e-6)
    a, b = np.abs(PARAMS["w"]).ravel(), np.abs(FRESH["w"]).ravel()
    np.testing.assert_allclose(got["weights"], stats.spearmanr(a, b)[0], atol=1e-6)
    assert np.abs(got["weights"]).max() < 0.4


def test_the_same_draws_before_and_after():
    def noise(params, images, targets, *, key):
        return jax.random.normal(key, images.shape)

    key = jax.random.key(3)
    got = sanity.parameter_randomisation(noise, PARAMS, FRESH, IMAGES, jnp.zeros(3, int), key=key)
    np.testing.assert_allclose(got, 1, atol=1e-6)


def test_another_similarity_and_a_constant_map():
    def dot(first, second):
        return jnp.vdot(first, second)

    got = sanity.parameter_randomisation(edges, PARAMS, PARAMS, IMAGES, 0, similarity=dot)
    np.testing.assert_allclose(got, (IMAGES**4).sum((1, 2, 3)), rtol=1e-5)
    flat = sanity.parameter_randomisation(edges, PARAMS, FRESH, jnp.ones((2, 4, 4, 1)), 0)
    assert np.isnan(flat).all()


@pytest.mark.parametrize(
    ("fresh", "targets", "words"),
    [
        (FRESH, None, "targets None"),
        (FRESH, "all", "targets 'all'"),
        ({"v": FRESH["w"]}, 0, "fresh"),
        ({"w": FRESH["w"][:2]}, 0, "fresh"),
    ],
)
def test_bad_input_is_named(fresh, targets, words):
    with pytest.raises(ValueError, match=words):
        sanity.parameter_randomisation(weights, PARAMS, fresh, IMAGES, targets)
