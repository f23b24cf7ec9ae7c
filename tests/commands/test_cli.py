"""The command: what it writes, what it says, how it ends."""

import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from PIL import Image

import jaxsal
from jaxsal import cli
from jaxsal.commands import method_syntax
from jaxsal.models import CNN
from jaxsal.training import checkpoint
from tests import toy

draw = np.random.default_rng(0)
PAGES = ("index.json", "index.html", "contact_sheet.png")
"""Beside the pictures."""


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    model = CNN(classes=2, widths=(4,))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    checkpoint.save(folder, model, variables, classes=("no", "yes"), image_size=16)
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Real kinds of files, of several sizes, one cut short, one that is no image."""
    folder = tmp_path_factory.mktemp("scans")
    (folder / "more").mkdir()
    for name, shape in {"2.png": (20, 24), "10.jpg": (16, 16), "more/c.png": (9, 30, 3)}.items():
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(folder / name)
    (folder / "cut.png").write_bytes((folder / "2.png").read_bytes()[:100])
    (folder / "text.jpeg").write_text("not an image")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def run(capsys, *arguments: object) -> dict:
    assert cli.main([*map(str, arguments), "--json"]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    return json.loads(out)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_of_images_becomes_overlays(network, scans, tmp_path, capsys) -> None:
    options = ("--checkpoint", network, "--images", scans, "--method", "gradient", "grad_cam")
    done = run(capsys, "explain", *options, "--out", tmp_path / "out")
    assert (done["explained"], len(done["skipped"])) == (3, 2)
    assert {each["source"] for each in done["skipped"]} == {"cut.png", "text.jpeg"}
    expected = {"2.png", "10.png", "more/c.png", *PAGES}
    assert files(tmp_path / "out") == {*expected, *(f"_thumbnails/{n}.png" for n in (0, 1, 4))}
    assert Image.open(tmp_path / "out/2.png").size[0] > 200
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert [entry["number"] for entry in index] == list(range(5))
    assert sum("fault" in entry for entry in index) == 2


def test_pictures_are_not_taken_for_images_the_next_time(
    network, scans, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes((scans / "2.png").read_bytes())
    for where in (".", "**/*.png"):
        for _ in range(2):
            options = ("--checkpoint", network, "--images", where, "--method", "gradient")
            assert run(capsys, "explain", *options, "--out", "overlays")["explained"] == 1
    pages = {f"overlays/{name}" for name in ("a.png", "_thumbnails/0.png", *PAGES)}
    assert files(tmp_path) == {"a.png", *pages}


def test_a_store_holds_the_maps_and_goes_on(network, scans, tmp_path, capsys) -> None:
    out = tmp_path / "maps.zarr"
    options = ("--checkpoint", network, "--images", scans, "--method", "grad_cam", "--out", out)
    done = run(capsys, "explain", *options, "--targets", "yes", "--chunk", 2)
    assert (done["explained"], done["resumed"], done["complete"]) == (3, 0, True)
    assert zarr.open(str(out), mode="r").attrs["jaxsal"]["layers"] == done["layers"]
    assert len(done["layers"]) == 1 and "by relu in CNN" in done["layers"][0]
    assert run(capsys, "explain", *options, "--targets", 1, "--chunk", 2)["resumed"] == 5
    found = zarr.open(str(out), mode="r")
    assert found["maps"].shape == (5, 16, 16) and found["logits"].shape == (5, 2)
    assert sorted(found["source"][:]) == sorted(
        ["10.jpg", "2.png", "cut.png", "more/c.png", "text.jpeg"]
    )
    assert cli.main(["explain", *map(str, options), "--targets", "no", "--chunk", "2"]) == 1
    assert "jaxsal: error: out: " in capsys.readouterr().err


def test_any_function_and_array(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)
    images = toy.images(5)
    np.save(tmp_path / "x.npy", images)
    np.savez(tmp_path / "p.npz", **toy.params())
    path = "integrated_gradients(steps=3, baseline='b.npy')"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    np.save("b.npy", images[0])
    model = ("--apply", "tests.toy:apply", "--params", "p.npz", "--images", "x.npy")
    run(capsys, "explain", *model, "--method", path, "--out", "m.zarr")
    explain = jaxsal.explainer(toy.apply, jaxsal.integrated_gradients, steps=3, baseline=images[0])
    toy.close(zarr.open("m.zarr", mode="r")["maps"][:], explain(toy.params(), images))
    noisy = "smoothgrad(gradient, samples=2)"
    done = run(capsys, "explain", *model, "--method", noisy, "--out", "n.zarr", "--seed", 3)
    assert done["explained"] == 5


METHODS_WITH_FILES = (
    "feature_ablation(segments='parts/grid.npy')",
    'feature_ablation(segments="more/parts/grid.npy")',
    "feature_ablation(segments='grid.npy',  baseline=1.0)",
    "grad_cam(layer='CNN/relu')",
)
NAMES_OF_FILES = (
    "feature_ablation(segments='grid.npy')",
    "feature_ablation(segments='grid.npy')-2",
    "feature_ablation(segments='grid.npy', baseline=1.0)",
    "grad_cam(layer='CNN.relu')",
)


def test_maps_of_methods_with_files_are_called_without_their_folders() -> None:
    assert method_syntax.names(METHODS_WITH_FILES) == NAMES_OF_FILES
    assert method_syntax.names(NAMES_OF_FILES) == NAMES_OF_FILES


@pytest.mark.parametrize("out", ["m.zarr", "drawn"])
def test_files_of_other_folders_are_options_of_several_methods(
    out, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    images, rows = toy.images(2), np.arange(64, dtype=np.int32).reshape(8, 8)
    np.save("x.npy", images)
    np.savez("p.npz", **toy.params())
    for folder, parts in (("parts", rows // 16), ("more/parts", rows // 32), (".", rows % 2)):
        Path(folder).mkdir(parents=True, exist_ok=True)
        np.save(f"{folder}/grid.npy", parts)
    model = ("--apply", "tests.toy:apply", "--params", "p.npz", "--images", "x.npy")
    done = run(capsys, "explain", *model, "--method", *METHODS_WITH_FILES[:3], "--out", out)
    assert done["explained"] == 2 and done["not_drawn"] == []
    if out == "m.zarr":
        maps = zarr.open(out, mode="r")["maps"]
        assert {*maps.keys()} == {*NAMES_OF_FILES[:3]}
        explain = jaxsal.explainer(toy.apply, jaxsal.feature_ablation, segments=rows // 32)
        toy.close(maps[NAMES_OF_FILES[1]][:], explain(toy.params(), images))


def test_channels_first_are_drawn_as_channels_last(tmp_path, capsys, monkeypatch) -> None:
    """An array in PyTorch's layout; a model of dense layers has to be told."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    monkeypatch.chdir(tmp_path)
    images = toy.images(2)
    np.savez("p.npz", **toy.params())
    np.save("w.npy", np.ones((64, 3), np.float32))
    np.save("last.npy", images)
    np.save("first.npy", np.moveaxis(images, -1, 1))

    def drawn(function: str, params: str, *options: object) -> list[bytes]:
        model = ("--apply", f"tests.toy:{function}", "--params", params, "--out", "out")
        done = run(capsys, "explain", *model, "--method", "occlusion(window=4)", *options)
        assert done["explained"] == 2
        return [Path(f"out/{number}.png").read_bytes() for number in (0, 1)]

    expected = drawn("apply", "p.npz", "--images", "last.npy")
    assert drawn("channels_first", "p.npz", "--images", "first.npy") == expected
    np.save("rows.npy", images.reshape(2, 4, 4, 4))
    drawn("linear", "w.npy", "--images", "rows.npy", "--spatial-axes", 1, 2)
    model = ("--apply", "tests.toy:linear", "--params", "w.npy", "--out", "out")
    options = (*model, "--images", "rows.npy", "--method", "occlusion(window=2)")
    assert cli.main(["explain", *options]) == 1
    assert "spatial_axes: the model has no convolution" in capsys.readouterr().err


def signed(params: dict, images: jax.Array) -> jax.Array:
    """A regression: the sum of an image."""
    return params["scale"] * images.sum((1, 2))


def test_what_the_model_returns_is_said(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    images = np.where(np.arange(2) == 0, -1, 1).reshape(2, 1, 1, 1) * np.ones((2, 8, 8, 1))
    np.save("x.npy", images.astype(np.float32))
    np.savez("p.npz", scale=np.ones((1, 1), np.float32))
    model = ("explain", "--apply", "tests.commands.test_cli:signed", "--params", "p.npz")
    model += ("--images", "x.npy", "--method", "gradient", "--output", "value")
    run(capsys, *model, "--out", "m.zarr")
    found = zarr.open("m.zarr", mode="r")
    assert (found["maps"][:] == 1).all()  # not turned around where the sum is negative
    np.testing.assert_array_equal(found["values"][:], [[-64], [64]])
    run(capsys, *model, "--out", "drawn", "--targets", 0)
    index = json.loads(Path("drawn/index.json").read_text())
    assert [(each["target"], each["values"]) for each in index] == [(0, [-64]), (0, [64])]
    assert cli.main([*map(str, model), "--out", "m", "--targets", "1"]) == 1
    assert "targets: expected" in capsys.readouterr().err


def normed(params, images):
    """x / norm(x): 0 / 0 on a black image."""
    return toy.apply(params, images / jnp.linalg.norm(images, axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("out", ["out", "out.zarr"])
def test_maps_that_are_not_finite_are_said(out, tmp_path, capsys, monkeypatch) -> None:
    images = toy.images(4)
    images[[1, 2]] = 0
    np.save(tmp_path / "x.npy", images)
    np.savez(tmp_path / "p.npz", **toy.params())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    model = (
        "--apply",
        "tests.commands.test_cli:normed",
        "--params",
        "p.npz",
        "--method",
        "gradient",
    )
    done = run(capsys, "explain", *model, "--images", "x.npy", "--out", out)
    assert (done["explained"], done["skipped"], done["complete"]) == (2, [], True)
    unsound = [{"source": each["source"], "fault": each["fault"]} for each in done["not_finite"]]
    assert [each["fault"] for each in unsound] == ["the map and the logits are not finite"] * 2
    if out == "out":
        index = json.loads((tmp_path / "out/index.json").read_text())
        statuses = [entry["status"] for entry in index]
        assert statuses == ["explained", "not finite", "not finite", "explained"]
        assert ["file" in entry for entry in index] == [True, False, False, True]
        assert [entry["target"] == -1 for entry in index] == [False, True, True, False]
        drawn = {"0.png", "3.png", "_thumbnails/0.png", "_thumbnails/3.png"}
        assert files(tmp_path / "out") == {*drawn, *PAGES}
    options = (*model, "--images", "x.npy", "--out", f"again-{out}")
    assert cli.main(["explain", *options]) == 0
    assert re.search(r"2 images explained, 0 skipped.*\n  2 not finite", capsys.readouterr().out)
    np.save("black.npy", 0 * images)
    options = (*model, "--images", "black.npy", "--out", f"black-{out}")
    assert cli.main(["explain", *options]) == 1
    assert "images: none of 4 can be explained; " in capsys.readouterr().err


def test_the_methods_are_listed(capsys) -> None:
    listed = run(capsys, "methods")
    assert set(listed["methods"]) == set(jaxsal.METHODS)
    assert listed["methods"]["occlusion"]["options"]["window"] == ""
    assert cli.main(["methods"]) == 0
    out = capsys.readouterr().out
    for name in (*jaxsal.METHODS, *jaxsal.COMBINATORS):
        assert f"  {name}(" in out


def test_people_get_a_bar_and_a_summary(network, scans, tmp_path, capsys) -> None:
    options = ("--checkpoint", network, "--images", scans / "2.png", "--method", "gradient")
    assert cli.main(["explain", *map(str, options), "--out", str(tmp_path / "out")]) == 0
    out, error = capsys.readouterr()
    assert "1 image explained, 0 skipped" in out and "images/s" in out
    assert "image/s" in error


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> Path:
    """Two classes that a glance tells apart, with a file that is no image."""
    folder = tmp_path_factory.mktemp("classes")
    for kind, mean in (("dark", 60), ("light", 190)):
        (folder / kind).mkdir()
        for number in range(10):
            pixels = np.clip(draw.normal(mean, 20, (20, 24)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(
                folder / kind / f"{kind}{number}.{('png', 'jpg')[number % 2]}"
            )
    (folder / "dark/broken.png").write_bytes(b"")
    return folder


SMALL = ("--epochs", 2, "--image-size", 16, "--widths", 4, "--batch-size", 8)


def test_a_network_is_trained_on_a_folder_resumed_and_explained(classes, tmp_path, capsys) -> None:
    options = ("--images", classes, "--out", tmp_path / "net", *SMALL)
    done = run(capsys, "train", *options)
    assert done["classes"] == ["dark", "light"] and 0 <= done["accuracy"] <= 1
    assert done["resumed"] == 0 and len(done["skipped"]) == 1
    assert np.sum(done["confusion"]) + done["trained_on"] + done["validated_on"] == 20
    metrics = json.loads((tmp_path / "net/metrics.json").read_text())
    assert next(iter(metrics)) == "accuracy" and metrics["accuracy"] == done["accuracy"]
    with np.load(tmp_path / "net/trained_on.npz") as known:  # none of these is an other image
        counts = [len(known[name]) for name in ("digests", "validation_digests")]
    assert counts == [done["trained_on"], done["validated_on"]] and counts[1] > 0
    again = run(capsys, "train", *options)
    assert again["resumed"] == 2 and again["accuracy"] == done["accuracy"]
    options = ("--checkpoint", tmp_path / "net", "--images", classes / "light")
    explained = run(
        capsys, "explain", *options, "--method", "gradient", "--out", tmp_path / "m.zarr"
    )
    assert explained["explained"] == 10
    assert zarr.open(str(tmp_path / "m.zarr"), mode="r")["logits"].shape == (10, 2)


def test_training_shows_a_bar_and_a_summary(classes, tmp_path, capsys) -> None:
    options = ("--images", classes, "--out", tmp_path / "net", *SMALL)
    assert cli.main(["train", *map(str, options)]) == 0
    out, error = capsys.readouterr()
    assert "accuracy on" in out and "skipped: dark/broken.png" in out
    assert "image/s" in error and "loss=" in error and "goes on" not in error
    page = (tmp_path / "net/report.html").read_text()
    rows = re.findall(r"<tr><th>([^<]*)</th>", page[page.index("What was run, and on what") :])
    assert {"commit", "date", "kind", "jax", "epochs"} <= {*rows} and "interrupted" not in page
    shutil.rmtree(tmp_path / "net/checkpoints/2")  # as if it had been killed in that epoch
    assert cli.main(["train", *map(str, options)]) == 0
    out, error = capsys.readouterr()
    assert "goes on after epoch 1 of 2\n" in error and ", after 1 epoch of an earlier run" in out
    page = (tmp_path / "net/report.html").read_text()
    assert "The training was interrupted, and went on after epoch 1 of 2." in page


UNTRAINABLE = {
    "no folder": (["--images", "nowhere"], "images='nowhere' does not exist"),
    "one class": (["--images", "one"], "one': no class folders, expected two or more"),
    "no epochs": (["--epochs", "0"], "epochs: expected at least 1, got 0"),
    "too deep": (["--widths", "4", "4", "4", "4", "4"], "widths: 5 stages"),
    "no rate": (["--learning-rate", "nan"], "learning_rate: expected more than 0"),
    "a fold too many": (["--test-fold", "9"], "test_fold=9, expected one of the folds"),
    "too many devices": (["--devices", "99"], "devices: asked for 99"),
    "a file": (["--out", "file"], "out: 'file' cannot be written to"),
    "strict": (["--strict"], "strict: 1 broken files"),
}


@pytest.mark.parametrize("name", UNTRAINABLE)
def test_errors_of_training_are_one_line(name, classes, tmp_path, capsys, monkeypatch) -> None:
    arguments, message = UNTRAINABLE[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "one/a").mkdir(parents=True)
    given = {"--images": str(classes), "--out": "out", "--image-size": "16", "--widths": "4"}
    given = {key: value for key, value in given.items() if key not in arguments}
    listed = [word for pair in given.items() for word in pair]
    assert cli.main(["train", *listed, *arguments]) == 1
    text, error = capsys.readouterr()
    lines = [line for line in error.splitlines() if line.startswith("jaxsal: ")]
    assert text == "" and len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "out").exists()


WRONG = {
    "no images": (["--images", "nowhere.png"], "images: 'nowhere.png' is no file"),
    "an empty folder": (["--images", "empty"], "images: no image file in empty"),
    "no such method": (
        ["--method", "gradcam"],
        "method: expected a name that `jaxsal methods` lists; got 'gradcam'; did you mean "
        "'grad_cam'",
    ),
    "no such combinator": (["--method", "smothgrad(gradient)"], "did you mean 'smoothgrad'"),
    "no such option": (["--method", "occlusion(size=3)"], "method: occlusion has no option 'size'"),
    "a missing option": (["--method", "occlusion"], "window: occlusion needs this option"),
    "a missing array": (
        ["--method", "smoothgrad(feature_ablation())"],
        r"segments: feature_ablation needs this option, .*feature_ablation\(segments='NAME.npy'\)",
    ),
    "a program": (["--method", "occlusion(window=exit())"], "method: options of .* plain values"),
    "words": (["--method", "grad cam"], "method: 'grad cam' is neither a name"),
    "a combinator of none": (["--method", "smoothgrad"], "method: smoothgrad is of a method"),
    "options by position": (["--method", "occlusion(3)"], "method: occlusion takes options only"),
    "twice": (["--method", "gradient", "gradient"], "method: 'gradient' is named twice"),
    "no such class": (["--targets", "maybe"], "targets: .*no, yes; got 'maybe'"),
    "a class too high": (["--targets", "7"], r"targets: .*\[0, 2\), got 7"),
    "no checkpoint": (["--checkpoint", "empty"], "checkpoint: empty holds no model.json"),
    "two models": (["--apply", "a:b"], "checkpoint: expected --checkpoint DIR, or"),
    "a coordinator alone": (["--processes", "2"], "distributed: --coordinator"),
    "a file for a folder": (["--out", "2.png"], "out: '2.png' cannot be written to"),
    "too long a name": (["--out", "a" * 300], "out: .* cannot be written to .File name too long"),
    "the images' own folder": (["--images", ".", "--out", "."], "out: expected another place"),
    "files without labels": (
        ["--targets", "label"],
        "targets: label, but the folders of the images are",
    ),
    "a full folder": (["--out", "full.zarr"], "out: .*full.zarr is no store and not empty"),
    "strict": (["--strict", "--images", "*.png"], "strict: cut.png: "),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("out", ["out", "out.zarr"])
def test_errors_are_one_line(name, out, network, scans, tmp_path, capsys, monkeypatch) -> None:
    arguments, message = WRONG[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full.zarr").mkdir()
    (tmp_path / "full.zarr/thesis").write_text("")
    for file in ("2.png", "cut.png"):
        (tmp_path / file).write_bytes((scans / file).read_bytes())
    given = {"--checkpoint": str(network), "--images": "2.png", "--out": out}
    given = {key: value for key, value in given.items() if key not in arguments}
    listed = [word for pair in given.items() for word in pair]
    assert cli.main(["explain", *listed, "--method", "gradient", *arguments]) == 1
    text, error = capsys.readouterr()
    lines = [line for line in error.splitlines() if line.startswith("jaxsal: ")]
    assert text == "" and len(lines) == 1
    assert re.search(message, lines[0]), lines[0]


def misspelt(params: dict, images: jax.Array) -> jax.Array:
    return toy.aply(params, images)  # type: ignore[attr-defined]


def misspelt_later(params: dict, images: jax.Array) -> jax.Array:
    return misspelt({"conv": params["conv"]}, images)


def misspelt_image(image: np.ndarray) -> np.ndarray:
    return image.halved()  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", ["", "1"])
@pytest.mark.parametrize("name", ["misspelt", "misspelt_later", "misspelt_image"])
def test_an_error_in_the_user_s_own_function_has_its_traceback_if_asked(
    name, asked, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("JAXSAL_TRACEBACK", asked)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    np.save("x.npy", toy.images(2))
    np.savez("p.npz", **toy.params())
    own = f"tests.commands.test_cli:{name}"
    given = ("--apply", "tests.toy:apply", "--preprocess", own) if "image" in name else ()
    given = given or ("--apply", own)
    options = (*given, "--params", "p.npz", "--images", "x.npy", "--method", "gradient")
    assert cli.main(["explain", *options, "--out", "m.zarr", "--json"]) == 1
    *above, line = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxsal: error: ") and "AttributeError" in line
    assert any(f", in {name}" in each for each in above) == bool(asked) == bool(above)


@pytest.mark.parametrize(
    "arguments", [[], ["explain"], ["explian"], ["explain", "--image", "a"], ["methods", "x"]]
)
def test_misuse_ends_with_two(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    capsys.readouterr()


def test_for_an_option_misspelt_that_of_the_command_is_offered(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--images", "a", "--out", "b", "--imagesize", "3"])
    error = capsys.readouterr().err
    assert "--image-size INT" in error and "run jaxsal train --help" in error
    assert "checkpoint" not in error  # of the option that explain and evaluate have


def test_help_reads_like_documentation(capsys) -> None:
    for command in ([], ["explain"], ["train"], ["evaluate"], ["methods"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*command, "--help"])
        assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "JAXSAL_TRACEBACK=1" in out
    assert "Exit codes" in out and "--checkpoint" in out and "occlusion(window=8)" in out
    assert "grid.npy" in out and out.count("JAXSAL_CACHE") >= 2
