"""The model and the arrays of `golden.npz` (see golden.md), channels last."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

ROWS = dict(np.load(Path(__file__).with_name("golden.npz")))


def channels_last(array):
    return array.transpose(0, 2, 3, 1)


PARAMS = {
    name[2:]: value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    for name, value in ROWS.items()
    if name.startswith("w/")
}
IMAGES = channels_last(ROWS["x"])
TARGETS = ROWS["t"].astype(np.int32)
BASELINE = channels_last(ROWS["baseline"])[0]


def apply(params, images):
    """`apply(params, images [B, 16, 16, 3]) -> logits [B, 5]`; conv2 is tagged `c2`."""
    hidden = jax.nn.relu(_convolve(params, "c1", images, 1))
    hidden = jax.nn.relu(checkpoint_name(_convolve(params, "c2", hidden, 2), "c2"))
    return jnp.mean(hidden, (1, 2)) @ params["l.weight"].T + params["l.bias"][None]


def _convolve(params, name, images, stride):
    dimensions = ("NHWC", "HWIO", "NHWC")
    kernel, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    padding = ((1, 1), (1, 1))
    hidden = lax.conv_general_dilated(
        images, kernel, (stride, stride), padding, dimension_numbers=dimensions
    )
    return hidden + bias[None, None, None]
