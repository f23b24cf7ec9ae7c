"""The tables of speed, from the records under benchmarks/results.

python -m benchmarks.summary          prints them
python -m benchmarks.summary --write  puts them between the marks of the READMEs
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks import predictions, speed
from benchmarks.cells import ranged, rate, untimed
from benchmarks.compilation import STATES
from benchmarks.metrics import PROGRAM_BATCH
from benchmarks.records import Record, Row, origin, read
from jaxsal.common import marked_tables
from jaxsal.rewrite.optimize import REWRITES

HERE = Path(__file__).parent


def tables() -> dict[str, str]:
    """By its name each table in Markdown: a part for each record of a measurement."""
    every = {
        name: "\n\n".join(part(record) for record in read(name=name))
        for name, part in PARTS.items()
    }
    return {"speed": speed.headline(), **every}


def _training(record: Record) -> str:
    lines = [
        f"{origin(record)}: a training step",
        "",
        "| problem, batch | contender | images/s | times as slow as jaxsal's `jit` "
        "[range over rounds] |",
        "|---|---|---|---|",
    ]
    for row in record["rows"]:
        head = f"| {row['problem']}, {row['batch']} | {row['contender']} |"
        if "time" in row:
            lines.append(f"{head} {rate(row)} | {ranged(row)} |")
        else:
            lines.append(f"{head} {untimed(row)} | |")
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
    curves = [row for row in record["rows"] if "maps" not in row["options"]]
    names = " and ".join(dict.fromkeys(row["method"] for row in curves))
    of = f"{curves[0]['batch']} images, {curves[0]['options']['steps']} steps"
    also = "; images with several maps each" if len(curves) < len(record["rows"]) else ""
    lines = [
        f"{origin(record)}: {names} of {of}{also}",
        "",
        "| curve, problem, batch | contender | images/s | times as slow as jaxsal "
        "[range over rounds] | difference |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        maps = row["options"].get("maps")
        case = f"{row['case']}, {maps} maps each" if maps else row["case"]
        head = f"| {case} | {row['contender']} |"
        if "time" in row:
            gap = row["agreement"]["largest"]
            lines.append(f"{head} {rate(row)} | {ranged(row)} | {gap:.0e} |")
        else:
            lines.append(f"{head} {untimed(row)} | | |")
    sizes = record["program_bytes"].items()
    told = ", ".join(f"{_mib(count)} at {steps}" for steps, count in sizes)
    batch = record.get("program_batch_size", PROGRAM_BATCH)
    memory = f"Memory of the program at `batch_size={batch}` by its number of steps: {told}."
    return "\n".join([*lines, "", memory])


def _mib(count: int | None) -> str:
    return "failed" if count is None else f"{count / 2**20:.2f} MiB"


def _mebibytes(row: Row) -> str:
    if "peak_bytes" not in row:
        return untimed(row)
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


def _compile(record: Record) -> str:
    lines = [
        f"{origin(record)}: seconds of a first call, {record['rows'][0]['problem']}; in brackets "
        "without what a warm call takes",
        "",
        "| method, batch | contender | nothing cached | compilation cache | a warm call |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        first = [_first_call(row, state) for state in STATES]
        warm = f"{row['warm_s']:.2f}" if row.get("warm_s") is not None else "–"
        case = f"{row['method']}, {row['batch']}"
        lines.append(f"| {' | '.join([case, row['contender'], *first, warm])} |")
    return "\n".join(lines)


def _first_call(row: Row, state: str) -> str:
    """Seconds of a first call, and of what is left of it without a warm one."""
    first, warm = row[f"{state}_s"], row.get("warm_s")
    if first is None:
        return untimed(row)
    return f"{first:.2f} [{'–' if warm is None else f'{max(0.0, first - warm):.2f}'}]"


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
            lines.append(f"{head} {untimed(row)} | | | |")
    return "\n".join(lines)


def _scaling(record: Record) -> str:
    lines = [
        f"{origin(record)}: {record['rows'][0]['case']}",
        "",
        "| devices | images/s |",
        "|---|---|",
    ]
    for row in record["rows"]:
        lines.append(f"| {row['devices']} | {rate(row) if 'time' in row else untimed(row)} |")
    return "\n".join(lines)


PARTS = {
    "throughput": speed.table,
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
