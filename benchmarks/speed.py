"""The tables of images a second: jaxsal's, and how many times as fast as each peer that is.

Every contender that a method has (`peers.PEERS`) is in a column, or is named below the table.
"""

from collections import Counter
from collections.abc import Iterable

from benchmarks import peers
from benchmarks.agreement import variant_of
from benchmarks.cells import ranged, rate, reason, share, untimed
from benchmarks.contest import NO_TIME
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
    row_of,
)


def _measured_on(record: Record) -> str:
    return f"{machine(record)}{_unfinished(record)}, {record['date']}, commit {record['commit']}"


def headline() -> str:
    """A row for each method of the newest headlines: on a CPU, and on an accelerator beside it."""
    cpu, gpu = newest("throughput", "headline"), newest("throughput", "gpu-headline")
    on_cpu, on_gpu = _by_method(cpu), _by_method(gpu)
    columns = "images/s | captum | PyTorch | plain JAX | of the floor"
    lines = [
        f"CPU: {_measured_on(cpu)}. GPU: {_measured_on(gpu)}.",
        "",
        f"| method | batch: CPU, GPU | CPU: {columns} | GPU: {columns} |",
        "|---" * 12 + "|",
    ]
    for method in on_cpu | on_gpu:
        both = [rows.get(method, []) for rows in (on_cpu, on_gpu)]
        batches = ", ".join(str(rows[0]["batch"]) if rows else "–" for rows in both)
        cells = [method, batches, *(cell for rows in both for cell in _best(rows))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_method(record: Record) -> dict[str, list[Row]]:
    """The rows of each method's first case."""
    found: dict[str, list[Row]] = {}
    for rows in by_case(record).values():
        found.setdefault(rows[0]["method"], rows)
    return found


def _best(rows: list[Row]) -> list[str]:
    """images/s, the best run of each peer, the share of the floor; blank without rows."""
    if not rows:
        return [""] * 5
    if "time" not in rows[0]:
        return [untimed(rows[0]), *[""] * 4]
    by = [_fastest(rows, peer) for peer in (CAPTUM, TORCH, PLAIN)]
    return [rate(rows[0]), *by, share(rows[0])]


def _unfinished(record: Record) -> str:
    """What a record says that was stopped, or had no time for some cases."""
    stopped = ", **unfinished**" if record.get("finished") is False else ""
    left = record.get("left_out")
    return stopped + (f", without {'; '.join(left)}: {NO_TIME}" if left else "")


def table(record: Record) -> str:
    """A line a case, a column a peer, and below them who is in no column and why."""
    lines = [
        f"{origin(record)}{_unfinished(record)}: times as fast as",
        "",
        "| method, problem, batch | images/s | captum | captum, best run "
        "| PyTorch by hand, best run | plain JAX, best run | another library | least cosine "
        "| of the floor |",
        "|---" * 9 + "|",
    ]
    for case, rows in by_case(record).items():
        if "time" not in rows[0]:
            lines.append(f"| {case} | {untimed(rows[0])} | | | | | | | |")
            continue
        others = [(name, row) for name in OTHERS if (row := row_of(rows, name))]
        cells = [
            rate(rows[0]),
            _times(row_of(rows, CAPTUM)),
            *(_fastest(rows, peer) for peer in (CAPTUM, TORCH, PLAIN)),
            ", ".join(f"{_times(row)} ({name})" for name, row in others),
            _least_cosine(rows),
            share(rows[0]),
        ]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_beside(record)])


def _fastest(rows: list[Row], peer: str) -> str:
    """How many times as fast as a peer's best run; and of what, where that is not its best.

    By hand a library is at least as fast as a library upon it is, and the steps of a program can be
    had in other ways than a scan's.
    """
    best, others = fastest(rows, peer), fastest(rows, CAPTUM)
    if best is None or "time" not in best:
        return _times(best)
    names = [r["contender"] for r in rows if r["contender"].startswith(peer) and "time" in r]
    slow = others is not None and best["ratio"] > others.get("ratio", best["ratio"])
    if peer == TORCH and slow and set(peers.BY_HAND) - set(names):
        forms = [name.removeprefix(TORCH).strip() or "contiguous" for name in names]
        single = [form for form in forms if form != "bfloat16"]
        return f"{_times(best)} ({' and '.join(single)} alone)"
    if names == [PLAIN] and peers.STEPS[0] in peers.PEERS.get(best["method"], ()):
        return f"{_times(best)} (lax.scan alone)"
    return _times(best)


def _times(row: Row | None) -> str:
    """A ratio, with its range over the rounds where that says both; or why there is none."""
    if row is None or ("absent" in row and not _offered(row)):
        return ""
    return ranged(row, always=False) if "time" in row else untimed(row)


def _offered(row: Row) -> bool:
    """Whether a contender has a case's method: older records name some that do not."""
    return row["contender"] in peers.PEERS.get(row["method"], ())


def _least_cosine(rows: list[Row]) -> str:
    """Of the maps whose ratios a line has, to jaxsal's."""
    others = [row for row in rows[1:] if "time" in row and "bfloat16" not in row["contender"]]
    if others and others[0]["random"]:
        return "random"
    return f"{min(row['agreement']['cosine'] for row in others):.4f}" if others else ""


def _beside(record: Record) -> list[str]:
    """Who was timed beside jaxsal, and who of those that the methods have was not, and why."""
    others = [row for row in record["rows"] if row["contender"] != "jaxsal"]
    timed = dict.fromkeys(row["contender"] for row in others if "time" in row)
    lines = [f"Timed beside it: {_listed(timed)}."] if timed else ["Nothing was timed beside it."]
    failed = [f"{r['contender']} ({r['case']}: {reason(r)})" for r in others if "failed" in r]
    lines += [f"Failed: {'; '.join(failed)}."] if failed else []
    absent = dict.fromkeys(r["contender"] for r in others if "absent" in r and _offered(r))
    lines += [f"Absent: {_listed(absent)}."] if absent else []
    lines += _not_asked(record)
    variants = {(r["contender"], r["method"]): variant_of(r) for r in others if "time" in r}
    told = [f"{who}'s {what}: {v.why}" for (who, what), v in variants.items() if v]
    lines += [f"Other maps by definition: {'; '.join(told)}."] if told else []
    return [line for each in lines for line in (each, "")][:-1]


def _not_asked(record: Record) -> list[str]:
    """The peers of a method that were not asked, anywhere or at some cases, in a line or none."""
    why = record.get("not_asked", {}).get("why") or "they came later, or there was no time"
    told = []
    for cases, names in sorted(lacking(record).items()):
        at, because = (f" at {'; '.join(cases)}", "") if cases else ("", f": {why}")
        told.append(f"Not asked{at}: {_listed(names)}{because}.")
    return [" ".join(told)] if told else []


def lacking(record: Record) -> dict[tuple[str, ...], list[str]]:
    """Peers at float32 without a row, by the cases that lack them; () for those that all lack."""
    without: dict[str, list[str]] = {}
    offered: Counter[str] = Counter()
    for case, rows in by_case(record).items():
        offers = peers.PEERS.get(rows[0]["method"], ())
        names = [name for name in offers if name not in peers.BFLOAT16]
        offered.update(names)
        for name in names:
            if row_of(rows, name) is None:
                without.setdefault(name, []).append(case)
    found: dict[tuple[str, ...], list[str]] = {}
    for name, cases in without.items():
        found.setdefault(() if len(cases) == offered[name] else tuple(cases), []).append(name)
    return found


def _listed(names: Iterable[str]) -> str:
    """Names, chunks of one kind together: some have a comma, so that semicolons are between."""
    found: dict[str, list[str]] = {}
    for name in names:
        kind, _, chunk = name.partition(", chunk ")
        found.setdefault(kind, []).append(chunk)
    return "; ".join(_in_chunks(kind, chunks) for kind, chunks in found.items())


def _in_chunks(kind: str, chunks: list[str]) -> str:
    sizes = [chunk for chunk in chunks if chunk]
    if not sizes:
        return kind
    return f"{kind}{', also' if '' in chunks else ','} in chunks of {', '.join(sizes)}"
