"""The tables of speed, from the records under benchmarks/results.

python -m benchmarks.summary          prints them
python -m benchmarks.summary --write  puts them between the marks of the READMEs
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks import predictions
from benchmarks.records import (
    CAPTUM,
    OTHERS,
    PLAIN,
    TORCH,
    Record,
    Row,
    by_case,
    fastest,
    machine,
    newest,
    origin,
    read,
    row_of,
)
from jaxsal.common import marked_tables
from jaxsal.rewrite.optimize import REWRITES

HERE = Path(__file__).parent


def tables() -> dict[str, str]:
    """By its name each table in Markdown: a part for each record of a measurement."""
    every = {
        name: "\n\n".join(part(record) for record in read(name=name))
        for name, part in PARTS.items()
    }
    return {"speed": _headline(), **every}


def _headline() -> str:
    """A row for each method of the newest headline on a CPU, beside the same on an accelerator."""
    cpu, gpu = newest("throughput", "headline"), newest("throughput", "gpu-headline")
    on_gpu = {rows[0]["method"]: rows for rows in reversed(by_case(gpu).values())}
    lines = [
        f"CPU: {_measured_on(cpu)}. GPU: {_measured_on(gpu)}.",
        "",
        "| method | batch: CPU, GPU | CPU: images/s | captum | PyTorch | plain JAX | of the floor "
        "| GPU: images/s | captum | of the floor |",
        "|---" * 10 + "|",
    ]
    for ours in by_case(cpu).values():
        theirs = on_gpu[ours[0]["method"]]
        cells = [
            ours[0]["method"],
            f"{ours[0]['batch']}, {theirs[0]['batch']}",
            _rate(ours[0]),
            *(_times(fastest(ours, peer)) for peer in (CAPTUM, TORCH, PLAIN)),
            _share(ours[0]),
            _rate(theirs[0]),
            _times(fastest(theirs, CAPTUM)),
            _share(theirs[0]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _measured_on(record: Record) -> str:
    return f"{machine(record)}, {record['date']}, commit {record['commit']}"


def _rate(row: Row) -> str:
    value = row["images_per_s"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _share(row: Row) -> str:
    return f"{row['of_floor']:.0%}" if "of_floor" in row else ""


def _throughput(record: Record) -> str:
    lines = [
        f"{origin(record)}: times as fast as",
        "",
        "| method, problem, batch | images/s | captum | captum, best run "
        "| PyTorch by hand, best run | plain JAX | another library | of the floor |",
        "|---" * 8 + "|",
    ]
    for case, rows in by_case(record).items():
        ours = rows[0]
        if "time" not in ours:
            told = "absent" if "absent" in ours else "failed"
            lines.append(f"| {case} | {told} | | | | | | |")
            continue
        cells = [
            _rate(ours),
            _times(row_of(rows, CAPTUM)),
            _times(fastest(rows, CAPTUM)),
            _times(fastest(rows, TORCH)),
            _times(row_of(rows, PLAIN)),
            ", ".join(f"{_times(row)} ({name})" for name in OTHERS if (row := row_of(rows, name))),
            _share(ours),
        ]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    peers = dict.fromkeys(
        row["contender"]
        for row in record["rows"]
        if "jaxsal" != row["contender"] and "absent" not in row
    )
    return "\n".join([*lines, "", f"Timed beside it: {', '.join(peers)}."])


def _training(record: Record) -> str:
    lines = [
        f"{origin(record)}: a training step",
        "",
        "| problem, batch | contender | images/s | times as slow as jaxsal's `jit` |",
        "|---|---|---|---|",
    ]
    for row in record["rows"]:
        head = f"| {row['problem']}, {row['batch']} | {row['contender']} |"
        if "time" in row:
            lines.append(f"{head} {_rate(row)} | {row['ratio']:.2f} |")
        else:
            lines.append(f"{head} {'absent' if 'absent' in row else 'failed'} | |")
    return "\n".join(lines)


def _memory(record: Record) -> str:
    steps = sorted({row["options"]["steps"] for row in record["rows"]})
    names = list(dict.fromkeys(row["contender"] for row in record["rows"]))
    found = {(r["contender"], r["options"]["steps"]): r for r in record["rows"]}
    lines = [
        f"{origin(record)}: integrated gradients of {record['rows'][0]['batch']} image(s), MiB",
        "",
        f"| steps | {' | '.join(map(str, steps))} |",
        "|---|" + "---|" * len(steps),
    ]
    for name in names:
        cells = [_mebibytes(found[name, count]) for count in steps]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _latency(record: Record) -> str:
    lines = [
        f"{origin(record)}: microseconds of a call of a tiny model, one image",
        "",
        "| parameters | contender | median | over plain JAX, median of rounds | least over least |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        numbers = (row[f"{key}_us"] for key in ("median", "over_plain", "least_over_plain"))
        parameters = f"{row['case']} ({row['arrays']})"
        lines.append(f"| {parameters} | {row['contender']} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def _metrics(record: Record) -> str:
    first = record["rows"][0]
    steps = first["options"]["steps"]
    several = any("maps" in row["options"] for row in record["rows"])
    also = "; images with several maps each" if several else ""
    lines = [
        f"{origin(record)}: deletion and insertion of {first['batch']} images, {steps} steps{also}",
        "",
        "| curve, problem, batch | contender | images/s | times as slow as jaxsal | difference |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        maps = row["options"].get("maps")
        case = f"{row['case']}, {maps} maps each" if maps else row["case"]
        head = f"| {case} | {row['contender']} |"
        if "time" in row:
            gap = row["agreement"].get("largest", float("nan"))
            lines.append(f"{head} {_rate(row)} | {row['ratio']:.2f} | {gap:.0e} |")
        else:
            lines.append(f"{head} {'absent' if 'absent' in row else 'failed'} | | |")
    sizes = record["program_bytes"].items()
    told = ", ".join(f"{count / 2**20:.2f} MiB at {steps}" for steps, count in sizes)
    return "\n".join([*lines, "", f"Memory of the program by its number of steps: {told}."])


def _mebibytes(row: Row) -> str:
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


def _rewrites(record: Record) -> str:
    lines = [
        f"{origin(record)}: time with a rewrite off over time with it on",
        "",
        "| workload | rewrite | off / on | default | difference |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        default = "on" if row["on_by_default"] else "off"
        rewrite = RENAMED.get(row["rewrite"], row["rewrite"])
        if rewrite not in (*REWRITES, "affine_prefix"):
            default = "removed since"
        lines.append(
            f"| {row['workload']} | {rewrite} | {row['off_over_on']:.2f} | {default} "
            f"| {row['difference']:.0e} |"
        )
    return "\n".join(lines)


def _times(row: Row | None) -> str:
    if row is None:
        return ""
    if "time" in row:
        return f"{row['ratio']:.2f}"
    return "" if "absent" in row else "failed"


def _compile(record: Record) -> str:
    lines = [
        f"{origin(record)}: seconds of a first call, {record['rows'][0]['problem']}",
        "",
        "| method, batch | contender | nothing cached | compilation cache |",
        "|---|---|---|---|",
    ]
    for row in record["rows"]:
        found = (row["cold_s"], row["cached_s"])
        seconds = " | ".join("failed" if each is None else f"{each:.2f}" for each in found)
        lines.append(f"| {row['method']}, {row['batch']} | {row['contender']} | {seconds} |")
    return "\n".join(lines)


def _precision(record: Record) -> str:
    lines = [
        f"{origin(record)}: largest difference of maps, as a share of an image's largest value",
        "",
        f"| case | maps | beside | images | of them apart by over {record['apart']:g} | largest "
        "| of the rest |",
        "|---" * 7 + "|",
    ]
    for row in record["rows"]:
        head = f"| {row['case']} | {row['maps']} | {row['beside']} |"
        if "largest" in row:
            rest = row["largest_of_rest"]
            figures = f"{row['images']} | {row['apart']} | {row['largest']:.0e}"
            lines.append(f"{head} {figures} | {'' if rest is None else f'{rest:.0e}'} |")
        else:
            lines.append(f"{head} {'absent' if 'absent' in row else 'failed'} | | | |")
    return "\n".join(lines)


def _scaling(record: Record) -> str:
    lines = [
        f"{origin(record)}: {record['rows'][0]['case']}",
        "",
        "| devices | images/s |",
        "|---|---|",
    ]
    for row in record["rows"]:
        lines.append(f"| {row['devices']} | {_rate(row) if 'time' in row else 'absent'} |")
    return "\n".join(lines)


PARTS = {
    "throughput": _throughput,
    "training": _training,
    "memory": _memory,
    "metrics": _metrics,
    "scaling": _scaling,
    "latency": _latency,
    "compile": _compile,
    "rewrites": _rewrites,
    "precision": _precision,
    "targets": predictions.table,
}
"""By the name of a measurement."""

PLACES = {HERE.parent / "README.md": ("speed",), HERE / "README.md": tuple(PARTS)}
"""By README the tables that stand in it."""


def place(text: str, names: Iterable[str]) -> str:
    """A README's text with the tables of these names between their marks."""
    made = tables()
    wanted = {name: made[name] for name in names}
    return marked_tables.place(text, wanted, "python -m benchmarks.summary --write")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        for readme, names in PLACES.items():
            readme.write_text(place(readme.read_text(), names))
    else:
        print(*tables().values(), sep="\n\n")
