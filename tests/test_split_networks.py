"""CAMs of real networks by their default layer, against their features split by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import toy
from tests.split_networks import CHANNELS, CLASSES, equinox, linen, nnx

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


@pytest.mark.parametrize("name", NETWORKS)
def test_the_default_layer_is_the_features_split_by_hand(name):
    """A ViT and a Swin are told what to give, and are right when it is given."""
    network = NETWORKS[name]()
    params, images = network.params, network.images
    about = {"layer": network.layer, "spatial": network.spatial, "relu": False}
    explain = jaxsal.explainer(network.apply, jaxsal.grad_cam, **about)
    first = images.shape[1] == CHANNELS and network.spatial is None
    last, back = (lambda x: jnp.moveaxis(x, 0, -1), lambda x: jnp.moveaxis(x, -1, 0))
    last, back = (last, back) if first else (lambda x: x, lambda x: x)

    @jax.jit
    def by_hand(image):
        value = last(network.features(params, image))
        head = lambda value: network.head(params, back(value))[1]  # noqa: E731
        known = {"relu": False, "spatial": network.spatial}
        return jaxsal.grad_cam_from(value, head, last(image), **known)

    expected = np.stack([by_hand(image) for image in images])
    if network.layer is not None:
        with pytest.raises(ValueError, match=rf"attention comes after .*{network.layer}'.*spatial"):
            jaxsal.explainer(network.apply, jaxsal.grad_cam)(params, images, 1)
    found = explain(params, images, 1)
    assert expected.std() > 1e-4 * np.abs(expected).max() > 0
    toy.close(found, expected, tolerance=2e-5)
