"""A file is there whole or not at all, and a folder is tried before it is needed."""

import json

import numpy as np
import pytest

from jaxsal.common import files


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"x": np.float32(1), "nan": np.nan})
    assert json.loads(path.read_text()) == {"x": 1.0, "nan": None}
    before = path.read_bytes()
    for error in (KeyboardInterrupt, OSError):
        with pytest.raises(error), files.write_atomically(path) as partial:
            partial.write_text("half")
            raise error
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match=r"out: .* cannot be written: No such file"):
        files.write_json(tmp_path / "nowhere" / "a.json", {})


def test_a_folder_made_in_vain_is_removed(tmp_path) -> None:
    with pytest.raises(KeyError), files.writable(tmp_path / "new"):
        raise KeyError
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"out: .* cannot be written to"):
        with files.writable(tmp_path / "file"):
            pass
