"""README's tables of speed, from the records under benchmarks/results.

python -m benchmarks.summary          prints them
python -m benchmarks.summary --write  puts them between README's marks
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from jaxsal.rewrite.optimize import REWRITES

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- speed: python -m benchmarks.summary --write -->", "<!-- end of speed -->"

CAPTUM, TORCH, PLAIN = "captum", "torch", "plain jax"


def tables() -> str:
    """A table a record of throughput, then one for training, memory, metrics and the rewrites."""
    records = kept(RESULTS)
    return "\n\n".join(PARTS[r["name"]](r) for n in PARTS for r in records if r["name"] == n)


def kept(folder: Path) -> list[dict[str, Any]]:
    """The records of a folder, in order of their names."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def _throughput(record: dict[str, Any]) -> str:
    lines = [
        f"{where(record)}: times as fast as",
        "",
        "| method, problem, batch | images/s | captum | captum, best run "
        "| PyTorch by hand, best run | plain JAX | of the floor |",
        "|---|---|---|---|---|---|---|",
    ]
    cases: dict[str, list[dict[str, Any]]] = {}
    for row in record["rows"]:
        cases.setdefault(row["case"], []).append(row)
    for case, rows in cases.items():
        ours = rows[0]
        if "time" not in ours:
            told = "absent" if "absent" in ours else "failed"
            lines.append(f"| {case} | {told} | | | | | |")
            continue
        cells = [
            f"{ours['images_per_s']:.3g}",
            _times(exact(rows, CAPTUM)),
            _times(fastest(rows, CAPTUM)),
            _times(fastest(rows, TORCH)),
            _times(exact(rows, PLAIN)),
            f"{ours['of_floor']:.0%}" if "of_floor" in ours else "",
        ]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    run = dict.fromkeys(
        row["contender"]
        for row in record["rows"]
        if "jaxsal" != row["contender"] and "absent" not in row
    )
    return "\n".join([*lines, "", f"Run beside it: {', '.join(run)}."])


def _training(record: dict[str, Any]) -> str:
    lines = [
        f"{where(record)}: a training step",
        "",
        "| problem, batch | contender | images/s | times as slow as jaxsal's `jit` |",
        "|---|---|---|---|",
    ]
    for row in record["rows"]:
        head = f"| {row['problem']}, {row['batch']} | {row['contender']} |"
        if "time" in row:
            lines.append(f"{head} {row['images_per_s']:.3g} | {row['ratio']:.2f} |")
        else:
            lines.append(f"{head} {'absent' if 'absent' in row else 'failed'} | |")
    return "\n".join(lines)


def _memory(record: dict[str, Any]) -> str:
    steps = sorted({row["options"]["steps"] for row in record["rows"]})
    names = list(dict.fromkeys(row["contender"] for row in record["rows"]))
    found = {(r["contender"], r["options"]["steps"]): r for r in record["rows"]}
    lines = [
        f"{where(record)}: integrated gradients of {record['rows'][0]['batch']} image(s), MiB",
        "",
        f"| steps | {' | '.join(map(str, steps))} |",
        "|---|" + "---|" * len(steps),
    ]
    for name in names:
        cells = [_mebibytes(found[name, count]) for count in steps]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _metrics(record: dict[str, Any]) -> str:
    first = record["rows"][0]
    steps = first["options"]["steps"]
    lines = [
        f"{where(record)}: deletion and insertion of {first['batch']} images, {steps} steps",
        "",
        "| curve, problem, batch | contender | images/s | times as slow as jaxsal | difference |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        head = f"| {row['case']} | {row['contender']} |"
        if "time" in row:
            gap = row["agreement"].get("largest", float("nan"))
            lines.append(f"{head} {row['images_per_s']:.3g} | {row['ratio']:.2f} | {gap:.0e} |")
        else:
            lines.append(f"{head} {'absent' if 'absent' in row else 'failed'} | | |")
    sizes = record["program_bytes"].items()
    told = ", ".join(f"{count / 2**20:.2f} MiB at {steps}" for steps, count in sizes)
    return "\n".join([*lines, "", f"Memory of the program by its number of steps: {told}."])


def _mebibytes(row: dict[str, Any]) -> str:
    if "peak_bytes" not in row:
        return "absent" if "absent" in row else "failed"
    own = row.get("program_bytes")
    return f"{row['peak_bytes'] / 2**20:.0f}" + (f" (program {own / 2**20:.1f})" if own else "")


RENAMED = {
    "thin_input": "im2col_conv",
    "thin_sum": "unrolled_conv",
    "thin_output": "matmul_shift_conv",
    "ordered": "channels_last_conv",
    "line": "affine_prefix",
}
"""Names of rewrites in older records, and their names today."""


def _rewrites(record: dict[str, Any]) -> str:
    lines = [
        f"{where(record)}: times as slow with one rewrite off",
        "",
        "| workload | rewrite | off / on | default | difference |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        default = "on" if row["on_by_default"] else "off"
        rewrite = RENAMED.get(row["rewrite"], row["rewrite"])
        if rewrite not in (*REWRITES, "affine_prefix"):
            default = "tried, and out again"
        lines.append(
            f"| {row['workload']} | {rewrite} | {row['off_over_on']:.2f} | {default} "
            f"| {row['difference']:.0e} |"
        )
    return "\n".join(lines)


PARTS = {
    "throughput": _throughput,
    "training": _training,
    "memory": _memory,
    "metrics": _metrics,
    "rewrites": _rewrites,
}
"""By a record's name, in README's order."""


def where(record: dict[str, Any]) -> str:
    """Device, version, command, date and commit of a record, in a line of Markdown."""
    device, versions = record["device"], record["versions"]
    kind = device["processor"] if device["platform"] == "cpu" else device["kind"]
    cores = f", {device['cores']} cores" if device["platform"] == "cpu" else ""
    return (
        f"**{kind}{cores}, jax {versions['jax']}**, `{record['command']}`, "
        f"{record['date']}, commit {record['commit']}"
    )


def exact(rows: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The row of the contender of that name."""
    return next((row for row in rows if row["contender"] == name), None)


def fastest(rows: list[dict[str, Any]], prefix: str) -> dict[str, Any] | None:
    """The fastest at the same precision of the contenders of that name."""
    named = [
        r for r in rows if r["contender"].startswith(prefix) and "bfloat16" not in r["contender"]
    ]
    timed = [row for row in named if "time" in row]
    if timed:
        return min(timed, key=lambda row: row["ratio"])
    return named[0] if named else None


def _times(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if "time" in row:
        return f"{row['ratio']:.2f}"
    return "" if "absent" in row else "failed"


def place(text: str) -> str:
    """README's text with the tables as they are now between the marks."""
    pattern = re.compile(f"({re.escape(BEGIN)}\n).*?({re.escape(END)})", re.DOTALL)
    placed, count = pattern.subn(lambda match: f"{match[1]}{tables()}\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"README: {count} places between {BEGIN!r} and {END!r}, expected one")
    return placed


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(place(README.read_text()))
    else:
        print(tables())
