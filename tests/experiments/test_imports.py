"""The study stands apart: it imports public names, and the library does not know its subject."""

import re

import pytest

from tests.test_layering import ROOT, imports

STUDY = re.compile(r"tumou?r|brain|\bskull|in the head\b|rest of head", re.IGNORECASE)
LIBRARY = ("types", "engine", "common", "compiler", "rewrite", "methods", "metrics", "store", "viz")
FILES = [
    path
    for name in LIBRARY
    for path in sorted((ROOT / "jaxsal").glob(f"{name}*/**/*.py"))
    + sorted((ROOT / "jaxsal").glob(f"{name}.py"))
]


@pytest.mark.parametrize("folder", ["experiments", "benchmarks"])
def test_imports_are_of_public_modules(folder: str) -> None:
    for path in (ROOT / folder).glob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "jaxsal":
                assert not any(part.startswith("_") for part in parts), f"{path}: imports {name}"
                assert "signatures" not in parts, f"{path}: imports {name}"


def test_the_library_does_not_know_the_study() -> None:
    assert len(FILES) > 50
    found = {path.name: STUDY.findall(path.read_text()) for path in FILES}
    assert not {name: words for name, words in found.items() if words}
