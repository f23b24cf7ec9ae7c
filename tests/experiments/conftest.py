"""A study's folder as it is when training has ended, of a network that has learned nothing."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxsal.data import phantom
from jaxsal.models import CNN
from jaxsal.training import checkpoint

COUNT, SIZE = 60, 32


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """Its folder: `model.json`, `params.npz`, and the settings in `metrics.json`."""
    folder = tmp_path_factory.mktemp("untrained")
    model = CNN(classes=4, widths=(4, 8))
    variables = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 1)))
    # It takes every image for a glioma, so that some tumours are classified correctly.
    bias = jnp.array([0.0, 9, 0, 0])
    variables["params"]["Dense_0"]["bias"] = bias
    checkpoint.save(folder, model, variables, classes=phantom.CLASSES, image_size=SIZE)
    settings = {"data": "phantom", "count": COUNT, "image_size": SIZE, "widths": [4, 8]}
    (folder / "metrics.json").write_text(json.dumps({"accuracy": 0.25, "settings": settings}))
    return folder
