"""Files that are cut short, mislabelled, mangled or malicious, and the command that reads them."""

import contextlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxsal import cli
from jaxsal.models import CNN
from jaxsal.training import checkpoint
from tests.fuzz.values import good

FORMATS = ("png", "jpg", "gif", "bmp", "tiff", "webp")


class Evil:
    """Pickled, it writes a file where it is read."""

    def __reduce__(self) -> Any:
        return (os.system, ("touch ../pickle-was-run",))


@cache
def picture(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg" if kind == "jpg" else kind)
    return buffer.getvalue()


def mangled(content: bytes, draw: np.random.Generator) -> bytes:
    """Cut, flipped, repeated, or with noise put in."""
    data = bytearray(content)
    for _ in range(int(draw.integers(1, 4))):
        at, end = sorted(int(n) for n in draw.integers(0, max(len(data), 1), 2))
        match int(draw.integers(4)):
            case 0:
                data = data[:at]
            case 1:
                data[at:end] = draw.bytes(min(end - at, 64))
            case 2:
                data[at:at] = data[at:end]
            case _:
                data[at : at + 1] = bytes([int(draw.integers(256))])
    return bytes(data)


@cache
def network() -> dict[str, bytes]:
    """The two files of a small trained network."""
    import tempfile

    model = CNN(classes=2, widths=(4,))
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 16, 16, 1), np.float32))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder), model, variables, classes=("no", "yes"), image_size=16)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def put(place: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def command(*arguments: str) -> None:
    """The command in this process; its one line of error is raised, its exit codes are checked."""
    told, shown = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(shown):
        try:
            code = cli.main([*arguments, "--json"])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    lines = [line for line in told.getvalue().splitlines() if line.startswith("jaxsal: error: ")]
    if code == 0:
        json.loads(shown.getvalue())
        return
    if code == 2 and told.getvalue().strip():
        raise ValueError("arguments: refused with the usage")
    if code != 1 or len(lines) != 1 or "error" not in json.loads(shown.getvalue()):
        raise RuntimeError(f"exit code {code}, lines {lines}, {told.getvalue()[-300:]}")
    raise ValueError(lines[0])


PLACES = ("images", "out", "checkpoint", "params", "apply", "source", "strict", "method", "targets")


def arrays() -> Iterator[tuple[str, str, bytes]]:
    """`(what it is, file name, content)` of array files that are no arrays of images."""

    def saved(value: Any, pickled: bool = False) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=pickled)
        return buffer.getvalue()

    def zipped(**members: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for name, content in members.items():
                file.writestr(name.replace("__", "/").replace("UP", ".."), content)
        return buffer.getvalue()

    plain = saved(good())
    yield from (
        ("a pickle", "a.npy", saved(np.array([Evil()], object), True)),
        ("a raw pickle", "a.npy", pickle.dumps(Evil())),
        ("a pickle by name", "a.pkl", pickle.dumps(Evil())),
        (
            "a pickle inside",
            "a.npz",
            zipped(**{"images.npy": saved(np.array([Evil()], object), True)}),
        ),
        ("a path that leaves", "a.npz", zipped(**{"UP__UP__evil.npy": plain})),
        ("two arrays of one name", "a.npz", zipped(**{"a.npy": plain, "a__b.npy": plain})),
        ("no zip", "a.npz", b"PK\x03\x04 but no more"),
        ("a zip of text", "a.npz", zipped(**{"images.txt": b"hello"})),
        ("empty", "a.npy", b""),
        ("empty zip", "a.npz", zipped()),
        ("a header that lies", "a.npy", plain[:64] + b"9" * 20 + plain[84:]),
        ("huge by its header", "a.npy", plain.replace(b"(3, 8, 8, 1)", b"(3e9, 8,1,1)")),
        ("huge", "a.npy", plain.replace(b"(3, 8, 8, 1), }", b"(999999999,8,8,8)}")),
        ("msgpack", "a.msgpack", b"\xdf\xff\xff\xff\xff"),
        ("another kind", "a.safetensors", b"{}"),
    )
    for label, value in {
        "scalar": np.float32(1),
        "vector": np.ones(3),
        "no images": np.ones((0, 8, 8, 1)),
        "nan": np.full((3, 8, 8, 1), np.nan),
        "complex": np.ones((3, 8, 8, 1), complex),
        "text": np.full((3, 8, 8), "a"),
        "dates": np.zeros((3, 8, 8), "datetime64[s]"),
        "five axes": np.ones((3, 8, 8, 1, 1)),
        "other channels": np.ones((3, 8, 8, 2)),
        "booleans": np.ones((3, 8, 8), bool),
        "int64": np.ones((3, 8, 8), np.int64),
        "structured": np.zeros(3, [("a", "f4", (8, 8, 1))]),
        "infinite": np.full((3, 8, 8), np.inf),
    }.items():
        yield label, "a.npy", saved(value)
        yield label, "a.npz", zipped(**{"images.npy": saved(value)})
