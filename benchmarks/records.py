"""The committed records under benchmarks/results: their names, and how a row is found in one."""

import json
import re
from pathlib import Path
from typing import Any

from jaxsal.common import provenance

RESULTS = Path(__file__).parent / "results"
CAPTUM, TORCH, PLAIN = "captum", "torch", "plain jax"
OTHERS = ("zennit", "grad-cam", "saliency")
UNWRITTEN = "jaxsal without rewrites"
ONLY = "plain jax, only "
"""Contenders; the last is plain JAX's program with the rewrite whose name follows."""
COUNTED_BY = "counted_by"
"""In a predicted row the digest of the code that counted; older rows have none."""

Record = dict[str, Any]
Row = dict[str, Any]


def file_name(record: Record) -> str:
    """NAME-SETTINGS-HARDWARE-JAX-DATE.json of a record."""
    settings = re.sub(r"[^a-z0-9]+", "-", record["settings"].lower())
    return f"{record['name']}-{settings}-{provenance.slug(record)}.json"


def write(record: Record, folder: Path, instead_of: Path | None = None) -> Path:
    """Writes a record; of the others only `instead_of` goes, the one that it carries on with.

    Raises:
        FileExistsError: another record has its name.
    """
    path = folder / file_name(record)
    with path.open("w" if path == instead_of else "x") as file:
        file.write(json.dumps(record, indent=1) + "\n")
    if instead_of not in (None, path):
        instead_of.unlink()
    return path


def of_the_same(record: Record, folder: Path) -> list[Path]:
    """The files of a folder with a record's measurement, settings and JAX, the oldest first.

    They may be of any date and any machine.
    """

    def what(record: Record) -> tuple[str, str, str]:
        return record["name"], record["settings"], record["versions"]["jax"]

    paths = sorted(folder.glob(f"{record['name']}-*.json"))
    others = ((json.loads(path.read_text()), path) for path in paths)
    found = [(other["date"], path) for other, path in others if what(other) == what(record)]
    return [path for _, path in sorted(found)]


def read(folder: Path = RESULTS, name: str | None = None) -> list[Record]:
    """The records of a folder, or those of one measurement, in order of their files' names."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [record for record in records if name in (None, record["name"])]


def newest(name: str, settings: str) -> Record:
    """The last record of a measurement with these settings; of a day's, that of the newest JAX."""
    found = [record for record in read(name=name) if record["settings"] == settings]
    return max(found, key=lambda record: (record["date"], _version(record)))


def _version(record: Record) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", record["versions"]["jax"]))


def machine(record: Record) -> str:
    """Hardware and JAX's version: "AMD EPYC, AVX2, 2 cores, jax 0.12.0.1"."""
    device, versions = record["device"], record["versions"]
    kind = device["kind"]
    if device["platform"] == "cpu":
        kind = f"{device['processor']}, {device['cores']} cores"
    return f"{kind}, jax {versions['jax']}"


def origin(record: Record) -> str:
    """Machine, command, date and commit of a record, in a line of Markdown."""
    said = f"`{record['command']}`, {record['date']}, commit {record['commit']}"
    return f"**{machine(record)}**, {said}"


def by_case(record: Record) -> dict[str, list[Row]]:
    """The rows of each case, jaxsal's first."""
    cases: dict[str, list[Row]] = {}
    for row in record["rows"]:
        cases.setdefault(row["case"], []).append(row)
    return cases


def row_of(rows: list[Row], name: str) -> Row | None:
    """The row of the contender of that name."""
    return next((row for row in rows if row["contender"] == name), None)


def fastest(rows: list[Row], prefix: str) -> Row | None:
    """The fastest at float32 of the contenders whose name begins so."""
    found = [
        r for r in rows if r["contender"].startswith(prefix) and "bfloat16" not in r["contender"]
    ]
    timed = [row for row in found if "time" in row]
    return min(timed, key=lambda row: row["ratio"]) if timed else next(iter(found), None)
