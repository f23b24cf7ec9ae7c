"""A model that does not take its images says what would give it others, where that is known."""

import json
import shutil
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxsal import cli
from jaxsal.commands import image_form, model
from jaxsal.training.parameter_files import flatten
from tests import toy

eqx = pytest.importorskip("equinox")
OWN = "tests.commands.test_image_form"


class Colour(nn.Module):
    """Of images of three channels, of any size or, with `whole`, of eight pixels."""

    whole: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        return nn.Dense(2)(x.reshape(len(x), -1) if self.whole else x.mean((1, 2)))


colour, of_eight = Colour(), Colour(whole=True)


def network(channels: int) -> eqx.Module:
    """Equinox's layout: channels first."""
    one, other = jax.random.split(jax.random.key(0))
    layers = [eqx.nn.Conv2d(channels, 4, 3, key=one), eqx.nn.Lambda(lambda x: x.mean((1, 2)))]
    return eqx.nn.Sequential([*layers, eqx.nn.Linear(4, 2, key=other)])


grey_first, colour_first = network(1), network(3)


def chw(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 0, 1)


def forgetful(params: dict, images: jax.Array) -> jax.Array:
    return params["bias"] + images.nothing  # type: ignore[attr-defined]


def untrained(module: nn.Module) -> dict:
    return flatten(jax.tree.map(np.asarray, module.init(jax.random.key(0), jnp.ones((1, 8, 8, 3)))))


def leaves(module: eqx.Module) -> dict:
    found = jax.tree_util.tree_flatten_with_path(eqx.filter(module, eqx.is_array))[0]
    return {jax.tree_util.keystr(p, simple=True, separator="."): np.asarray(x) for p, x in found}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Grey pictures of eight pixels, of two classes, and parameters of each model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    monkeypatch.setenv("JAXSAL_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(("a/0", "a/1", "a/2", "b/0", "b/1", "b/2")):
        Path("x", name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(f"x/{name}.png")
    for name in ("colour", "of_eight"):
        np.savez(f"{name}.npz", **untrained(globals()[name]))
    for name in ("grey_first", "colour_first"):
        np.savez(f"{name}.npz", **leaves(globals()[name]))
    np.savez("forgetful.npz", bias=np.zeros((1, 2), np.float32))
    return tmp_path


def call(command: str, name: str, *options: object) -> list[str]:
    given = ("--apply", f"{OWN}:{name}", "--params", f"{name}.npz", "--out", "out", *options)
    sized = ("--image-size", 8, "--classes", "a,b", "--explain", 0)
    made = (*given, *(sized if command == "evaluate" else ("--method", "gradient")))
    return [command, "--images", "x", *map(str, made)]


def failed(capsys, *arguments: object) -> str:
    assert cli.main(call(*arguments)) == 1
    return capsys.readouterr().err.splitlines()[-1]


CHW = "--preprocess mymodel:chw, with chw = lambda x: x.transpose(2, 0, 1)"
GREY = "the images were given as [1, 8, 8, 1]"
FORMS = {
    "colour": f"{GREY}, the model takes [1, 8, 8, 3]: --channels 3",
    "of_eight": f"{GREY}, the model takes [1, 8, 8, 3]: --channels 3",
    "grey_first": f"{GREY}, the model takes [1, 1, 8, 8]: {CHW}",
    "colour_first": f"{GREY}, the model takes [1, 3, 8, 8]: --channels 3 {CHW}",
}
OPTIONS = {
    "colour": ("--channels", 3),
    "of_eight": ("--channels", 3),
    "grey_first": ("--preprocess", f"{OWN}:chw"),
    "colour_first": ("--channels", 3, "--preprocess", f"{OWN}:chw"),
}


@pytest.mark.parametrize("command", ["explain", "evaluate"])
@pytest.mark.parametrize("name", FORMS)
def test_what_an_error_advises_is_taken(command, name, capsys) -> None:
    told = failed(capsys, command, name)
    assert told.startswith("jaxsal: error: ") and told.endswith(FORMS[name])
    shutil.rmtree("out", ignore_errors=True)
    assert cli.main(call(command, name, *OPTIONS[name])) == 0


def test_the_parameter_that_does_not_fit_is_named_as_before(capsys) -> None:
    named = "params: params.Conv_0.kernel of colour.npz is [3, 3, 3, 4], the model expected "
    assert f"{named}[3, 3, 1, 4]; {GREY}" in failed(capsys, "explain", "colour")


def test_options_that_are_open_are_told_where_no_form_is_known(capsys) -> None:
    """Of another size and colour at once; none of what is given already."""
    for path in Path("x").rglob("*.png"):
        Image.new("L", (12, 12), 90).save(path)
    given = "; the images were given as [1, 12, 12, {}]; "
    told = failed(capsys, "explain", "of_eight")
    assert told.endswith(f"{given.format(1)}--channels 3 and --image-size N change that")
    told = failed(capsys, "explain", "of_eight", "--channels", 3)
    assert told.endswith(f"{given.format(3)}--image-size N changes that")
    told = failed(capsys, "explain", "of_eight", "--channels", 3, "--image-size", 9)
    assert "the model expected" in told and "the images were given" not in told


@pytest.mark.parametrize("name", ["colour", "forgetful"])
def test_faults_of_a_model_itself_are_told_without_advice(name, capsys) -> None:
    """Parameters of other names, and a function that asks for what is not there."""
    np.savez("colour.npz", weights=np.ones(3, np.float32))
    told = failed(capsys, "explain", name)
    assert "params: " in told and "the images were given" not in told


def test_images_that_a_model_takes_are_no_part_of_an_error() -> None:
    found = model.load(None, f"{OWN}:colour", Path("colour.npz"))
    one = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    with pytest.raises(OSError, match="full"), image_form.advised(found, one, ("channels",)):
        raise OSError("full")


def test_pictures_of_channels_first_are_those_of_channels_last(capsys) -> None:
    """Masks are outlined, too: the function moves no pixel."""
    np.savez("p.npz", **toy.params())
    outline = np.zeros((8, 8), np.uint8)
    outline[2:5, 2:5] = 255
    Image.fromarray(outline).save("x/a/0_mask.png")
    drawn = []
    for function, options in (("apply", ()), ("channels_first", ("--preprocess", f"{OWN}:chw"))):
        given = ("--apply", f"tests.toy:{function}", "--params", "p.npz", "--images", "x")
        more = ("--method", "gradient", "grad_cam", "--out", "out", "--json", *options)
        assert cli.main(["explain", *given, *more]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["masks"], told["warnings"], told["not_drawn"]) == (1, [], [])
        drawn.append([path.read_bytes() for path in sorted(Path("out").glob("[ab]/*.png"))])
    assert drawn[0] == drawn[1] and len(drawn[0]) == 6
