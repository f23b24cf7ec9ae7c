"""Parts of an experiment that outlive its process."""

from pathlib import Path

import numpy as np
import pytest

from experiments.unfinished import FOLDER, Unfinished


def forbidden() -> dict:
    raise AssertionError("a part that is done is made again")


def test_a_part_is_made_once_and_read_back_in_its_order(tmp_path: Path) -> None:
    values = {"last/first": {"b": np.arange(3), "a": np.array([np.nan, 2.0])}, "x": np.float64(7)}
    first = Unfinished(tmp_path / FOLDER, {"seed": 0, "sizes": (1, 2)})
    assert first.part("a part/of it", lambda: values) is values and first.earlier == 0
    again = Unfinished(tmp_path / FOLDER, {"seed": 0, "sizes": (1, 2)})
    found = again.part("a part/of it", forbidden)
    assert again.earlier == 1
    assert list(found) == ["last/first", "x"] and list(found["last/first"]) == ["b", "a"]
    np.testing.assert_array_equal(found["last/first"]["a"], values["last/first"]["a"])
    assert found["last/first"]["b"].dtype == values["last/first"]["b"].dtype and found["x"] == 7
    again.remove()
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("left", ["another identity", "a broken one", "none"])
def test_parts_of_something_else_are_taken_away(tmp_path: Path, left: str) -> None:
    Unfinished(tmp_path, {"seed": 0}).part("one", lambda: {"x": np.zeros(2)})
    (tmp_path / "identity.json").write_text("{" if left == "a broken one" else '{"seed": 1}')
    if left == "none":
        (tmp_path / "identity.json").unlink()
    parts = Unfinished(tmp_path, {"seed": 0})
    assert parts.earlier == 0
    assert parts.part("one", lambda: {"x": np.ones(2)})["x"][0] == 1


def test_a_part_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> dict:
        raise RuntimeError

    parts = Unfinished(tmp_path, {})
    with pytest.raises(RuntimeError):
        parts.part("one", fails)
    assert Unfinished(tmp_path, {}).earlier == 0
