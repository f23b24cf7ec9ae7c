"""The networks that CAMs are held against: their halves are the whole."""

import jax
import numpy as np
import pytest

from tests import toy
from tests.split_networks import CLASSES, equinox, linen, nnx

FRAMEWORKS = {"linen": linen, "nnx": nnx, "equinox": equinox}
NETWORKS = {
    f"{name}, {framework}": make
    for framework, module in FRAMEWORKS.items()
    for name, make in module.NETWORKS.items()
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_halves_are_the_whole(name):
    network = NETWORKS[name]()

    @jax.jit
    def both(params, image):  # of one image: XLA then computes what is the same once
        value = network.features(params, image)
        return network.apply(params, image[None])[0], value, network.head(params, value)

    whole, value, parts = jax.tree.map(np.asarray, both(network.params, network.images[0]))
    assert whole.shape == (CLASSES,) and value.std() > 0.03 and whole.std() > 0.03
    toy.close(parts, whole)
