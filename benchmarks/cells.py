"""What a row of a record says in a cell of a table."""

from benchmarks.contest import NO_TIME
from benchmarks.records import Row


def rate(row: Row) -> str:
    value = row["images_per_s"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def share(row: Row) -> str:
    return f"{row['of_floor']:.0%}" if "of_floor" in row else ""


def ranged(row: Row, *, always: bool = True) -> str:
    """A median of rounds with the least and the largest of them."""
    least, most = row["ratios"]
    if least == most == 1 or not (always or least < 1 < most):
        return f"{row['ratio']:.2f}"
    told = "one round" if least == most else f"{least:.2f}, {most:.2f}"
    return f"{row['ratio']:.2f} [{told}]"


def untimed(row: Row) -> str:
    """Why a row has no time."""
    if "absent" in row:
        return "no time" if row["absent"] == NO_TIME else "absent"
    return f"failed: {reason(row)}" if "failed" in row else "failed"


def reason(row: Row) -> str:
    return row["failed"].partition(":")[0]
