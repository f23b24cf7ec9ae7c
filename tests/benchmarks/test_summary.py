"""The READMEs' tables of speed are those of the committed records, which are named by content."""

import json

from benchmarks import cells, contest, peers, records, speed, summary


def test_the_readmes_show_the_records() -> None:
    for readme, names in summary.PLACES.items():
        text = readme.read_text()
        assert summary.place(text, names) == text


def test_the_headline_names_the_code_that_was_measured() -> None:
    told = summary.tables()["speed"].splitlines()[0]
    for settings in ("headline", "gpu-headline"):
        record = records.newest("throughput", settings)
        assert f"{record['date']}, commit {record['commit']}." in told


def test_every_record_has_the_name_of_what_it_holds_and_none_is_superseded() -> None:
    paths = sorted(records.RESULTS.glob("*.json"))
    assert paths
    for path in paths:
        assert path.name == records.file_name(json.loads(path.read_text()))
    undated = [path.stem[: -len("-2026-11-28")] for path in paths]
    assert len(set(undated)) == len(undated)


def _row(contender: str, ratio: float = 1.0, **more) -> records.Row:
    """A row of throughput: timed, unless it says that it failed or is absent."""
    method = more.get("method", "integrated_gradients")
    row = {"case": f"{method}, cnn-128, batch 8", "method": method, "contender": contender}
    row |= {"problem": "cnn-128", "batch": 8, "options": {"steps": 4}, "random": False}
    if not {"failed", "absent"} & set(more):
        row |= {"time": {"median_ms": 8.0}, "images_per_s": 1000.0, "ratio": ratio}
        row |= {"ratios": [ratio, ratio], "agreement": {"largest": 1e-6, "cosine": 0.99987}}
    return row | more


def _record(*rows: records.Row, **more) -> records.Record:
    device = {"platform": "cpu", "kind": "cpu", "processor": "P", "cores": 2, "load_1min": 1.0}
    about = {"versions": {"jax": "0.12"}, "command": "c", "date": "d", "commit": "h"}
    record = {"name": "throughput", "settings": "headline", "device": device, **about}
    return records.published({**record, "rows": list(rows), **more})


def _cells(record: records.Record, line: int = 0) -> list[str]:
    """The cells of a line: case, images/s, captum twice, PyTorch, plain JAX, another, cosine."""
    lines = [each for each in speed.table(record).splitlines() if each.startswith("| ")]
    return [cell.strip() for cell in lines[1 + line].split("|")[1:-1]]


def test_what_failed_or_had_no_time_says_so_and_what_none_offers_is_blank() -> None:
    absent = {"absent": contest.NO_TIME}
    record = _record(
        _row("jaxsal"),
        _row("captum", failed="OutOfMemoryError: CUDA out of memory"),
        _row("torch", **absent),
        _row("plain jax", 3.0),
        _row("plain jax, steps at once", failed="exit -9: no message"),
        *(_row(name, method="grad_cam", **absent) for name in ("jaxsal", "torch")),
    )
    told = ["1,000", "failed: OutOfMemoryError", "failed: OutOfMemoryError", "no time"]
    assert _cells(record)[1:5] == told
    assert _cells(record, 1)[1:] == ["no time"] + [""] * 7
    text = speed.table(record)
    assert "Timed beside it: plain jax." in text
    assert "steps at once (integrated_gradients, cnn-128, batch 8: exit -9)" in text
    assert "Absent: torch." in text


def test_a_stopped_record_is_named_and_a_headline_goes_without_what_it_lacks(monkeypatch) -> None:
    left = ["smoothgrad, cnn-128, batch 8"]
    stopped = _record(_row("jaxsal"), finished=False, left_out=left)
    assert "**unfinished**, without smoothgrad, cnn-128, batch 8: there was no" in speed.table(
        stopped
    )
    whole = _record(_row("jaxsal"), _row("jaxsal", method="grad_cam"))
    found = {"headline": whole, "gpu-headline": stopped}
    monkeypatch.setattr(speed, "newest", lambda name, settings: found[settings])
    head, *_, both, alone = speed.headline().splitlines()
    assert "**unfinished**" in head
    assert both.count("1,000") == 2 and alone.count("1,000") == 1
    found = {"headline": stopped, "gpu-headline": whole}
    *_, both, alone = speed.headline().splitlines()
    assert both.count("1,000") == 2 and alone.startswith("| grad_cam | –, 8 |")
    assert alone.count("1,000") == 1


def test_a_best_run_that_is_none_says_what_it_is_of() -> None:
    slow = [_row("jaxsal"), _row("captum", 1.3), _row("torch channels_last", 1.6)]
    cells = _cells(_record(*slow, _row("plain jax", 16.0)))
    assert cells[4:6] == ["1.60 (channels_last alone)", "16.00 (lax.scan alone)"]
    every = [_row(name, 1.4 + i / 10) for i, name in enumerate(peers.BY_HAND)]
    plain = [_row("plain jax", 16.0), _row("plain jax, steps in Python", 2.0)]
    assert _cells(_record(*slow[:2], *every, *plain))[4:6] == ["1.40", "2.00"]
    fast = _record(_row("jaxsal"), _row("captum", 1.6), _row("torch channels_last", 1.3))
    assert _cells(fast)[4] == "1.30"


def test_a_range_is_told_where_it_says_both() -> None:
    undecided = _row("captum", 1.16, ratios=[0.87, 1.25])
    decided = _row("torch", 1.16, ratios=[1.02, 1.25])
    assert _cells(_record(_row("jaxsal"), undecided, decided))[2:5] == [
        "1.16 [0.87, 1.25]",
        "1.16 [0.87, 1.25]",
        "1.16",
    ]
    assert cells.ranged(decided) == "1.16 [1.02, 1.25]"
    assert cells.ranged(_row("torch", 1.16)) == "1.16 [one round]"
    assert cells.ranged(_row("jaxsal")) == "1.00"


def test_maps_that_were_not_the_same_have_no_ratio_in_older_records_either() -> None:
    never = _row("captum", 1.6, agreement={})
    other = _row("torch", 1.6, agreement={"largest": 0.5, "cosine": 0.5})
    record = _record(_row("jaxsal"), never, other, _row("plain jax", 2.0))
    assert _cells(record)[2:5] == ["failed: maps not compared"] * 2 + ["failed: other maps"]
    assert _cells(record)[7] == "0.9999"  # of the ratios that are there
    drawn = [_row(name, random=True) for name in ("jaxsal", "captum")]
    assert _cells(_record(*drawn))[7] == "random"


def test_every_peer_of_every_committed_case_has_a_row_or_is_named_below_the_table() -> None:
    for record in records.read(name="throughput"):
        text = speed.table(record)
        for case, rows in records.by_case(record).items():
            known = {row["contender"] for row in rows}
            sentences = text.partition("Not asked")[2].split("Not asked")
            told = [each for each in sentences if not each.startswith(" at ") or case in each]
            for name in set(peers.PEERS.get(rows[0]["method"], ())) - known - {*peers.BFLOAT16}:
                kind, _, chunk = name.partition(", chunk ")
                assert any(kind in each and chunk in each for each in told), (case, name)


def test_a_load_above_the_cores_is_told() -> None:
    quiet = _record(_row("jaxsal"))
    assert "load" not in records.origin(quiet)
    busy = {**quiet["device"], "load_1min": 13.5}
    assert records.origin({**quiet, "device": busy}).endswith(", load 13.5 at its begin on 2 cores")
    later = {**quiet, "frameworks": {"jax": {"device": busy}}}
    assert records.origin(later).endswith(", load 1 at its begin and 13.5 at its end on 2 cores")


def test_compilation_is_told_without_the_run_in_it() -> None:
    row = {"method": "gradient", "batch": 8, "problem": "p", "contender": "jaxsal"}
    new = {**row, "cold_s": 27.5, "cached_s": 27.0, "warm_s": 26.0}
    old = {**row, "cold_s": 27.5, "cached_s": 27.0}
    gone = {**row, "cold_s": None, "cached_s": None, "warm_s": None, "absent": "not written"}
    lines = summary.PARTS["compile"](_record(new, old, gone)).splitlines()[-3:]
    shown = [[cell.strip() for cell in line.split("|")[3:-1]] for line in lines]
    assert shown[0] == ["27.50 [1.50]", "27.00 [1.00]", "26.00"]
    assert shown[1] == ["27.50 [–]", "27.00 [–]", "–"]
    assert shown[2] == ["absent", "absent", "–"]


def test_metrics_are_named_by_the_rows_and_scaling_says_what_failed() -> None:
    deletion = _row("jaxsal", method="deletion")
    sizes = {"program_bytes": {"10": 2**20, "100": None}, "program_batch_size": 8}
    text = summary.PARTS["metrics"](_record(deletion, **sizes))
    assert ": deletion of 8 images, 4 steps\n" in text
    assert text.endswith("at `batch_size=8` by its number of steps: 1.00 MiB at 10, failed at 100.")
    rows = [_row("a", failed="exit 9: x", devices=1), _row("b", absent="one device", devices=2)]
    lines = summary.PARTS["scaling"](_record(*rows)).splitlines()[-2:]
    assert lines == ["| 1 | failed: exit 9 |", "| 2 | absent |"]
