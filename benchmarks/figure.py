"""The figures of speed, from the records under benchmarks/results.

python -m benchmarks.figure          writes throughput.png and targets.png there
"""

import itertools
import textwrap
from pathlib import Path
from typing import Any

from benchmarks.records import (
    CAPTUM,
    PLAIN,
    RESULTS,
    TORCH,
    UNWRITTEN,
    Record,
    by_case,
    fastest,
    machine,
    read,
    row_of,
)
from jaxsal.render import canvas, png, styled

PEERS = {
    "captum, defaults": ("#D55E00", "o", lambda rows: row_of(rows, CAPTUM)),
    "captum, best chunk": ("#E69F00", "D", lambda rows: fastest(rows, CAPTUM)),
    "PyTorch by hand, best": ("#0072B2", "s", lambda rows: fastest(rows, TORCH)),
    "plain JAX": ("#009E73", "^", lambda rows: row_of(rows, PLAIN)),
}
"""By name a colour of Okabe and Ito's, a marker, and which of a case's rows it is."""

AGAINST = {
    PLAIN: ("#009E73", "^", "plain JAX"),
    UNWRITTEN: ("#666666", "o", "jaxsal without rewrites, where plain JAX is not written by hand"),
}
"""By what a prediction is compared with a colour, a marker and words."""

COLUMNS = 3
"""Panels beside each other."""


@styled
def speedups(records: list[dict[str, Any]]) -> Any:
    """How many times as fast as each peer jaxsal is: a panel per machine, a line per case."""
    machines: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for record in records:
        name = machine(record)
        known, cases = machines.setdefault(name, {}), _cases(record)
        if twice := sorted(set(known) & set(cases)):
            raise ValueError(f"records: {twice} in several of {name}")
        known |= cases
    columns = min(COLUMNS, len(machines))
    rows = itertools.zip_longest(*[iter(map(len, machines.values()))] * columns, fillvalue=0)
    heights = [1.2 + 0.25 * max(row) for row in rows]
    size = 5.2 * columns, sum(heights)
    shape = {"nrows": len(heights), "ncols": columns, "height_ratios": heights}
    figure, panels = canvas(*size, **shape, squeeze=False)
    for axis, name in itertools.zip_longest(panels.flat, machines):
        if name is None:
            axis.set_axis_off()
            continue
        _panel(axis, machines[name])
        axis.set(title=textwrap.fill(name, 34), xlabel="times as fast as the peer (logarithmic)")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(PEERS))
    return figure


def _panel(axis: Any, cases: dict[str, list[dict[str, Any]]]) -> None:
    names = list(cases)[::-1]
    for label, (colour, marker, chosen) in PEERS.items():
        found = [(chosen(cases[name]), line) for line, name in enumerate(names)]
        points = [(row["ratio"], line) for row, line in found if row and "time" in row]
        if points:
            axis.scatter(*zip(*points, strict=True), c=colour, marker=marker, s=26, label=label)
    _times_axis(axis, names, [1, 2, 4, 8, 16, 32])


def _times_axis(axis: Any, names: list[str], ticks: list[float]) -> None:
    """A line a name, and how many times as fast, logarithmic."""
    axis.axvline(1, color="#555555", linewidth=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xticks(ticks, minor=False)
    axis.minorticks_off()
    axis.set_yticks(range(len(names)), names)
    axis.grid(axis="both", alpha=0.25)


def _cases(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each case on which some peer was timed too."""
    return {
        name: rows
        for name, rows in by_case(record).items()
        if any((row := peer(rows)) and "time" in row for _, _, peer in PEERS.values())
    }


@styled
def predictions(records: list[Record]) -> Any:
    """Predicted times as fast as plain JAX, or as jaxsal itself: a panel per target."""
    targets = _predicted(records)
    longest = max(map(len, targets.values()))
    size = 5.2 * len(targets), 1.4 + 0.25 * longest
    figure, panels = canvas(*size, ncols=len(targets), squeeze=False)
    for axis, (name, cases) in zip(panels.flat, targets.items(), strict=True):
        names = list(cases)[::-1]
        for other, (colour, marker, label) in AGAINST.items():
            lines = [line for line, case in enumerate(names) if cases[case][0] == other]
            times = [cases[names[line]][1] for line in lines]
            axis.scatter(times, lines, c=colour, marker=marker, s=26, label=label)
        _times_axis(axis, names, [0.5, 1, 2, 4, 8, 16, 32])
        axis.set(title=name, xlabel="predicted, times as fast")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(AGAINST))
    return figure


def _predicted(records: list[Record]) -> dict[str, dict[str, tuple[str, float]]]:
    """By target and case what jaxsal is compared with, and how many times as fast it is."""
    rows = [row for record in records for row in record["rows"]]
    others = {
        (r["target"], r["case"]): r["contender"] for r in rows if r.get("contender") in AGAINST
    }
    targets: dict[str, dict[str, tuple[str, float]]] = {}
    for row in rows:
        other = others.get((row["target"], row.get("case")))
        if other and row["contender"] == "jaxsal" and "times_as_fast" in row:
            targets.setdefault(row["target"], {})[row["case"]] = other, row["times_as_fast"]
    return targets


def main(folder: Path = RESULTS) -> None:
    """Draws the committed records."""
    drawn = {"throughput": speedups, "targets": predictions}
    for name, draw in drawn.items():
        (folder / f"{name}.png").write_bytes(png(draw(read(folder, name)), dpi=150))


if __name__ == "__main__":
    main()
