"""Imports point one way: what each room of jaxsal may import, of jaxsal and of the world."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS = {
    # The library.
    "types": set(),
    "common": {"types"},
    "rewrite": {"types"},
    "methods": {"rewrite", "common", "types"},
    "metrics": {"rewrite", "common", "types"},
    "compiler": {"rewrite", "types"},
    "engine": {"compiler", "methods", "metrics", "rewrite", "common", "types"},
    "store": {"engine", "compiler", "common", "types"},
    "viz": {"types"},
    "render": {"viz"},
    "__init__": {"engine", "methods", "metrics", "rewrite", "store", "viz", "common", "types"},
    # Beside it, never imported by it.
    "models": {"common", "types"},
    "training": {"models", "data", "compiler", "rewrite", "common", "types"},
    "data": {"common", "types"},
    "commands": {
        *("training", "data", "models", "store", "viz", "engine", "compiler", "methods", "metrics"),
        *("common", "types"),
    },
    "cli": {"commands", "compiler", "common"},
    "__main__": {"cli"},
}
"""Each room, and the rooms that it may import besides itself."""

SIBLINGS = {
    "methods": {
        *{("cam", "backprop"), ("__init__", "*"), ("*", "_*"), ("path", "quadrature")},
        *{("smooth_cam", "noise"), ("layer", "quadrature"), ("path", "adaptive")},
        ("xrai", "path"),
    },
}
"""In these rooms files import no other file of the room, but for these."""

WORLD = {
    "flax": {"models.py", "training"},
    "optax": {"training"},
    "orbax": {"training"},
    "tensorflow_datasets": {"data"},
    "grain": {"data"},
    "h5py": {"data", "training"},
    "safetensors": {"training"},
    "tensorstore": {"store"},
    "matplotlib": {"viz"},
    "pydicom": {"data"},
    "nibabel": {"data"},
    "SimpleITK": {"data"},
    "tyro": {"cli.py", "commands"},
    "tqdm": {"commands", "compiler"},
    "skimage": {"methods"},
    "torch": set(),
    "tensorflow": set(),
}
"""Where in jaxsal these may be imported."""


def sources() -> list[Path]:
    return sorted((ROOT / "jaxsal").rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(ROOT / "jaxsal").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    allowed = ROOMS[room(path)] | {room(path)}
    for name in imports(path):
        parts = name.split(".")
        if parts[0] in {"experiments", "benchmarks", "tests"}:
            raise AssertionError(f"{path}: imports {name}")
        if parts[0] == "jaxsal" and len(parts) > 1:
            assert parts[1] in allowed, f"{path}: imports {name}"
        if parts[0] in WORLD:
            place = path.relative_to(ROOT / "jaxsal").parts[0]
            assert place in WORLD[parts[0]], f"{path}: imports {name}"


@pytest.mark.parametrize("inside", SIBLINGS)
def test_siblings_do_not_import_each_other(inside: str) -> None:
    for path in (ROOT / "jaxsal" / inside).glob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            if parts[:2] == ["jaxsal", inside] and len(parts) > 2:
                assert permitted(inside, path.stem, parts[2]), f"{path}: imports {name}"


def permitted(inside: str, file: str, other: str) -> bool:
    private = other.startswith("_")  # what several files of a room share
    pairs = {(file, other), (file, "*"), ("*", "_*" if private else other)}
    return file == other or bool(pairs & SIBLINGS[inside])


def test_the_rooms_have_no_cycle() -> None:
    def below(name: str, path: tuple[str, ...] = ()) -> None:
        assert name not in path, " -> ".join((*path, name))
        for other in ROOMS.get(name, ()):
            below(other, (*path, name))

    for name in ROOMS:
        below(name)
