"""`jaxsal evaluate` of a network of volumes: measured, localised, drawn by slices of the lesion."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal import cli
from jaxsal.commands import cuts
from jaxsal.models import CNN
from jaxsal.training import checkpoint

nibabel = pytest.importorskip("nibabel")

SIZE = 8


def bright(params: dict, images: np.ndarray) -> np.ndarray:
    """Two logits: how dark and how bright the brightest corner of a volume is."""
    box = jnp.square(images[:, :3, 4:, 2:5, 0]).mean((1, 2, 3))[:, None] - params["middle"]
    return 20 * box * np.array([[-1.0, 1.0]], np.float32)


@pytest.fixture
def scans(tmp_path, monkeypatch) -> Path:
    """Scans of two classes, in one a bright box with a mask of it beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    draw = np.random.default_rng(0)
    for number in range(8):
        values = draw.integers(0, 300, (SIZE, SIZE, SIZE)).astype(np.int16)
        values[0, 0, 0] = 900
        folder = Path("scans", ("no", "yes")[number % 2])
        folder.mkdir(parents=True, exist_ok=True)
        if number % 2:
            values[:3, 4:, 2:5] = 900
            mask = nibabel.Nifti1Image((values == 900).astype(np.uint8), np.eye(4))
            nibabel.save(mask, folder / f"{number}_seg.nii.gz")
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"{number}.nii.gz")
    np.savez("p.npz", middle=np.full((1, 1), 0.6, np.float32))
    return tmp_path


def evaluate(capsys, *options: object) -> tuple[dict, str]:
    """What is told, and the report."""
    given = ("evaluate", "--images", "scans", "--out", "out", *options, "--json")
    assert cli.main([*map(str, given)]) == 0
    return json.loads(capsys.readouterr().out), Path("out/report.html").read_text()


def test_a_model_of_volumes_is_tested_and_its_maps_are_held_against_masks(scans, capsys) -> None:
    model = ("--apply", "tests.commands.test_evaluate_volumes:bright", "--params", "p.npz")
    model += ("--classes", "no,yes", "--image-size", SIZE, "--volumes")
    methods = ("--method", "input_x_gradient", "attention_rollout", "occlusion(window=4)")
    done, page = evaluate(capsys, *model, *methods)
    assert done["accuracy"] == 1 and done["understood"]["masks"]["test"] == 4
    found = done["localisation"]
    assert [*found["methods"]] == ["input_x_gradient", "occlusion(window=4)"]
    assert found["images"] == 4 and found["area"] == pytest.approx(37 / SIZE**3)
    assert found["methods"]["input_x_gradient"]["relevance_mass"][0] > 0.95
    assert "self-attention" in found["not_possible"]["attention_rollout"]
    assert "Not possible with this network" in page and "axial slice with most of the mask" in page
    assert Path("out/figures/maps.png").exists()
    wrong = ("--classes", "yes,no", "--explain", 0)
    done, _ = evaluate(capsys, *model[:4], *model[6:], *wrong)
    assert done["accuracy"] == 0 and Path("out/figures/worst_mistakes.png").exists()
    arguments = ["evaluate", *model, "--images", "scans", "--out", "none", "--method"]
    assert cli.main([*map(str, arguments), "generic_attention"]) == 1
    assert "method: generic_attention is not possible with this network" in capsys.readouterr().err
    assert not Path("none").exists()


def test_a_checkpoint_of_volumes_is_tested(scans, capsys) -> None:
    network = CNN(classes=2, widths=(2,), axes=3)
    variables = network.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, SIZE, 1)))
    Path("net").mkdir()
    checkpoint.save(Path("net"), network, variables, classes=("yes", "no"), image_size=SIZE)
    done, _ = evaluate(capsys, "--checkpoint", "net", "--method", "gradient", "grad_cam")
    assert np.sum(done["confusion"]) == 8 and done["localisation"]["images"] == 4
    assert done["localisation"]["not_possible"] == {}
    assert cli.main("evaluate --checkpoint net --images scans --out o --slices axial".split()) == 1
    assert "slices: " in capsys.readouterr().err


def test_the_slice_that_is_shown_has_most_of_the_mask() -> None:
    mask = np.zeros((4, 5, 9), bool)
    mask[1, 2, 3:7], mask[3, 2, 6] = True, True
    whole = np.arange(mask.size, dtype=float).reshape(mask.shape)
    outlines, shown = cuts.one_each(np.stack([mask, mask & False]), np.stack([whole, whole]))
    np.testing.assert_array_equal(np.argwhere(outlines[0]), [[2, 0], [2, 2]])  # right is left
    assert not outlines[1].any()
    np.testing.assert_array_equal(shown[0], whole[::-1, ::-1, 6].T)
    np.testing.assert_array_equal(shown[1], whole[::-1, ::-1, 4].T)
    assert cuts.through(cuts.axial(mask), 9, 3) == [3, 5, 6]
    assert cuts.through(None, 9, 1) == [4]
