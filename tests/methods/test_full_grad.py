"""FullGrad: parity with its authors' code, and an exact decomposition."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import golden2 as golden
from tests import toy

PARTS = {"c1": 0, "b1": 1, "b2": 2, "b3": 3}
"""The layers of the network in the order of their biases."""


@cache
def found(network):
    """Maps, decompositions and scores of a network."""
    apply, params = golden.NETWORKS[network]

    def explain(image, target):
        score = lambda x: apply(params, x[None])[0, target]  # noqa: E731
        parts = jaxsal.full_gradients(score, image)
        return jaxsal.full_grad(score, image), parts.image, parts.biases, score(image)

    return jax.device_get(jax.jit(jax.vmap(explain))(golden.IMAGES, golden.TARGETS))


@pytest.mark.parametrize("name", ["fullgrad/FullGrad", "b/fullgrad/FullGrad"])
def test_the_authors_maps(name):
    network = "b/" if name.startswith("b/") else ""
    toy.close(found(network)[0], golden.ROWS[name][:, 0])


def test_the_image_s_part():
    toy.close(found("b/")[1], golden.channels_last(golden.ROWS["b/own/fullgrad_input"]))


@pytest.mark.parametrize("layer", PARTS)
def test_the_parts_of_biases(layer):
    """Of a batch norm, all that it adds is one bias."""
    biases = {int(name.split(":")[0]): part for name, part in found("b/")[2].items()}
    expected = golden.channels_last(golden.ROWS[f"b/own/fullgrad_{layer}"])
    toy.close(biases[PARTS[layer]][:, 0], expected)


@pytest.mark.parametrize("network", ["", "b/", "v/"])
def test_all_parts_sum_to_the_score(network):
    _, image, biases, score = found(network)
    total = sum(part.reshape(4, -1).sum(1) for part in (image, *biases.values()))
    toy.close(total, score)


def scaled(part):
    """Sizes from 0 to 1 over all of them, summed over channels."""
    sizes = np.abs(part) - np.abs(part).min()
    return (sizes / (sizes.max() + 1e-6)).sum(-1)


def test_nearest():
    """By the definition, of the network whose later biases lie at half the image's size."""
    apply, params = golden.NETWORKS["b/"]
    image, target = jnp.asarray(golden.IMAGES[0]), int(golden.TARGETS[0])
    score = lambda x: apply(params, x[None])[0, target]  # noqa: E731
    bilinear, parts, biases, _ = found("b/")
    laid_out = [part[0, 0] for part in biases.values() if part.ndim == 5]
    assert {part.shape[0] for part in laid_out} == {8, 16}
    sides = [(scaled(part), 16 // len(part)) for part in laid_out]
    expected = sum(map.repeat(n, 0).repeat(n, 1) for map, n in sides) + scaled(parts[0])
    nearest = jax.jit(partial(jaxsal.full_grad, score, resize="nearest"))(image)
    toy.close(nearest, expected)
    assert np.abs(nearest - bilinear[0]).max() > 0.05 * expected.max()
    with pytest.raises(ValueError, match="resize"):
        jaxsal.full_grad(score, image, resize="cubic")


def test_a_map_is_not_negative():
    assert all(np.min(found(network)[0]) >= 0 for network in ("", "b/", "v/"))
