"""Files are there whole or not at all."""

import numpy as np
import pytest

from jaxsal.common import files
from jaxsal.common.errors import one_line


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path) -> None:
    path = tmp_path / "record"
    with files.write_atomically(path) as partial:
        partial.write_text("first")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), files.write_atomically(path) as partial:
        partial.write_text("sec")
        raise KeyboardInterrupt
    assert path.read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["record"]


def test_what_is_not_defined_is_null(tmp_path) -> None:
    files.write_json(tmp_path / "a/b.json", {1: np.float32(0.5), "c": (np.nan, np.int32(2))})
    assert (tmp_path / "a/b.json").read_text().split() == ('{ "1": 0.5, "c": [ null, 2 ] }'.split())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"out: .*x\.json cannot be written: File exists"):
        files.write_json(tmp_path / "file/x.json", {})


def test_a_folder_made_for_nothing_is_removed(tmp_path) -> None:
    for name, kept in (("new", False), ("old", True)):
        if kept:
            (tmp_path / name).mkdir()
        with pytest.raises(OSError), files.writable(tmp_path / name):
            raise OSError
        assert (tmp_path / name).exists() == kept


def test_an_error_is_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
