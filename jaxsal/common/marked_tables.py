"""Tables that a command writes into a text, between marks that name the table and the command."""

from collections.abc import Mapping


def place(text: str, tables: Mapping[str, str], command: str) -> str:
    """The text with each table between its marks.

    The marks are lines: `<!-- NAME: COMMAND -->` before, `<!-- end of NAME -->` after.

    Raises:
        ValueError: no place for a table, or several, or one without an end.
    """
    for name, table in tables.items():
        begin, last = f"<!-- {name}: {command} -->\n", f"<!-- end of {name} -->"
        before, *rest = text.split(begin)
        if len(rest) != 1:
            raise ValueError(f"README: {len(rest)} places for the table {name!r}, expected one")
        _, end, after = rest[0].partition(last)
        if not end:
            raise ValueError(f"README: the table {name!r} has no end, expected {last}")
        text = f"{before}{begin}{table}\n{last}{after}"
    return text
