"""README's code runs as it stands."""

import re
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

import jaxsal

README = (Path(__file__).parent.parent / "README.md").read_text()
FIRST, MODELS, METHOD, STORE, METRIC = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_lines_that_build_on_each_other(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(FIRST, names)
    assert names["maps"].shape == (8, 3, 64, 64, 1)
    exec(METHOD, names)
    assert names["maps"].shape == (8, 64, 64, 1)
    assert (np.asarray(names["maps"]) >= 0).all()
    exec(STORE, names)
    expected = names["explain"](names["variables"], names["images"])
    np.testing.assert_allclose(names["maps"][:], expected, atol=1e-6)
    exec(METRIC, names)
    assert len(names["values"]) == 8 and np.isfinite(names["values"]).all()


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(2)(nn.relu(nn.Conv(3, (3, 3))(x)).mean((1, 2)))


class NNX(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 3, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dense(nnx.relu(self.conv(x)).mean((1, 2)))


def test_linen_and_nnx() -> None:
    images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 1))
    names = {
        "jaxsal": jaxsal,
        "nnx": nnx,
        "images": images,
        "labels": np.array([0, 1]),
        "linen_module": Linen(),
        "variables": Linen().init(jax.random.key(1), images),
        "nnx_module": NNX(nnx.Rngs(0)),
    }
    linen, nnx_lines = MODELS.split("\n\n")
    for lines in (linen, nnx_lines):
        exec(lines, names)
        assert names.pop("maps").shape == (2, 8, 8)
