"""A network saved is the same network loaded; nothing that could run is ever read."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal.models import CNN
from jaxsal.training import checkpoint

X = jnp.asarray(np.random.default_rng(0).random((2, 16, 16, 1), np.float32))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, CNN, dict]:
    folder = tmp_path_factory.mktemp("saved")
    model = CNN(classes=3, widths=(4, 8), smooth=2, stride=2, last_pool=False, dropout=0.5)
    model = model.clone(dtype=jnp.bfloat16)
    variables = model.init(jax.random.key(0), X)
    checkpoint.save(folder, model, variables, classes=("a", "b", "c"), image_size=16)
    return folder, model, variables


def test_a_network_comes_back(saved) -> None:
    folder, model, variables = saved
    found = checkpoint.load(folder)
    assert (found.classes, found.image_size) == (("a", "b", "c"), 16)
    assert jax.tree.structure(found.variables) == jax.tree.structure(variables)
    np.testing.assert_array_equal(found.apply(found.variables, X), model.apply(variables, X))
    fresh = found.init(jax.random.key(0), X)
    jax.tree.map(np.testing.assert_array_equal, fresh, variables)
    assert {path.name for path in folder.iterdir()} == {"model.json", "params.npz"}


def test_all_that_makes_a_network_is_written() -> None:
    made_of = {field.name for field in dataclasses.fields(CNN)} - {"parent", "name", "axis_name"}
    assert set(checkpoint.model_fields(CNN(classes=2))) == made_of


def test_networks_saved_before_the_last_pool_was_a_choice_have_it(saved, tmp_path) -> None:
    folder, _, _ = saved
    about = json.loads((folder / "model.json").read_text())
    del about["fields"]["last_pool"]
    (tmp_path / "model.json").write_text(json.dumps(about))
    (tmp_path / "params.npz").write_bytes((folder / "params.npz").read_bytes())
    pooled = CNN(classes=3, widths=(4, 8), smooth=2, stride=2, dtype=jnp.bfloat16)
    found = checkpoint.load(tmp_path)
    np.testing.assert_array_equal(found.apply(found.variables, X), pooled.apply(found.variables, X))


@pytest.mark.parametrize(
    "change",
    [{"fields": {}}, {"fields": None}, {"classes": 3}, {"image_size": "big"}, {"fields": 1}],
)
def test_a_broken_model_is_said_to_be(change, saved, tmp_path) -> None:
    about = json.loads((saved[0] / "model.json").read_text()) | change
    (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"checkpoint: .*model.json cannot be read"):
        checkpoint.load(tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(ValueError, match=r"holds no model\.json; .* `jaxsal train` or study"):
        checkpoint.load(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="training has not finished there; run the same command"):
        checkpoint.load(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere does not exist; .* `jaxsal train` or study"):
        checkpoint.load(tmp_path / "nowhere")


def test_broken_parameters_of_a_checkpoint_are_said_to_be_its(saved, tmp_path) -> None:
    (tmp_path / "model.json").write_bytes((saved[0] / "model.json").read_bytes())
    for why in (r"\.npz does not exist", r"\.npz cannot be read \("):
        with pytest.raises(ValueError, match=f"^checkpoint: .*params{why}"):
            checkpoint.load(tmp_path)
        (tmp_path / "params.npz").write_bytes(b"broken")
