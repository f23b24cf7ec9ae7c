"""Measurements: `python -m benchmarks NAME`.

    python -m benchmarks rewrites                     each rewrite on and off, some five minutes
    python -m benchmarks rewrites --toy               the same at toy size, to see that it runs
    python -m benchmarks rewrites --out FILE.json     where the rows go

Ratios are what counts: contenders are timed in turn, round by round, and compared within a round.
"""

import argparse
import json
from pathlib import Path

from benchmarks import machine, rewrites

TOY = rewrites.Settings(image_size=16, batch=8, steps=2, widths=(4, 4), rounds=2)


def main(argv: list[str] | None = None) -> None:
    """Measures, prints a table, and writes the rows as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measurements.")
    parser.add_argument("name", choices=["rewrites"])
    parser.add_argument("--toy", action="store_true", help="tiny problems")
    parser.add_argument("--batch", type=int, default=rewrites.Settings().batch)
    parser.add_argument("--rounds", type=int, default=rewrites.Settings().rounds)
    parser.add_argument("--out", type=Path, help="a JSON file")
    given = parser.parse_args(argv)
    settings = TOY if given.toy else rewrites.Settings(batch=given.batch, rounds=given.rounds)
    rows = rewrites.run(settings)
    print(rewrites.table(rows))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        record = {"machine": machine.describe(), "settings": settings._asdict(), "rows": rows}
        given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
