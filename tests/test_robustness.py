"""Short forms of `python -m tests.fuzz`, `tests.soak` and `tests.disk_full`."""

from tests import disk_full, soak
from tests.fuzz import __main__ as fuzz


def test_malformed_inputs_are_refused_with_a_clear_message(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = fuzz.everything(0)
    assert len(chosen) > 1000
    counts = fuzz.run(chosen[::29])
    assert set(counts) <= set(fuzz.GOOD), capsys.readouterr().out
    assert counts["refused"] > 20


def test_batches_leave_nothing_behind() -> None:
    seen = soak.soak(80)
    assert len({(look.arrays, look.compiled) for look in seen[2:]}) == 1, seen


def test_a_full_disk_is_told_in_a_line_and_left_behind(tmp_path) -> None:
    disk_full.prepare(tmp_path, 128)
    told = disk_full.by_limit(tmp_path, limits=(3000,))
    assert all("out: " in line for line in told)
