"""The choice of the recipe: what is tried, on which folds; the fifth is never looked at."""

import json
from pathlib import Path

import pytest

from experiments import tune
from jaxsal.training import loop


@pytest.fixture(scope="module")
def tried(tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("tune")
    given = {"count": 60, "image_size": 32, "epochs": 1, "out": out}
    prepare, seen = loop.prepare, []

    def spy(config, model, training, validation, **rest):
        seen.append((training, validation))
        return prepare(config, model, training, validation, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "prepare", spy)
        record = tune.main(tune.Settings(recipes=("weighed",), folds=(2,), **given))
    ((training, validation),) = seen
    assert {*training.folds.tolist()} == {1, 3, 4} and not len(validation.folds)
    return out, record


def test_a_recipe_is_validated_on_a_fold_of_which_it_saw_nothing(tried) -> None:
    out, record = tried
    row = record["recipes"]["weighed"]
    assert list(row["by_fold"]) == ["2"] and 0 <= row["accuracy"] <= 1
    kept = json.loads((out / "weighed-fold2.json").read_text())
    assert kept["settings"]["class_weights"] and kept["settings"]["validation_fold"] == 2
    assert kept["settings"]["test_fold"] == record["held_out"] == 5
    assert kept["images"] == 12  # a fifth


def test_what_was_tried_is_not_tried_again_and_stays_in_the_protocol(tried, monkeypatch) -> None:
    out, record = tried
    other = json.loads((out / "weighed-fold2.json").read_text())
    for fold, accuracy in ((1, 0.5), (2, 0.75)):
        settings = other["settings"] | {"class_weights": False, "validation_fold": fold}
        new = other | {
            "train_seconds": 120.0,
            "resumed": 0,
            "fold": fold,
            "accuracy": accuracy,
            "settings": settings,
        }
        (out / f"study-fold{fold}.json").write_text(json.dumps(new))
    monkeypatch.setattr(tune, "_try", lambda *_: pytest.fail("tried again"))
    given = {"count": 60, "image_size": 32, "epochs": 1, "out": out}
    found = tune.main(tune.Settings(recipes=("weighed",), folds=(2,), **given))["recipes"]
    assert list(found) == ["study", "weighed"]  # of two folds, and of one
    assert found["study"]["accuracy"] == 0.625 and found["study"]["by_fold"]["2"] == 0.75
    assert found["weighed"] == record["recipes"]["weighed"] and found["study"]["minutes"] == 2
    changed = json.loads((out / "study-fold2.json").read_text())
    changed["code"]["network"]["smooth"] = 0  # the recipe of a record by other code
    (out / "study-fold2.json").write_text(json.dumps(changed))
    found = tune.main(tune.Settings(recipes=("weighed",), folds=(2,), **given))["recipes"]
    assert list(found["study"]["by_fold"]) == ["1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipes": ("studdy",)}, "recipes: expected some of"),
        ({"folds": (4, 5)}, r"folds: expected some of \(1, 2, 3, 4\), got \[5\]"),
        ({"folds": ()}, "folds: expected some of"),
    ],
)
def test_what_cannot_be_tried_is_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        tune.Settings(**change)
