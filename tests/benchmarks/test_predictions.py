"""The tables of predictions show what is missing, and say of what is there how it came about."""

from benchmarks import predictions, records

FIGURES = {
    **dict.fromkeys(("bytes", "temporaries", "flops", "compile_s", "predicted_ms"), 1),
    **{"collectives": {}, "without_estimate": [], "commit": "c", "date": "d"},
    **{"target": "tpu-v5e", "chips": 4, "problem": "cnn", "batch": 1, "options": {}},
}


def row(method, contender="jaxsal", **changes):
    case = f"{method}, cnn, batch 1"
    return FIGURES | {"method": method, "case": case, "contender": contender} | changes


def table(*rows, **changes):
    device = {"platform": "cpu", "kind": "cpu", "processor": "here", "cores": 2}
    about = {"device": device, "versions": {"jax": "0.12"}, "command": "", "date": "", "commit": ""}
    return predictions.table({**about, "rows": rows, **changes}).splitlines()


def test_what_is_left_out_is_counted_with_its_methods():
    names = [f"tpu-v5e, 4 chips, {m}, cnn, batch 1, jaxsal" for m in ("lime", "rise", "lime")]
    passed_by = "not looked at: all problems but cnn"
    lines = table(row("gradient"), left_out=[*names, passed_by], finished=False)
    assert "- unfinished" in lines and "- left out: 3 programs (lime, rise)" in lines
    assert f"- by the last run {passed_by}" in lines
    assert not any("left out" in line or "unfinished" in line for line in table(row("gradient")))


def test_a_program_that_failed_and_one_without_a_pair_are_rows_too():
    lines = table(
        row("lime", failed="no memory"),
        row("lime", records.UNWRITTEN),
        row("rise"),
        row("gradient"),
        row("gradient", records.PLAIN, failed="no memory"),
        row("gradient", records.ONLY + "winograd", failed="no memory"),
    )
    head = "| tpu-v5e | {}, cnn, batch 1 | "
    assert head.format("lime") + "failed | 1 * |  |  |  |  |  |  |" in lines
    assert any(line.startswith(head.format("rise") + "1 |  |  | 1e-09 |") for line in lines)
    assert any(line.startswith(head.format("gradient") + "1 | failed |  |") for line in lines)
    assert head.format("gradient") + "winograd | failed |  |" in lines
    assert "- 3 programs of d, commit c" in lines


def test_the_code_that_was_measured_is_told(monkeypatch):
    known = row("gradient", target="h200", chips=1)
    measured = {
        "device": {"kind": "NVIDIA H200"},
        "rows": [known | {"time": {"median_ms": 2.0}}],
        "commit": "78622cdb52f4+changes",
    }
    monkeypatch.setattr(predictions, "read", lambda name: [measured, {**measured, "rows": []}])
    lines = table(known)
    told = "Measured at commit 78622cdb52f4+changes, with changes that no commit has; "
    (line,) = (line for line in lines if line.startswith("Measured"))
    assert line.startswith(told) and lines.index(line) > lines.index(predictions.HELD)
    monkeypatch.setattr(predictions, "read", lambda name: [measured | {"commit": "c"}])
    assert any(line.startswith("Measured at commit c; ") for line in table(known))
