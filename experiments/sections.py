"""Sections that a later experiment adds to the report of the study that it looked at again."""

from pathlib import Path

ORDER = ("tumor_shape", "sanity", "compare_methods")
"""In which they stand in the report."""


def write(folder: Path, name: str, html: str) -> None:
    """Keeps a section in a study's folder of sections, in place of an earlier one.

    Raises:
        ValueError: a name that has no place in the report.
    """
    if name not in ORDER:
        raise ValueError(f"name: expected one of {ORDER}, got {name!r}")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.html").write_text(f'<section id="{name}">\n{html}\n</section>\n')


def read(folder: Path) -> list[str]:
    """The sections that lie in a folder, in the report's order."""
    paths = [folder / f"{name}.html" for name in ORDER]
    return [path.read_text() for path in paths if path.exists()]
