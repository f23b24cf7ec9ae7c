"""A model of scans whose maps are known: they are largest where the image is."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest


def squares(params, images):
    """Two logits whose input x gradient is largest where the image is: 2 x^2 and -2 x^2."""
    total = jnp.square(images).sum(tuple(range(1, images.ndim)))
    return params["scale"][None] * jnp.stack([total, -total], -1)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """A folder with its parameters, from which the command finds it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    np.savez("p.npz", scale=np.ones(1, np.float32))
    return tmp_path
