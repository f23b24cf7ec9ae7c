"""The networks are what their names promise."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsal.common.filters import binomial
from jaxsal.models import CNN, ResNet

IMAGES = jax.random.uniform(jax.random.key(0), (2, 16, 16, 1))


def _parameters(model, shape):
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_resnet_50_has_the_parameters_of_the_paper():
    # He et al. 2016, as PyTorch's resnet50 counts them.
    assert _parameters(ResNet(classes=1000), (1, 224, 224, 3)) == 25_557_032


def test_a_block_halves_its_image_and_adds_what_came_in():
    model = ResNet(classes=3, blocks=(1, 1), width=4)
    variables = model.init(jax.random.key(1), IMAGES)
    blocks = {name for name in variables["params"] if name.startswith("Bottleneck")}
    assert blocks == {"Bottleneck_0", "Bottleneck_1"}
    logits, found = model.apply(variables, IMAGES, capture_intermediates=True)
    inside = found["intermediates"]
    assert inside["Bottleneck_0"]["__call__"][0].shape == (2, 4, 4, 16)
    assert inside["Bottleneck_1"]["__call__"][0].shape == (2, 2, 2, 32)
    # With the last convolution's output at zero a block is the ReLU of its shortcut.
    quiet = jax.tree.map(jnp.copy, variables)
    for block in quiet["params"].values():
        if "BatchNorm_2" in block:
            block["BatchNorm_2"] = jax.tree.map(jnp.zeros_like, block["BatchNorm_2"])
    _, found = model.apply(quiet, IMAGES, capture_intermediates=True)
    shortcut = found["intermediates"]["Bottleneck_0"]["BatchNorm_3"]["__call__"][0]
    block = found["intermediates"]["Bottleneck_0"]["__call__"][0]
    np.testing.assert_allclose(block, jnp.maximum(shortcut, 0), atol=1e-6)
    assert logits.shape == (2, 3) and logits.dtype == jnp.float32


def test_smoothing_is_the_networks_own_first_step():
    plain, smooth = CNN(classes=3, widths=(4, 8)), CNN(classes=3, widths=(4, 8), smooth=2)
    variables = plain.init(jax.random.key(1), IMAGES)
    expected = plain.apply(variables, binomial(binomial(IMAGES)))
    np.testing.assert_allclose(smooth.apply(variables, IMAGES), expected, atol=1e-6)


def test_the_maximum_over_positions_tells_of_the_smallest_spot():
    volume = jnp.zeros((1, 8, 8, 8, 1)).at[0, 3, 4, 5].set(1.0)
    volumes = jnp.concatenate([jnp.zeros_like(volume), volume, jnp.roll(volume, -2, 3)])
    moved = {}
    for top in ("mean", "max"):
        model = CNN(classes=2, widths=(4,), last_pool=False, axes=3, top=top)
        variables = model.init(jax.random.key(1), volumes)
        logits = model.apply(variables, volumes)
        moved[top] = float(jnp.abs(logits[1] - logits[0]).max())
        np.testing.assert_allclose(logits[2], logits[1], atol=1e-6)  # wherever it lies
    assert moved["max"] > 8**3 / 3**3 * moved["mean"] > 0
