"""`jaxsal evaluate`: a network on other images, by the names of classes, never on its own."""

import csv
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxsal import cli
from jaxsal.commands import evaluation, seen, summaries
from jaxsal.data import pipeline
from jaxsal.data.examples import Examples
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
    assert done["by_patient"] == {f"patient {n}": [3, 3] for n in range(1, 5)}
    unknown = "trained or validated on: a model of --apply does not say."
    assert done["warnings"] == [f"It is unknown which of these images the network was {unknown}"]
    found = done["localisation"]
    assert found["images"] == 5 and list(found["methods"]) == ["gradient", "input_x_gradient"]
    assert found["area"] == pytest.approx(32 / 256)
    # The gradient is even: as much of it lies in the mask as there is of the area.
    assert found["methods"]["gradient"]["relevance_mass"][0] == pytest.approx(32 / 256, rel=1e-4)
    assert found["above_even"]["gradient"] == [pytest.approx(0, abs=1e-4), None, None]
    assert {p.name for p in Path("out").iterdir()} == {
        *("metrics.json", "report.html", "predictions.csv", "figures")
    }
    assert Path("out/figures/maps.png").exists()
    page = Path("out/report.html").read_text()
    told = summaries.evaluate(done)
    assert "  patient 1" in told and "patient patient" not in told
    assert "Do the maps lie on the masks?" in page and "4 patients are too few" in page
    assert "It names 100.0 % of 12 images right; always answering dark would be right for" in page
    assert "difference: none. Not shown of: gradient, input_x_gradient." in page  # too few patients
    assert "It finds every image of every class." in page
    with open("out/predictions.csv") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 12 and all(row["label"] == row["predicted"] for row in rows)
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert next(iter(metrics)) == "accuracy" and metrics["mistakes"] == []
    assert np.trapezoid(metrics["roc"]["dark"][1], metrics["roc"]["dark"][0]) == 1


def test_whose_images_are_is_not_told(place, capsys) -> None:
    """Of a table, a pattern, or folders, in no output; the same images are the same patient's."""
    images = sorted(path for path in Path("scans").rglob("*.png") if "mask" not in path.name)
    rows = [(path.name, path.parent.name, f"MRN77{n % 3}") for n, path in enumerate(images)]
    kept.table(Path("l.csv"), "file,label,patient", rows)
    model = ("--apply", "tests.commands.test_evaluate:bright", *MODEL, "--classes", "dark,light")
    done = evaluate(capsys, *model, "--explain", 0, "--labels", "l.csv")
    assert len(done["by_patient"]) == 3
    written = [json.dumps(done).encode(), *(p.read_bytes() for p in Path("out").rglob("*.*"))]
    assert len(written) > 4 and not any(b"MRN77" in each for each in written)
    with open("out/predictions.csv") as lines:
        whose = {row["name"]: row["patient"] for row in csv.DictReader(lines)}
    groups = {}
    for name, _, patient in rows:
        folder = "dark" if name.startswith("dark") else "light"
        groups.setdefault(patient, set()).add(whose[f"{folder}/{name}"])
    assert [*groups.values()] == [{"patient 1"}, {"patient 2"}, {"patient 3"}]


def test_where_images_are_cached_is_told(place, capsys) -> None:
    model = ("--apply", "tests.commands.test_evaluate:bright", *MODEL, "--explain", 0)
    assert cli.main(["evaluate", *map(str, model), "--classes", "dark,light"]) == 0
    assert f"  cached in {place}/cache/" in capsys.readouterr().out
    assert f"{place}/cache" not in Path("out/metrics.json").read_text()


def test_names_not_positions_tell_which_class_is_which(place, capsys) -> None:
    model = ("--apply", "tests.commands.test_evaluate:bright", *MODEL, "--explain", 0)
    done = evaluate(capsys, *model, "--classes", "light,dark")  # the wrong way round
    assert done["accuracy"] == 0 and "mistakes" not in done
    named = json.loads(Path("out/metrics.json").read_text())["mistakes"]
    assert len(named) == 12 and Path("out/figures/worst_mistakes.png").exists()
    assert cli.main(["evaluate", *map(str, model), "--classes", "light,dark"]) == 0
    out = capsys.readouterr().out
    assert "WARNING: No better than chance" in out and "accuracy on 12 others 0.000" in out


@pytest.mark.parametrize("column", ["split", "fold", ""])
def test_a_table_s_split_is_told_to_be_of_no_effect(column, place, capsys) -> None:
    names = [f"{label}P{n // 3}_{n}.png" for label in ("dark", "light") for n in range(6)]
    rows = [(name, name[:-8], "train" if column == "split" else 1) for name in names]
    table = kept.table(place / "t.csv", f"file,label,{column or 'other'}", rows)
    options = ("--apply", "tests.commands.test_evaluate:bright", "--classes", "dark,light")
    told = evaluate(capsys, *options, *MODEL, "--labels", table, "--explain", 0)
    noted = "all images are tested, whatever their split" in told["understood"]["notes"]
    assert noted == bool(column) and sum(told["understood"]["counts"]["test"].values()) == 12


def test_one_logit_is_that_of_the_second_class(place, capsys) -> None:
    model = ("--apply", "tests.commands.test_evaluate:one_logit", *MODEL, "--explain", 0)
    assert evaluate(capsys, *model, "--classes", "dark,light")["accuracy"] == 1


def test_a_model_may_hold_functions_and_flags_beside_its_arrays(place, capsys, monkeypatch) -> None:
    """As an Equinox module does."""
    eqx = pytest.importorskip("equinox")
    layers = [eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(SIZE**2, 2, key=jax.random.key(0))]
    own = eqx.nn.Sequential([*layers, eqx.nn.Dropout(0.5, inference=True)])
    monkeypatch.setattr(sys.modules[__name__], "module", own, raising=False)
    sign = np.array([-1.0, 1.0], np.float32)
    weights = {"weight": np.tile(sign[:, None], SIZE**2), "bias": -sign * SIZE**2 / 2}
    np.savez("p.npz", **{f"layers.1.{name}": array for name, array in weights.items()})
    model = ("--apply", "tests.commands.test_evaluate:module", *MODEL, "--method", "gradient")
    done = evaluate(capsys, *model, "--classes", "dark,light")
    assert done["accuracy"] == 1 and done["localisation"]["images"] == 12


def half(image: np.ndarray) -> np.ndarray:
    return image / 2


def cropped(image: np.ndarray) -> np.ndarray:
    return image[2:]


def test_images_are_preprocessed_as_by_explain(place, capsys) -> None:
    """Dark and light part at a half; halved, less a quarter, by a quarter they part at 0."""
    np.savez("p.npz", middle=np.zeros((1, 1), np.float32), scale=np.float32(20))
    own = "tests.commands.test_evaluate"
    model = ("--apply", f"{own}:bright", *MODEL, "--classes", "dark,light", "--method", "gradient")
    steps = ("--preprocess", f"{own}:half", "--mean", 0.25, "--std", 0.25)
    done = evaluate(capsys, *model, *steps)
    assert done["accuracy"] == 1 and done["localisation"]["images"] == 12
    assert f"preprocess {own}:half, mean (0.25,), std (0.25,)" in done["data"]
    assert "std: expected numbers above 0" in failed(capsys, *model, "--std", 0)
    error = failed(capsys, *model, "--preprocess", f"{own}:cropped")
    assert "made images (14, 16, 1) of those with masks (16, 16)" in error


def channels_first(image: np.ndarray) -> np.ndarray:
    return np.moveaxis(image, -1, 0)


def test_maps_of_channels_first_are_held_against_masks(place, capsys) -> None:
    own, method = "tests.commands.test_evaluate", "input_x_gradient"
    model = ("--apply", f"{own}:bright", *MODEL, "--classes", "dark,light", "--method", method)
    last = evaluate(capsys, *model)["localisation"]
    first = evaluate(capsys, *model, "--preprocess", f"{own}:channels_first")["localisation"]
    assert first["images"] == 12 and Path("out/figures/maps.png").exists()
    for name, (mean, *_) in first["methods"][method].items():
        assert mean == pytest.approx(last["methods"][method][name][0], rel=1e-4)


def flipped(image: np.ndarray) -> np.ndarray:
    return image[::-1]


def at_random(image: np.ndarray) -> np.ndarray:
    return image + np.random.default_rng().normal(size=image.shape) / 1e6


def test_pixels_that_are_moved_are_not_held_against_masks(place, capsys) -> None:
    own = "tests.commands.test_evaluate"
    model = ("--apply", f"{own}:bright", *MODEL, "--classes", "dark,light")
    flip = ("--preprocess", f"{own}:flipped")
    error = failed(capsys, *model, *flip)
    assert f"preprocess: {' '.join(flip)} moves pixels" in error and "or --explain 0" in error
    assert evaluate(capsys, *model, *flip, "--explain", 0)["accuracy"] == 1
    done = evaluate(capsys, *model, "--preprocess", f"{own}:at_random", "--method", "gradient")
    assert any(warning.startswith("No mark on an image shows") for warning in done["warnings"])


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
    for wrong in ("dark,,light", "dark,dark"):
        assert "classes: expected different names" in failed(capsys, *model, "--classes", wrong)
    assert not Path("out").exists()


@pytest.fixture
def network(place) -> Path:
    """An untrained network that is said to have learned from four images, and chosen by two."""
    model = CNN(classes=2, widths=(2,))
    variables = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 1)))
    folder = place / "net"
    folder.mkdir()
    checkpoint.save(folder, model, variables, classes=("dark", "light"), image_size=SIZE)
    examples = pipeline.folder(place / "scans", image_size=SIZE).examples
    rows = [np.array(part, np.int32) for part in ([0, 1, 6, 7], [2, 8])]
    seen.save(folder, *(take(examples, part) for part in rows))
    return folder


def test_what_it_was_trained_or_validated_on_is_left_out(network, capsys) -> None:
    model = ("--checkpoint", network, "--images", "scans", "--out", "out", "--explain", 0)
    done = evaluate(capsys, *model)
    assert np.sum(done["confusion"]) == 6
    left_out = done["understood"]["left_out"]
    counts = {reason: left_out[reason]["count"] for reason in left_out if "network" in reason}
    assert counts == {"the network was trained on it": 4, "the network was validated on it": 2}
    assert done["seen"] == {"trained": 4, "validated": 2, "tested": False}
    assert cli.main(["evaluate", *map(str, model)]) == 0
    assert "; left out: 4 trained on, 2 validated on\n" in capsys.readouterr().out
    again = evaluate(capsys, *model, "--seen")
    assert np.sum(again["confusion"]) == 12 and again["seen"]["tested"]
    assert "these images: 4 trained on, 2 validated on." in again["warnings"][-1]


def content() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_results_of_one_command_are_not_replaced_by_another_s(network, capsys) -> None:
    """A training by its evaluation, nor the other way round; nor what is read, or a user's own."""
    model = ("--checkpoint", network, "--images", "scans", "--explain", 0)
    evaluate(capsys, *model, "--out", "out")
    table = evaluate(capsys, *model, "--out", "out")["out"] + "/predictions.csv"
    Path("link").symlink_to(network)
    Path("mine/figures").mkdir(parents=True)
    Path("mine/figures/roc_curves.png").write_text("")
    before = content()
    for out in (network, "link", "net"):
        error = failed(capsys, *model, "--out", out)
        assert f"out: '{out}' holds a training; expected another folder, or none yet, for" in error
    error = failed(capsys, *model, "--labels", table, "--out", "out")
    assert "out: 'out/predictions.csv' is one of the files that are read" in error
    error = failed(capsys, *model, "--out", "mine")
    assert "out: 'mine/figures/roc_curves.png' is there, in a folder that is no run's" in error
    for command, out, error in (
        ("train --images scans", "out", "out: 'out' holds an evaluation; expected another folder"),
        ("train --images scans", "mine", "out: 'mine/figures/roc_curves.png' is there, in a fol"),
        ("explain --checkpoint net --images scans", "net", "out: 'net' holds a training; expect"),
        ("explain --checkpoint net --images scans", "out", "out: 'out' holds an evaluation; exp"),
    ):
        assert cli.main([*command.split(), "--out", out]) == 1
        assert error in capsys.readouterr().err
    assert content() == before


def test_which_chose_the_epoch_may_be_unknown(network, capsys) -> None:
    with np.load(network / seen.FILE) as kept:
        old = {name: kept[name] for name in ("digests", "thumbnails")}
    np.savez(network / seen.FILE, **old)
    model = ("--checkpoint", network, "--images", "scans", "--out", "out", "--explain", 0)
    done = evaluate(capsys, *model)
    assert np.sum(done["confusion"]) == 8
    assert any("validated on: trained_on.npz is of an earlier" in w for w in done["warnings"])


def test_a_checkpoints_classes_may_be_called_otherwise(network, capsys) -> None:
    Path("scans/dark").rename("scans/no")
    Path("scans/light").rename("scans/yes")
    model = ("--checkpoint", network, "--images", "scans", "--out", "out", "--explain", 0)
    assert "are none of the network's ['dark', 'light']" in failed(capsys, *model)
    assert evaluate(capsys, *model, "--classes", "no,yes")["classes"] == ["no", "yes"]


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", "half", "other"])
def test_what_it_was_trained_on_may_be_unknown(content, network) -> None:
    file = network / seen.FILE
    whole = file.read_bytes()
    file.unlink()
    if content == "other":
        np.savez(file, digests=np.array(["a"]), thumbnails=np.zeros((2, 3, 5)))
    elif content is not None:
        file.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    images = np.random.default_rng(0).random((3, SIZE, SIZE, 1), np.float32)
    found = seen.among(network, images)
    assert seen.FILE in found.unknown and not any(each.any() for each in found[:3])


def test_that_it_is_unknown_is_said(network, capsys) -> None:
    (network / seen.FILE).unlink()
    model = ("--checkpoint", network, "--images", "scans", "--out", "out", "--explain", 0)
    warnings = evaluate(capsys, *model)["warnings"]
    assert any("on: the checkpoint has no trained_on.npz" in line for line in warnings)


def test_a_network_is_not_tested_on_its_own_images_alone(network, capsys) -> None:
    for path in Path("scans").rglob("*.png"):
        if int(path.stem.split("_")[1]) > 2:
            path.unlink()
    model = ("--checkpoint", network, "--images", "scans", "--out", "out", "--explain", 0)
    error = failed(capsys, *model)
    assert "knows all 6 of them: 4 trained on, 2 validated on; --seen" in error


def test_a_class_that_is_not_there_is_said(network, capsys) -> None:
    model = ("--checkpoint", network, "--out", "out")
    kept.write(Path("some"), [f"LIGHT/{n}.bmp" for n in range(3)])
    done = evaluate(capsys, *model, "--images", "some")
    assert "no masks: no maps are made" in done["understood"]["notes"]
    assert done["confusion"][0] == [0, 0] and "No image of 'dark' is tested." in done["warnings"]


def test_a_class_alone_is_no_folder_around_its_patients(place, capsys) -> None:
    """Which are called as classes, too."""
    model = ("--apply", "tests.commands.test_evaluate:bright", *MODEL, "--explain", 0)
    kept.write(Path("some"), [f"1/{patient}/{n}.bmp" for patient in "012" for n in "ab"])
    done = evaluate(capsys, *model, "--images", "some", "--classes", "0,1")
    assert [sum(row) for row in done["confusion"]] == [0, 6]


def test_mistakes_come_by_how_sure_the_network_was() -> None:
    """Of three classes the least probable true one is no sign of it."""
    probabilities = np.array([[0.5, 0.5 - 1e-3, 1e-3], [0.7, 0.3, 0], [0.1, 0.9, 0], [0, 0.6, 0.4]])
    none = np.zeros(4, np.int32)
    tested = Examples(
        np.zeros((4, 1, 1, 1), np.float32),
        np.array([2, 1, 1, 0], np.int32),
        np.zeros((4, 1, 1), bool),
        none,
        np.array([""] * 4),
        np.array(["half", "sure", "right", "nearly"]),
    )
    found = evaluation.mistakes(probabilities, tested, ("a", "b", "c"))
    assert [each["name"] for each in found] == ["sure", "nearly", "half"]
    assert [each["probability"] for each in found] == [0.7, 0.6, 0.5]
