"""The command's images: given as the network takes them, or refused; every file is counted."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from PIL import Image

from jaxsal import cli
from jaxsal.models import CNN
from jaxsal.training import checkpoint

draw = np.random.default_rng(0)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    model = CNN(classes=2, widths=(4,))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    checkpoint.save(folder, model, variables, classes=("no", "yes"), image_size=16)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    np.savez("p.npz", scale=np.ones((1, 2), np.float32))


def explain(network: Path | None, images: str, out: str, *options: object) -> int:
    model = ["--checkpoint", str(network)]
    if network is None:
        model = ["--apply", "tests.commands.test_explain_input:means", "--params", "p.npz"]
    given = ["--images", images, "--out", out, "--method", "gradient", *map(str, options)]
    return cli.main(["explain", *model, *given])


def means(params, images):
    return params["scale"] * images.mean((1, 2, 3))[:, None]


def logits(out: str) -> np.ndarray:
    return zarr.open(out, mode="r")["logits"][:]


def told(capsys, code: int, expected: int = 0) -> dict:
    assert code == expected
    return json.loads(capsys.readouterr().out)


def picture(name: str, *shape: int) -> np.ndarray:
    """A grey picture that uses all of its 8 bits."""
    pixels = draw.integers(0, 256, shape, np.uint8)
    pixels.flat[:2] = 0, 255
    Path(name).parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(name)
    return pixels


def test_all_depths_and_arrays_of_one_picture_have_the_same_logits(network, capsys) -> None:
    pixels = picture("in/8.png", 16, 16)
    Image.fromarray(pixels.astype(np.uint16) * 257).save("in/16.png")
    Image.fromarray(pixels.astype(np.uint16) * 257).save("in/16.tif")
    done = told(capsys, explain(network, "in", "a.zarr", "--json"))
    assert done["explained"] == 3
    for name, values in {
        "share": pixels.astype(np.float32) / 255,
        "eight": pixels,
        "deep": pixels.astype(np.uint16) * 257,
    }.items():
        np.save(f"{name}.npy", values[None])
        told(capsys, explain(network, f"{name}.npy", f"{name}.zarr", "--json"))
    found = np.concatenate([logits(f"{name}.zarr") for name in ("a", "share", "eight", "deep")])
    np.testing.assert_allclose(found, np.broadcast_to(found[:1], found.shape), rtol=1e-5)


def test_values_of_another_range_are_refused_or_brought_to_it(network, capsys) -> None:
    share = draw.uniform(size=(2, 16, 16)).astype(np.float32)
    share[:, 0, :2] = 0, 1
    np.save("x.npy", share * 255)
    np.save("share.npy", share)
    assert explain(network, "x.npy", "m.zarr") == 1
    error = capsys.readouterr().err
    assert "values from 0 to 255, the network takes 0 to 1" in error and "--intensity" in error
    assert not Path("m.zarr").exists()
    done = told(capsys, explain(network, "x.npy", "m.zarr", "--window", 127.5, 255, "--json"))
    assert done["notes"] == ["2 images: intensities: the window given"]
    told(capsys, explain(network, "share.npy", "s.zarr", "--json"))
    np.testing.assert_allclose(logits("m.zarr"), logits("s.zarr"), rtol=1e-5)
    assert explain(None, "x.npy", "own.zarr") == 0  # a model of one's own knows what it takes
    np.testing.assert_allclose(logits("own.zarr")[:, 0], 255 * share.mean((1, 2)), rtol=1e-5)


def test_arrays_are_resized_as_files_are(network, capsys) -> None:
    np.save("x.npy", draw.uniform(size=(2, 12, 20)).astype(np.float32))
    done = told(capsys, explain(network, "x.npy", "m.zarr", "--json"))
    assert done["explained"] == 2
    assert "2 images: made square with zeros and resized to 16x16, antialiased" in done["notes"]
    told(capsys, explain(None, "x.npy", "own.zarr", "--image-size", 8, "--json"))
    assert zarr.open("own.zarr", mode="r")["maps"].shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--image-size", 32), "image_size: the checkpoint's network takes 16, got 32"),
        (("--channels", 3), "channels: the checkpoint's network takes 1, got 3"),
        (("--volumes",), "volumes: the checkpoint's network takes pictures"),
        (("--slices", "axal"), "slices: expected axis"),
        (("--window", 0, 0), "window: expected CENTER WIDTH"),
        (("--window", 0, 1, "--intensity", "raw"), "window: stands in place of --intensity raw"),
    ],
)
def test_settings_without_effect_are_errors(options, message, network, capsys) -> None:
    picture("in/a.png", 16, 16)
    assert explain(network, "in", "out", *options) == 1
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_pictures_of_mixed_sizes_are_all_explained_or_none(network, capsys) -> None:
    for number, shape in enumerate([(16, 16), (20, 24), (8, 8), (16, 16), (9, 30)]):
        picture(f"in/{number}.png", *shape)
    assert told(capsys, explain(network, "in", "m.zarr", "--json"))["explained"] == 5
    assert explain(None, "in", "own.zarr") == 1
    assert "images: of 4 sizes, 16x16 (2), 20x24 (1)" in capsys.readouterr().err
    done = told(capsys, explain(None, "in", "own.zarr", "--image-size", 12, "--json"))
    assert (done["explained"], done["skipped"]) == (5, [])


def test_every_page_and_every_other_file_is_counted(network, capsys) -> None:
    picture("in/a.png", 16, 16)
    first, *rest = [Image.fromarray(draw.integers(0, 256, (9, 9), np.uint8)) for _ in range(3)]
    first.save("in/b.tif", save_all=True, append_images=rest)
    first.save("in/c.gif", save_all=True, append_images=rest)
    for name in ("labels.csv", "d.svs", "e.mat"):
        Path("in", name).write_text("")
    done = told(capsys, explain(network, "in", "m.zarr", "--json"))
    assert (done["explained"], done["skipped"]) == (7, [])
    assert {each["source"]: each["fault"] for each in done["not_used"]} == {
        "labels.csv": "not an image",
        "d.svs": "openslide-python reads it",
        "e.mat": "scipy.io or h5py reads it",
    }
    assert explain(network, "in", "out") == 0
    out = capsys.readouterr().out
    assert "not used: 1, openslide-python reads it: d.svs" in out
    assert "7 images explained, 0 skipped" in out
    assert {path.name for path in Path("out").rglob("00*.png")} == {"000.png", "001.png", "002.png"}


def test_a_checkpoint_of_before_is_read_and_knows_its_channels(network, tmp_path) -> None:
    about = json.loads((network / "model.json").read_text())
    assert (about["channels"], about["range"]) == (1, [0, 1])
    for name in ("channels", "range"):
        del about[name]
    (tmp_path / "model.json").write_text(json.dumps(about))
    (tmp_path / "params.npz").write_bytes((network / "params.npz").read_bytes())
    saved = checkpoint.load(tmp_path)
    assert (saved.channels, saved.range) == (1, (0, 1))


def test_slices_of_pictures_alone_are_refused(network, capsys) -> None:
    picture("in/a.png", 16, 16)
    assert explain(network, "in", "m.zarr", "--slices", "0::2") == 1
    assert "slices: of no effect in this call; none of the images is of" in capsys.readouterr().err
    stack = [Image.fromarray(draw.integers(0, 256, (16, 16), np.uint8)) for _ in range(4)]
    stack[0].save("in/b.tif", save_all=True, append_images=stack[1:])
    assert told(capsys, explain(network, "in", "m.zarr", "--slices", "0::2", "--json"))
    assert len(logits("m.zarr")) == 3
