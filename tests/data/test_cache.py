"""Sets are prepared once, completely, and never beside the data; downloads are checked."""

import functools
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxsal.data import figshare, images, pipeline, tfds_builders
from tests.data import files

ROWS = [("2.png", "glioma", "1"), ("10.png", "glioma", "2"), ("1.png", "meningioma", "2")]

RAMP = np.arange(144, dtype=np.uint8).reshape(12, 12)


def _everything(root):
    return {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}


def test_the_second_read_reads_only_the_cache_and_a_change_is_seen(tmp_path, monkeypatch):
    files.write_table(tmp_path, ROWS)
    first = pipeline.figshare(tmp_path, image_size=12)
    with monkeypatch.context() as patch:
        patch.setattr(images, "grey", None)
        second = pipeline.figshare(tmp_path, image_size=12)
    for a, b in zip(first.examples, second.examples, strict=True):
        np.testing.assert_array_equal(a, b)
    changed = files.save(tmp_path / "images/glioma/2.png", RAMP)
    os.utime(changed, ns=(1, 1))
    third = pipeline.figshare(tmp_path, image_size=12)
    np.testing.assert_allclose(third.examples.images[0, ..., 0] * 255, RAMP, atol=1e-4)


def test_notes_and_broken_files_are_remembered(tmp_path):
    files.write_folders(tmp_path)
    (tmp_path / "yes" / "yes1.png").write_bytes(b"")
    first = pipeline.folder(tmp_path, image_size=8)
    second = pipeline.folder(tmp_path, image_size=8)
    assert first.skipped == second.skipped and len(first.skipped) == 1
    assert first.notes == second.notes


def test_the_cache_never_lies_under_the_data(tmp_path):
    files.write_folders(tmp_path)
    before = _everything(tmp_path)
    with pytest.raises(ValueError, match=r"cache=.* lies under data_dir="):
        pipeline.folder(tmp_path, image_size=8, cache=tmp_path / "yes" / "cache")
    assert _everything(tmp_path) == before


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    files.write_folders(tmp_path / "data")
    (tmp_path / "cache").touch()
    with pytest.raises(ValueError, match=r"cache=.* cannot be filled"):
        pipeline.folder(tmp_path / "data", image_size=8, cache=tmp_path / "cache")


KILLED = """
import os, signal, sys
from jaxsal.data import folder, listing, pipeline
honest, count = folder.read_slice, [0]
def read(*args, **more):
    count[0] += 1
    if count[0] == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(*args, **more)
folder.read_slice = read
pipeline.folder(sys.argv[1], image_size=8, cache=sys.argv[2])
"""


def test_a_killed_preparation_is_not_taken_for_complete(tmp_path):
    files.write_folders(tmp_path / "data")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data"), str(tmp_path / "cache")]
    assert subprocess.run(command, timeout=120).returncode == -signal.SIGKILL
    left = list((tmp_path / "cache").rglob("incomplete.*"))
    assert left
    read = pipeline.folder(tmp_path / "data", image_size=8, cache=tmp_path / "cache")
    assert len(read.examples.labels) == 10


def test_whoever_comes_second_uses_what_the_first_prepared(tmp_path, monkeypatch):
    files.write_table(tmp_path, ROWS)
    listing = figshare.listing(tmp_path)

    def both(self, *, download_dir):
        monkeypatch.undo()
        pipeline.figshare(tmp_path, image_size=8, cache=tmp_path.parent / "shared")
        raise OSError("Directory not empty")

    monkeypatch.setattr(tfds_builders.Slices, "download_and_prepare", both)
    cache = tmp_path.parent / "shared"
    made = tfds_builders.prepare(tfds_builders.Figshare, listing, tmp_path, cache)
    assert made.info.splits[tfds_builders.SPLIT].num_examples == 3


def test_preparing_says_nothing_and_needs_no_tensorflow(tmp_path, capfd):
    files.write_folders(tmp_path)
    pipeline.folder(tmp_path, image_size=8)
    assert capfd.readouterr() == ("", "")
    assert "tensorflow" not in sys.modules


# The download.


@pytest.fixture
def _figshare(tmp_path, monkeypatch):
    files.write_original(tmp_path / "mat")
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "11", "w") as archive:
        for path in (tmp_path / "mat").iterdir():
            archive.write(path, path.name)
    files.write_folds(served / "22", [1, 2, 3, 4, 5, 1])
    digests = {name: hashlib.md5((served / name).read_bytes()).hexdigest() for name in ("11", "22")}
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(tfds_builders, "HOST", f"http://127.0.0.1:{server.server_port}/")
    table = {"a.zip": ("11", digests["11"]), "cvind.mat": ("22", digests["22"])}
    monkeypatch.setattr(tfds_builders, "ARCHIVES", table)
    yield table
    server.shutdown()
    server.server_close()


def test_the_download_is_checked_read_and_kept(_figshare, monkeypatch, capsys):
    read = pipeline.figshare(image_size=8)
    assert capsys.readouterr().out == ""
    assert read.examples.folds.tolist() == [1, 2, 3, 4, 5, 1]
    monkeypatch.setattr(tfds_builders, "HOST", "http://127.0.0.1:1/")
    assert len(pipeline.figshare(image_size=12).examples.labels) == 6


def test_a_download_with_the_wrong_digest_is_refused_and_removed(_figshare, monkeypatch):
    _figshare["a.zip"] = ("11", "0" * 32)
    with pytest.raises(ValueError, match=r"a\.zip has MD5 .*, figshare says 0000"):
        pipeline.figshare(image_size=8)
    kept = [path for path in Path(os.environ["JAXSAL_CACHE"]).rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if path.read_bytes()[:2] == b"PK"]


def test_without_a_network_the_download_says_so(_figshare, monkeypatch):
    monkeypatch.setattr(tfds_builders, "HOST", "http://127.0.0.1:1/")
    with pytest.raises(
        ValueError, match=r"data_dir=None: http://127.* cannot be reached .*refused"
    ):
        pipeline.figshare(image_size=8)


def test_a_file_that_figshare_no_longer_has_is_an_error(_figshare):
    _figshare["b.zip"] = ("33", "0" * 32)
    with pytest.raises(ValueError, match=r"cannot be filled: .*/33"):
        pipeline.figshare(image_size=8)
