"""`jaxsal evaluate`: a network on other images, by the names of classes, never on its own."""

import csv
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxsal import cli
from jaxsal.commands import seen
from jaxsal.data import pipeline
from jaxsal.data.splits import take
from jaxsal.models import CNN
from jaxsal.training import checkpoint
from tests.data import collections as kept

SIZE = 16


def bright(params: dict, images: np.ndarray) -> np.ndarray:
    """Two logits: how dark and how bright an image is."""
    mean = images.mean((1, 2, 3))[:, None] - params["middle"]
    return params["scale"] * (mean * np.array([[-1.0, 1.0]], np.float32))


def one_logit(params: dict, images: np.ndarray) -> np.ndarray:
    return bright(params, images)[:, 1:]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """Dark and light images, with masks, of two patients each; and a function that knows them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    monkeypatch.setenv("JAXSAL_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for label, mean in (("dark", 60), ("light", 190)):
        for n in range(6):
            folder = tmp_path / "scans" / label
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(random.normal(mean, 20, (SIZE, SIZE)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{label}P{n // 3}_{n}.png")
            outline = np.zeros((SIZE, SIZE), np.uint8)
            outline[:4, :8] = 255
            Image.fromarray(outline).save(folder / f"{label}P{n // 3}_{n}_mask.png")
    np.savez("p.npz", middle=np.full((1, 1), 0.5, np.float32), scale=np.float32(20))
    return tmp_path


MODEL = ("--params", "p.npz", "--image-size", SIZE, "--images", "scans", "--out", "out")


def evaluate(capsys, *options: object) -> dict:
    assert cli.main(["evaluate", *map(str, options), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def failed(capsys, *options: object) -> str:
    assert cli.main(["evaluate", *map(str, options)]) == 1
    return capsys.readouterr().err


def test_a_function_is_tested_and_its_maps_are_held_against_masks(place, capsys) -> None:
    model = ("--apply", "tests.commands.test_evaluate:bright", *MODEL, "--classes", "dark,light")
    methods = ("--method", "gradient", "input_x_gradient", "--explain", 5)
    done = evaluate(capsys, *model, *methods)
    assert done["accuracy"] == 1 and done["confusion"] == [[6, 0], [0, 6]]
    assert (done["bootstrap"], done["clusters"], done["accuracy_interval"]) == ("patient", 4, None)
    assert done["by_patient"]["lightP1"] == [3, 3] and done["warnings"] == []
    found = done["localisation"]
    assert found["images"] == 5 and list(found["methods"]) == ["gradient", "input_x_gradient"]
    assert found["area"] == pytest.approx(32 / 256)
    # The gradient is even: as much of it lies in the mask as there is of the area.
    assert found["methods"]["gradient"]["relevance_mass"][0] == pytest.approx(32 / 256, rel=1e-4)
    assert {p.name for p in Path("out").iterdir()} == {
        *("metrics.json", "report.html", "predictions.csv", "figures")
    }
    assert Path("out/figures/maps.png").exists()
    page = Path("out/report.html").read_text()
    assert "Do the maps lie on the masks?" in page and "4 patients are too few" in page
    assert "It names 100.0 % of 12 images right; always answering dark would be right for" in page
    assert "mass: none. Not shown of: gradient, input_x_gradient." in page  # too few patients
    assert "It finds every image of every class." in page
    with open("out/predictions.csv") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 12 and all(row["label"] == row["predicted"] for row in rows)
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert next(iter(metrics)) == "accuracy" and metrics["mistakes"] == []
    assert np.trapezoid(metrics["roc"]["dark"][1], metrics["roc"]["dark"][0]) == 1


def test_names_not_positions_tell_which_class_is_which(place, capsys) -> None:
    model = ("--apply", "tests.commands.test_evaluate:bright", *MODEL, "--explain", 0)
    done = evaluate(capsys, *model, "--classes", "light,dark")  # the wrong way round
    assert done["accuracy"] == 0 and "mistakes" not in done
    named = json.loads(Path("out/metrics.json").read_text())["mistakes"]
    assert len(named) == 12 and Path("out/figures/worst_mistakes.png").exists()
    assert cli.main(["evaluate", *map(str, model), "--classes", "light,dark"]) == 0
    out = capsys.readouterr().out
    assert "WARNING: No better than chance" in out and "accuracy on 12 others 0.000" in out


def test_one_logit_is_that_of_the_second_class(place, capsys) -> None:
    model = ("--apply", "tests.commands.test_evaluate:one_logit", *MODEL, "--explain", 0)
    assert evaluate(capsys, *model, "--classes", "dark,light")["accuracy"] == 1


def test_one_answer_to_everything_is_said_first(place, capsys) -> None:
    np.savez("p.npz", middle=np.full((1, 1), -9, np.float32), scale=np.float32(20))
    model = ("--apply", "tests.commands.test_evaluate:bright", *MODEL, "--explain", 0)
    assert cli.main(["evaluate", *map(str, model), "--classes", "dark,light"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    assert lines[0] == "WARNING: The network predicts 'light' for 12 of 12 images."


def test_what_is_ambiguous_is_refused(place, capsys) -> None:
    model = ("--apply", "tests.commands.test_evaluate:bright", *MODEL)
    assert "classes: --apply needs --classes" in failed(capsys, *model)
    error = failed(capsys, *model, "--classes", "dark,bright")
    assert "classes ['light'] are none of the network's ['dark', 'bright']" in error
    error = failed(capsys, *model, "--classes", "dark,light,third")
    assert "classes: 3 names, but the network has 2 outputs" in error
    assert not Path("out").exists()


@pytest.fixture
def network(place) -> Path:
    """An untrained network that is said to have seen four of the images."""
    model = CNN(classes=2, widths=(2,))
    variables = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 1)))
    folder = place / "net"
    folder.mkdir()
    checkpoint.save(folder, model, variables, classes=("dark", "light"), image_size=SIZE)
    examples = pipeline.folder(place / "scans", image_size=SIZE).examples
    seen.save(folder, take(examples, np.array([0, 1, 6, 7], np.int32)))
    return folder


def test_what_it_was_trained_on_is_left_out(network, capsys) -> None:
    model = ("--checkpoint", network, "--images", "scans", "--out", "out", "--explain", 0)
    done = evaluate(capsys, *model)
    assert np.sum(done["confusion"]) == 8
    assert done["understood"]["left_out"]["the network was trained on it"]["count"] == 4
    again = evaluate(capsys, *model, "--seen")
    assert np.sum(again["confusion"]) == 12
    assert "trained on 4 of these images" in again["warnings"][-1]


def test_a_network_is_not_tested_on_its_own_images_alone(network, capsys) -> None:
    for path in Path("scans").rglob("*.png"):
        if int(path.stem.split("_")[1]) > 1:
            path.unlink()
    model = ("--checkpoint", network, "--images", "scans", "--out", "out", "--explain", 0)
    assert "trained on all 4 of them; --seen" in failed(capsys, *model)


def test_a_class_that_is_not_there_is_said(network, capsys) -> None:
    model = ("--checkpoint", network, "--out", "out", "--explain", 0)
    kept.write(Path("some"), [f"LIGHT/{n}.bmp" for n in range(3)])
    done = evaluate(capsys, *model, "--images", "some")
    assert done["confusion"][0] == [0, 0] and "No image of 'dark' is tested." in done["warnings"]
