"""`jaxsal train` tells what it understands, refuses what bears no conclusion, marks the rest."""

import json
import os
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxsal import cli
from jaxsal.common import results
from jaxsal.data.understood import PARTS
from jaxsal.models import CNN
from jaxsal.training import checkpoint
from tests.data import collections as kept

SMALL = ("--epochs", "1", "--image-size", "16", "--widths", "4", "--batch-size", "8")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("JAXSAL_CACHE", str(tmp_path_factory.mktemp("cache")))


def understood(capsys, folder: Path, *options: object) -> dict:
    arguments = ["train", "--images", folder, "--dry-run", "--json", *options]
    assert cli.main([str(each) for each in arguments]) == 0
    return json.loads(capsys.readouterr().out)["understood"]


def refused(capsys, folder: Path, *options: object) -> str:
    assert cli.main([str(each) for each in ("train", "--images", folder, *options)]) == 1
    return capsys.readouterr().err


def test_a_dry_run_tells_everything_and_writes_nothing(tmp_path, capsys) -> None:
    folder = kept.write(tmp_path / "set", [f"data/{name}" for name in kept.SEVERAL])
    (folder / "data/benign/broken.png").write_bytes(b"\x89PNG")
    (folder / "notes.txt").write_text("about")
    shutil.copy(folder / "data/benign/benign (0).png", folder / "data/benign/again.png")
    out = tmp_path / "out"
    found = understood(capsys, folder, "--out", out)
    assert not out.exists()
    counts = [
        {c: sum(part[c] for part in found["counts"].values()) for c in found["counts"]["test"]}
    ]
    assert counts == [{"benign": 6, "malignant": 5}]
    assert sum(found["masks"].values()) == 10
    assert found["patients"]["test"] is None and found["copies"]["identical"] == 1
    assert {reason: each["count"] for reason, each in found["left_out"].items()} == {
        "no image (.txt)": 1,
        "cannot be read": 1,
    }
    assert "the masks of 1 image merged" in found["notes"]
    assert cli.main(["train", "--images", str(folder), "--dry-run"]) == 0
    text = capsys.readouterr().out
    for words in ("split by 5 folds", "with a mask", "left out, no image (.txt): 1 (notes.txt)"):
        assert words in text
    assert text.endswith("dry run: nothing is trained\n")


COLLECTIONS = {
    "Training and Testing": (kept.TRAINING_TESTING, 20, 0),
    "IMAGES and MASKS": (kept.PARALLEL, 10, 10),
    "in each class": (kept.IN_CLASS, 10, 10),
    "classes called masks": (kept.WITH_MASK, 10, 0),
}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_collections_are_read_as_meant(name, tmp_path, capsys) -> None:
    names, images, masks = COLLECTIONS[name]
    found = understood(capsys, kept.write(tmp_path, names))
    assert sum(sum(part.values()) for part in found["counts"].values()) == images
    assert sum(found["masks"].values()) == masks and not found["left_out"]


def test_where_images_are_cached_is_told_and_kept_in_no_record(tmp_path, capsys) -> None:
    folder, cache = kept.write(tmp_path / "set", kept.YES_NO), os.environ["JAXSAL_CACHE"]
    assert cli.main(["train", "--images", str(folder), "--dry-run"]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith(f"  cached in {cache}/"))
    assert line.endswith("$JAXSAL_CACHE moves it")
    place = Path(line.split()[2].rstrip(","))
    assert any(place.rglob("*.array_record*"))
    assert cache not in json.dumps(understood(capsys, folder))


def test_a_table_of_labels_patients_and_masks(tmp_path, capsys) -> None:
    folder = kept.write(tmp_path / "set", kept.FLAT)
    rows = [(f"ISIC_{n}", "ab"[n % 2], f"p{n // 2}", n // 2 + 1) for n in range(10)]
    table = kept.table(tmp_path / "l.csv", "image_id,dx,patient_id,fold", rows)
    found = understood(capsys, folder, "--labels", table, "--test-fold", 3)
    assert found["counts"]["test"] == {"a": 1, "b": 1} and found["patients"]["test"] == 1
    assert sum(found["masks"].values()) == 10


def test_what_would_do_nothing_is_said(tmp_path, capsys) -> None:
    folder = kept.write(tmp_path / "set", kept.TRAINING_TESTING)
    error = refused(capsys, folder, "--dry-run", "--test-fold", 2)
    assert "test_fold: of no effect, the images are split by themselves" in error
    found = understood(capsys, folder, "--exclude", "*_3.jpg", "extra/*")
    assert found["left_out"]["excluded"]["count"] == 4
    assert "no file is excluded by 'extra/*'" in found["notes"]


def test_a_test_set_of_one_class_is_refused_but_for_force(tmp_path, capsys) -> None:
    names = [n for n in kept.TRAINING_TESTING if not n.startswith("Testing/no")]
    folder = kept.write(tmp_path / "set", names)
    error = refused(capsys, folder, "--out", tmp_path / "out")
    assert "classes that the test set lacks: ['notumor']" in error and "--force" in error
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def forced(tmp_path_factory) -> Path:
    """A network of one epoch, forced, on a split without one class in its test."""
    place = tmp_path_factory.mktemp("forced")
    names = [n for n in kept.TRAINING_TESTING if not n.startswith("Testing/no")]
    kept.write(place / "set", names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXSAL_CACHE", str(place / "cache"))
        options = ["train", "--images", place / "set", "--out", place / "net", "--force", *SMALL]
        assert cli.main([str(each) for each in options]) == 0
    return place


def test_what_was_forced_marks_every_output(forced, capsys) -> None:
    net = forced / "net"
    metrics = json.loads((net / "metrics.json").read_text())
    assert next(iter(metrics)) == "accuracy"
    assert "the test set lacks: ['notumor']" in metrics["warnings"][-1]
    assert any("No better than chance" in warning for warning in metrics["warnings"])
    assert metrics["clusters"] == 5 and metrics["accuracy_interval"] is None
    page = (net / "report.html").read_text()
    assert 'class="banner"' in page and "the test set lacks" in page and "too few for" in page
    assert page.count("data:image/png;base64") == len(list((net / "figures").glob("*.png"))) >= 4
    rows = (net / "predictions.csv").read_text().splitlines()
    assert rows[0].startswith("name,patient,label,predicted,p(glioma)") and len(rows) == 6


def test_a_training_is_known_by_its_network_or_by_a_checkpoint(forced, tmp_path) -> None:
    assert results.kind(forced / "net") == results.TRAINING
    shutil.copytree(forced / "net/checkpoints", tmp_path / "killed/checkpoints")
    assert results.kind(tmp_path / "killed") == results.TRAINING
    (tmp_path / "metrics.json").write_bytes((forced / "net/metrics.json").read_bytes())
    assert results.kind(tmp_path) == results.EVALUATION


def test_charts_of_a_run_are_no_class_of_the_next_one(forced, tmp_path, capsys) -> None:
    """The images' folder is that of the network too: its figures are told, and not read."""
    figures = len(list((forced / "net/figures").glob("*.png")))
    found = understood(capsys, forced, "--force", "--out", forced / "net")
    assert [*found["counts"]["test"]] == ["glioma", "notumor"]
    left_out = found["left_out"]["written by a run of jaxsal"]
    assert left_out["count"] > figures > 3
    options = ("--checkpoint", forced / "net", "--images", forced, "--out", tmp_path / "out")
    assert cli.main(["evaluate", *map(str, options), "--explain", "0", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["understood"]["left_out"]["written by a run of jaxsal"] == left_out
    assert done["classes"] == ["glioma", "notumor"]


def test_explanations_of_such_a_network_carry_the_warning(forced, tmp_path, capsys) -> None:
    options = ["explain", "--checkpoint", forced / "net", "--images", forced / "set/Testing"]
    options += ["--method", "gradient", "--out", tmp_path / "out"]
    assert cli.main([str(each) for each in options]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    whose = "WARNING: On its own test images, when the network was trained: "
    assert len(told) > 1 and all(line.startswith(whose) for line in told)
    assert told[-1].startswith(f"{whose}classes that the test set lacks")
    assert cli.main([str(each) for each in (*options, "--json")]) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) >= 2


def test_errors_name_what_to_do(tmp_path, capsys) -> None:
    folder = kept.write(tmp_path / "set", kept.YES_NO)
    assert "out: expected --out DIR, or --dry-run" in refused(capsys, folder)
    options = ("--labels", tmp_path / "no.csv", "--dry-run")
    assert "labels: " in refused(capsys, folder, *options)
    assert "group: 'zzz' matches none" in refused(capsys, folder, "--group", "zzz", "--dry-run")


def test_masks_are_not_trained_on_as_images(tmp_path, capsys) -> None:
    """Masks as a class of their own would be told from images without fail."""
    for name, bright in (("images", 60), ("masks", 255)):
        for n in range(10):
            path = tmp_path / name / f"{n}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((16, 16), bright - n, np.uint8)).save(path)
    assert "class folders" in refused(capsys, tmp_path, "--dry-run")


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A network of classes 1, 2 and 10."""
    folder = tmp_path_factory.mktemp("network")
    model = CNN(classes=3, widths=(2,))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    checkpoint.save(folder, model, variables, classes=("1", "2", "10"), image_size=16)
    return folder


def explain(network: Path, images: Path, out: Path, *options: object) -> int:
    arguments = ["explain", "--checkpoint", network, "--images", images, "--out", out]
    return cli.main([str(each) for each in (*arguments, "--method", "gradient", *options)])


def test_masks_are_not_explained_and_labels_are_folders(network, tmp_path, capsys) -> None:
    names = [f"data/{c}/{n}{m}.png" for c in ("1", "10") for n in "ab" for m in ("", "_mask")]
    folder = kept.write(tmp_path / "set", names)
    assert explain(network, folder / "data", tmp_path / "out", "--targets", "label") == 0
    assert "  4 masks outlined\n" in capsys.readouterr().out
    index = json.loads((tmp_path / "out/index.json").read_text())
    index = index if isinstance(index, list) else index["images"]
    assert [entry["target"] for entry in index] == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("0", "classes are called by numbers: a name alone tells which"),
        ("3", "classes are called by numbers"),
        (
            "label",
            r"the folders of .* are \['set', 'x'\], none a class of the network: \['1', '2', ",
        ),
    ],
)
def test_targets_that_could_be_two_are_refused(target, message, network, tmp_path, capsys) -> None:
    folder = kept.write(tmp_path / "set", ["x/1.png"])
    assert explain(network, folder, tmp_path / "out", "--targets", target) == 1
    assert re.search(message, capsys.readouterr().err)


def test_it_validates_on_a_fold_that_leaves_every_class_to_train_on(tmp_path, capsys) -> None:
    folder = kept.write(tmp_path / "five", kept.YES_NO)
    assert understood(capsys, folder)["counts"]["validation"] == {"no": 1, "yes": 1}
    tested = understood(capsys, folder, "--test-fold", 4)["counts"]
    assert tested["validation"] == {"no": 1, "yes": 1} and tested["train"] == {"no": 3, "yes": 3}
    folder = kept.write(tmp_path / "two", [n for n in kept.YES_NO if n[-5] in "01"])
    counts = understood(capsys, folder)["counts"]
    assert counts == {part: {"no": n, "yes": n} for part, n in zip(PARTS, (1, 0, 1), strict=True)}
    folder = kept.write(tmp_path / "split", kept.TRAINING_TESTING)
    assert sum(understood(capsys, folder)["counts"]["validation"].values()) == 2


def test_a_network_of_coloured_images_is_trained_and_evaluated(tmp_path, capsys) -> None:
    for label, tint in (("red", (200, 40, 20)), ("blue", (20, 40, 200))):
        for n in range(10):
            path = tmp_path / "set" / label / f"{label}{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(n).integers(0, 30, (16, 16, 3))
            Image.fromarray((noise + np.array(tint)).astype(np.uint8)).save(path)
    options = ["--images", tmp_path / "set", "--out", tmp_path / "net", *SMALL]
    assert cli.main([str(each) for each in ("train", *options)]) == 0
    assert "images read in colour" in capsys.readouterr().out
    options = ["--images", tmp_path / "set", "--checkpoint", tmp_path / "net"]
    options += ["--out", tmp_path / "out", "--seen", "--json"]
    assert cli.main([str(each) for each in ("evaluate", *options)]) == 0
    done = json.loads(capsys.readouterr().out)
    assert np.sum(done["confusion"]) == 20 and "trained on" in done["warnings"][-1]
