"""Sections that a later experiment adds to the report of the study that it looked at again.

A section tells of one network: beside another one's figures it is not shown.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.report import write_page
from jaxsal.training import checkpoint

FOLDER = "sections"
ORDER = (
    *("tumor_shape", "interventions", "sanity", "compare_methods", "completeness"),
    "augmentation",
)
"""In which they stand in the report."""

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[ORDER]
    """An experiment on a finished study: the choices of a command's option."""


def write(study: Path, name: str, html: str) -> None:
    """Keeps a section in a study's folder, in place of an earlier one.

    Raises:
        ValueError: a name that has no place in the report.
    """
    if name not in ORDER:
        raise ValueError(f"name: expected one of {ORDER}, got {name!r}")
    folder = study / FOLDER
    folder.mkdir(exist_ok=True)
    text = f'{_mark(study)}\n<section id="{name}">\n{html}\n</section>\n'
    write_page(folder / f"{name}.html", text)


def read(study: Path) -> list[str]:
    """The sections about the network that lies in a study's folder, in the report's order."""
    paths = [study / FOLDER / f"{name}.html" for name in ORDER]
    texts = [path.read_text() for path in paths if path.exists()]
    return [text for text in texts if text.startswith(_mark(study))]


def _mark(study: Path) -> str:
    return f"<!-- network {checkpoint.fingerprint(study)} -->"
