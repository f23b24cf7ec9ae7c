"""The phantom is deterministic, anatomically placed, and not solved by trivial cues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.data.phantom import CLASSES, dataset, phantom

SIZE = 32
_draw = jax.jit(jax.vmap(lambda key, label: phantom(key, label, size=SIZE)))


def _many(count, seed=0):
    labels = jnp.arange(count) % len(CLASSES)
    images, masks = _draw(jax.random.split(jax.random.key(seed), count), labels)
    return np.asarray(images), np.asarray(masks), np.asarray(labels)


def test_masks_are_where_a_tumour_class_is():
    images, masks, labels = _many(64)
    assert images.shape == (64, SIZE, SIZE, 1) and images.dtype == np.float32
    assert np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1
    np.testing.assert_array_equal(masks.any((1, 2)), labels > 0)


@pytest.mark.parametrize("size", [0, 31])
def test_too_small_a_size_is_an_error(size):
    with pytest.raises(ValueError, match="size"):
        phantom(jax.random.key(0), 0, size=size)
    with pytest.raises(ValueError, match="size"):
        dataset(0, 4, size=size)
