"""What the records of `benchmarks targets` say, in words that no measurement is told in."""

import collections
import re
from collections.abc import Iterable, Iterator

from benchmarks.records import COUNTED_BY, ONLY, PLAIN, UNWRITTEN, Record, Row, origin, read

CASES = (
    "| target | method, problem, images a chip | predicted ms: jaxsal | plain JAX "
    "| predicted times as fast | GB moved | temporaries, MiB | GFLOP | collectives | compile s |"
)
ALONE = (
    "| target | program | one rewrite alone | predicted ms | predicted times as fast as without |"
)
SCALED = (
    "| target | method, problem, images a chip | chips | predicted ms | GB moved | memory, MiB "
    "| of the chip's | collectives | their bytes | their predicted ms | of the whole |"
)
HELD = "| target | case | contender | predicted ms | measured ms | predicted / measured |"


def table(record: Record) -> str:
    """A record in Markdown: each case, each rewrite alone, and what was measured beside them.

    Of a record by numbers of chips (`--chips`) each program on each of them.
    """
    rows = [row for row in record["rows"] if "case" in row]
    compilers = ", ".join(f"{k} {v}" for k, v in record.get("compilers", {}).items())
    lines = [f"{origin(record)}, {compilers}: **predicted**, a chip's part of each program", ""]
    lines += [f"- {target}: {model}" for target, model in record.get("models", {}).items()]
    lines += _compiled_at([row for row in rows if "failed" not in row])
    lines += _left_out(record)
    lines += [f"- {r['target']}: absent: {r['absent']}" for r in record["rows"] if "absent" in r]
    if "chips" in record:
        return "\n".join([*lines, *_scaled(record, rows)])
    lines += _part(CASES, (_case(*pair) for pair in _pairs(rows)))
    if any("* |" in line for line in lines):
        lines += ["", "\\* jaxsal without rewrites: the method is not written by hand."]
    lines += _part(ALONE, (_alone(row) for row in rows if row["contender"].startswith(ONLY)))
    return "\n".join(lines + _beside_measured(rows))


def _compiled_at(rows: list[Row]) -> list[str]:
    """Which commits the programs are of, and what their predictions leave out."""
    made = collections.Counter((r["date"], r["commit"]) for r in rows if "commit" in r)
    lines = [f"- {n} programs of {date}, commit {commit}" for (date, commit), n in made.items()]
    if unread := sum("without_estimate" not in row for row in rows):
        lines.append(f"- of {unread} of these, what the prediction leaves out was not looked at")
    if older := sum(COUNTED_BY not in row for row in rows):
        lines.append(f"- of {older} of these, no row says by which code it was counted")
    left = sorted({each for row in rows for each in row.get("without_estimate", ())})
    return lines + ([f"- left out of predictions: {', '.join(left)}"] if left else [])


def _left_out(record: Record) -> list[str]:
    """How many programs a record leaves out, of which methods, and what its last run passed by."""
    lines = [] if record.get("finished", True) else ["- unfinished"]
    told = record.get("left_out", [])
    others = [each for each in told if each.startswith("not looked at")]
    methods = [each.split(", ")[2] for each in told if each not in others]
    if methods:
        names = ", ".join(dict.fromkeys(methods))
        lines.append(f"- left out: {len(methods)} programs ({names})")
    return lines + [f"- by the last run {each}" for each in others]


def _beside_measured(rows: list[Row]) -> list[str]:
    """What was measured of these programs, and by which code."""
    measured = read(name="throughput")
    lines = _part(HELD, (_held(*pair) for pair in held_against(rows, measured)))
    commits = {r["commit"]: None for r in measured if any(held_against(rows, [r]))}
    return lines + [_measured_at(commit) for commit in commits]


def _measured_at(commit: str) -> str:
    unkept = ", with changes that no commit has" if commit.endswith("+changes") else ""
    return f"\nMeasured at commit {commit}{unkept}; predicted are programs of the commits above."


def _part(head: str, lines: Iterable[str]) -> list[str]:
    """A table, if it has a line."""
    found = list(lines)
    return ["", head, "|---" * (head.count("|") - 1) + "|", *found] if found else []


def _case(ours: Row, other: Row | None) -> str:
    cells = [
        ours["target"],
        ours["case"],
        _ms(ours),
        _beside(other),
        _ratio(ours),
        *(_figures(ours) if "failed" not in ours else [""] * 5),
    ]
    return f"| {' | '.join(cells)} |"


def _beside(other: Row | None) -> str:
    """The time of what jaxsal is compared with, if it is there; marked where not plain JAX."""
    if other is None:
        return ""
    return _ms(other) + ("" if other["contender"] == PLAIN else " *")


def _figures(row: Row) -> list[str]:
    """What XLA says of a program, but for its time."""
    held = row["temporaries"]
    return [
        f"{row['bytes'] / 1e9:.3g}",
        "not told" if held is None else f"{held / 2**20:,.0f}",
        f"{row['flops'] / 1e9:,.0f}",
        str(sum(row["collectives"].values())),
        f"{row['compile_s']:.0f}",
    ]


def _ms(row: Row) -> str:
    return "failed" if "failed" in row else f"{row['predicted_ms']:.3g}"


def _scaled(record: Record, rows: list[Row]) -> list[str]:
    """Each program by its number of chips, and what communication is modelled by."""
    told = [f"- {target}: {model}" for target, model in record["communication"].items()]
    ordered = sorted(rows, key=lambda row: (row["target"], rows.index(_first(rows, row))))
    return told + _part(SCALED, (_on_chips(row, record["chip_memory"]) for row in ordered))


def _first(rows: list[Row], row: Row) -> Row:
    """The first row of the same target and case."""
    same = (row["target"], row["case"])
    return next(each for each in rows if (each["target"], each["case"]) == same)


def _on_chips(row: Row, memory: dict[str, int]) -> str:
    head = [row["target"], row["case"], str(row["chips"])]
    if "failed" in row:
        return f"| {' | '.join([*head, 'failed', *[''] * 7])} |"
    kinds = row["collectives"].items()
    told, rest = row["communication_ms"], row["predicted_ms"]
    cells = [
        *head,
        _ms(row),
        f"{row['bytes'] / 1e9:.4g}",
        f"{row['memory'] / 2**20:,.0f}",
        f"{row['memory'] / memory[row['target']]:.1%}",
        ", ".join(f"{count} {kind}" for kind, count in kinds) or "0",
        f"{sum(row['collective_bytes'].values()):,}",
        f"{told:.3g}",
        f"{told / (told + rest):.2%}" if told else "0",
    ]
    return f"| {' | '.join(cells)} |"


def _alone(row: Row) -> str:
    name = row["contender"].removeprefix(ONLY)
    return f"| {row['target']} | {row['case']} | {name} | {_ms(row)} | {_ratio(row)} |"


def _ratio(row: Row) -> str:
    """How many times as fast; nothing where there is no other, or a loop's length is unknown."""
    return f"{row['times_as_fast']:.2f}" if "times_as_fast" in row else ""


def _held(row: Row, time: float) -> str:
    told = f"{row['predicted_ms']:.3g} | {time:.3g} | {row['predicted_ms'] / time:.2f}"
    return f"| {row['target']} | {row['case']} | {row['contender']} | {told} |"


def _pairs(rows: list[Row]) -> list[tuple[Row, Row | None]]:
    """jaxsal's row of each case, and that of what it is compared with, if there is one."""
    others = {(r["target"], r["case"]): r for r in rows if r["contender"] in (PLAIN, UNWRITTEN)}
    ours = [row for row in rows if row["contender"] == "jaxsal"]
    return [(row, others.get((row["target"], row["case"]))) for row in ours]


def held_against(rows: list[Row], measured: Iterable[Record]) -> Iterator[tuple[Row, float]]:
    """Predicted rows, with the milliseconds measured on the device of that name, if there are."""
    for record in measured:
        times = {
            _key(row, row["problem"], row["contender"]): row["time"]["median_ms"]
            for row in record["rows"]
            if "time" in row
        }
        for row in (each for each in rows if "predicted_ms" in each):
            problem, _, narrow = row["problem"].partition(" ")
            key = _key(row, problem, f"{row['contender']} {narrow}".strip())
            if row["target"] in re.split(r"\W+", record["device"]["kind"].lower()) and key in times:
                yield row, times[key]


def _key(row: Row, problem: str, contender: str) -> tuple[str, ...]:
    return problem, row["method"], str(row["batch"]), str(row["options"]), contender
