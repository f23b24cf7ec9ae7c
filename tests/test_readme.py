"""README's code runs as it stands."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

import jaxsal
from jaxsal import cli
from jaxsal.data import pictures
from jaxsal.data.wanted import Wanted
from jaxsal.training import checkpoint
from tests import toy

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

SMALLER = {"CNN(classes=3)": "CNN(classes=3, widths=(4, 4))", "64, 64": "16, 16", "=64": "=2"}
"""What README shows, and what stands in its place here: the same programs, quicker to compile."""


def code(heading: str, language: str = "python") -> str:
    """The code below a heading."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = "\n".join(re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL))
    assert found
    return found


def test_a_person_reads_it_to_the_end() -> None:
    assert len(README.splitlines()) < 200


def test_the_lines_that_build_on_each_other(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    first = code("Install")
    for shown, smaller in SMALLER.items():
        assert shown in first
        first = first.replace(shown, smaller)
    exec(first, names)
    assert names["maps"].shape == (8, 3, 16, 16, 1)
    exec(code("Your own images"), names)
    expected = names["explain"](names["variables"], names["images"])
    np.testing.assert_allclose(names["maps"][:], expected, atol=1e-6)
    exec(code("Many devices"), names)
    np.testing.assert_allclose(names["maps"], expected, atol=1e-6)
    exec(code("A method, a rewrite rule of your own"), names)
    assert names["maps"].shape == (8, 16, 16, 1)
    assert "logistic" not in str(jax.make_jaxpr(names["sigmoid"])(0.5))
    np.testing.assert_allclose(names["sigmoid"](0.5), jax.nn.sigmoid(0.5), rtol=1e-6)
    exec(code("Is the map true?"), names)
    assert len(names["values"]) == 8 and np.isfinite(names["values"]).all()
    assert list(names["both"]) == ["mirrored", "random"]
    assert all(np.isfinite(each).all() for each in names["both"].values())


def test_the_command_lines(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for kind in ("no", "yes"):
        for number in range(5):
            path = tmp_path / "scans" / kind / f"{kind}{number}.{('png', 'jpg')[number % 2]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (20, 20), np.uint8)).save(path)
            path = tmp_path / "other" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (20, 20), np.uint8)).save(path)
    (tmp_path / "mymodel.py").write_text("from tests.toy import apply\n")
    np.savez("weights.npz", **toy.params())
    np.save("images.npy", toy.images(2))
    nibabel = pytest.importorskip("nibabel")
    brain = draw.integers(0, 900, (16, 6, 16), np.int16)
    nibabel.save(nibabel.Nifti1Image(brain, np.eye(4)), "brain.nii.gz")
    small = {"train": "--epochs 1 --image-size 16 --widths 4 --batch-size 8".split()}
    for line in code("Your own images", "bash").splitlines():
        name, command, *arguments = shlex.split(line, comments=True)
        assert name == "jaxsal"
        assert cli.main([command, *arguments, *small.get(command, ())]) == 0, line
    assert "accuracy on" in capsys.readouterr().out
    index = json.loads((tmp_path / "overlays/index.json").read_text())
    assert sum((tmp_path / "overlays" / entry["file"]).is_file() for entry in index) == 10
    assert (tmp_path / "mine.zarr/maps").is_dir()
    assert np.isfinite(nibabel.load("maps.nii.gz").dataobj).sum() == 16 * 2 * 16
    net = checkpoint.load("runs/mine")
    taken = Wanted(net.image_size, net.channels, net.range)
    explain, scans = (
        jaxsal.explainer(net.apply, jaxsal.gradient),
        pictures.find("scans/", wanted=taken),
    )
    stored = jaxsal.explain_dataset(
        explain, net.variables, scans, "python.zarr", classes=net.classes
    )
    assert stored.complete and stored.explained == 10


@pytest.mark.parametrize("line", code("Many devices", "bash").splitlines())
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


def test_linen() -> None:
    images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 1))
    names = {
        "jaxsal": jaxsal,
        "images": images,
        "labels": np.array([0, 1]),
        "linen_module": Linen(),
        "variables": Linen().init(jax.random.key(1), images),
    }
    exec(code("Your own model"), names)
    assert names["maps"].shape == (2, 8, 8)


@pytest.mark.parametrize("folder", ["experiments", "benchmarks"])
def test_the_commands_of_the_other_readmes_are_there(folder) -> None:
    text = (ROOT / folder / "README.md").read_text()
    commands = re.findall(rf"^python -m ({folder}\S*)", text, re.MULTILINE)
    assert len(commands) > 5
    for name in commands:
        assert importlib.util.find_spec(name), name
