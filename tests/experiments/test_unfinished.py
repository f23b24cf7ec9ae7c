"""Parts of an experiment that outlive its process."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import study
from experiments.unfinished import FOLDER, Unfinished, unfinished

VALUES = {"last/first": {"b": np.arange(3), "a": np.array([np.nan, 2.0])}, "x": np.float64(7)}


def forbidden() -> dict:
    raise AssertionError("a part that is done is made again")


def one() -> dict:
    return {"x": np.ones(2)}


def test_a_part_is_made_once_and_read_back_in_its_order(tmp_path: Path) -> None:
    first = Unfinished(tmp_path, "sanity", {"seed": 0, "sizes": (1, 2)})
    assert first.part("a part/of it", lambda: VALUES) is VALUES and first.earlier == 0
    again = Unfinished(tmp_path, "sanity", {"sizes": [1, 2], "seed": 0})
    found = again.part("a part/of it", forbidden)
    assert again.earlier == 1 and first.earlier == 0
    assert list(found) == ["last/first", "x"] and list(found["last/first"]) == ["b", "a"]
    np.testing.assert_array_equal(found["last/first"]["a"], VALUES["last/first"]["a"])
    assert found["last/first"]["b"].dtype == np.arange(3).dtype and found["x"] == 7


def test_one_leaves_the_parts_of_another_alone(tmp_path: Path, capsys) -> None:
    others = [
        Unfinished(tmp_path, "sanity", {"seed": 1}),
        Unfinished(tmp_path, "compare_methods", {"seed": 0}),
    ]
    for each in others:
        each.part("one", one)
    own = Unfinished(tmp_path, "sanity", {"seed": 0})
    assert own.earlier == 0
    assert f"not used: parts of other settings, images or code in {others[0].folder}" in (
        capsys.readouterr().out
    )
    own.part("one", one)
    own.remove()
    assert not own.folder.exists()
    for each in others:
        each.part("one", forbidden)
        each.remove()
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"neither zip nor array"])
def test_a_part_that_cannot_be_read_is_made_again(tmp_path: Path, capsys, content: bytes) -> None:
    parts = Unfinished(tmp_path, "sanity", {})
    parts.part("one", one)
    next(parts.folder.glob("*.npz")).write_bytes(content)
    assert parts.part("one", one)["x"][0] == 1 and "made again" in capsys.readouterr().out
    parts.part("one", forbidden)


def test_parts_are_of_a_network_images_and_settings(untrained: Path, tmp_path: Path) -> None:
    given = study.Reopened(untrained, out=tmp_path, explain=2)
    found, chosen = study.tumours(given)
    folder = unfinished("sanity", given, found, chosen).folder
    assert folder.is_relative_to(tmp_path)
    masks = chosen.examples._replace(masks=chosen.examples.masks[::-1])
    others = [
        unfinished("sanity", replace(given, seed=1), found, chosen),
        unfinished("sanity", given, found, chosen._replace(examples=masks)),
        unfinished("sanity", given, found._replace(background=found.background + 1), chosen),
    ]
    assert len({folder, *(each.folder for each in others)}) == 4
    moved = replace(given, data_dir=tmp_path)
    assert unfinished("sanity", moved, found, chosen).folder == folder
