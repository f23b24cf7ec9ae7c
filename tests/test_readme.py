"""README's code runs as it stands."""

import re
import shlex
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import jaxsal
from jaxsal import cli
from tests import toy

README = (Path(__file__).parent.parent / "README.md").read_text()


def code(heading: str, language: str = "python") -> str:
    """The code below a heading."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL))


def test_the_lines_that_build_on_each_other(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0], names)
    assert names["maps"].shape == (8, 3, 64, 64, 1)
    exec(code("Your own images"), names)
    expected = names["explain"](names["variables"], names["images"])
    np.testing.assert_allclose(names["maps"][:], expected, atol=1e-6)
    exec(code("Many GPUs and hosts"), names)
    np.testing.assert_allclose(names["maps"], expected, atol=1e-6)
    exec(code("A method of your own"), names)
    assert names["maps"].shape == (8, 64, 64, 1)
    exec(code("Is the map true?"), names)
    assert len(names["values"]) == 8 and np.isfinite(names["values"]).all()
    exec(code("A rewrite rule of your own"), names)
    assert "logistic" not in str(jax.make_jaxpr(names["sigmoid"])(0.5))
    np.testing.assert_allclose(names["sigmoid"](0.5), jax.nn.sigmoid(0.5), rtol=1e-6)


def test_the_command_lines(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for kind in ("no", "yes"):
        for number in range(10):
            path = tmp_path / "scans" / kind / f"{kind}{number}.{('png', 'jpg')[number % 2]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (20, 20), np.uint8)).save(path)
    (tmp_path / "mymodel.py").write_text("from tests.toy import apply\n")
    np.savez("weights.npz", **toy.params())
    np.save("images.npy", toy.images(2))
    small = {"train": "--epochs 1 --image-size 16 --widths 4 --batch-size 8".split()}
    for line in code("Your own images", "bash").splitlines():
        name, command, *arguments = shlex.split(line)
        assert name == "jaxsal"
        assert cli.main([command, *arguments, *small.get(command, ())]) == 0, line
    assert "accuracy on" in capsys.readouterr().out
    assert len(list((tmp_path / "overlays").rglob("*.png"))) == 20
    assert (tmp_path / "mine.zarr/maps").is_dir()


@pytest.mark.parametrize("line", code("Many GPUs and hosts", "bash").splitlines())
def test_the_command_lines_of_several_hosts_are_understood(line, capsys) -> None:
    arguments = shlex.split(line)
    arguments = [*arguments[arguments.index("jaxsal") + 1 :], "--process", "x"]
    with pytest.raises(SystemExit):  # for that last word, and no other
        cli.main(arguments)
    assert "invalid value" in (told := capsys.readouterr().err).lower() or "'x'" in told


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
    linen, nnx_lines = code("Your own model").split("\n\n")
    for lines in (linen, nnx_lines):
        exec(lines, names)
        assert names.pop("maps").shape == (2, 8, 8)
