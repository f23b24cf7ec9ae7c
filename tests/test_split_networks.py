"""The networks that CAMs are held against: their halves are the whole."""

import jax
import numpy as np
import pytest

from tests import toy
from tests.split_networks import CLASSES, linen

NETWORKS = {f"{name}, linen": make for name, make in linen.NETWORKS.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_halves_are_the_whole(name):
    network = NETWORKS[name]()
    params, images = network.params, network.images

    @jax.jit
    def both(params, images):
        value = network.features(params, images[0])
        return network.apply(params, images), value, network.head(params, value)

    whole, value, parts = jax.tree.map(np.asarray, both(params, images))
    assert whole.shape == (2, CLASSES)
    toy.close(parts, whole[0])
    assert value.std() > 0.03 and np.abs(whole[0] - whole[1]).max() > 1e-3 * np.abs(whole).max()
