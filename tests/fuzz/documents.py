"""Files that are cut short, mislabelled, mangled or malicious; and the command's arguments."""

import contextlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

import jaxsal
from jaxsal import checkpoint, cli
from jaxsal.command import wording
from jaxsal.data import pictures, pipeline
from jaxsal.models import CNN
from tests import toy
from tests.fuzz.calls import Case, _explainer
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


def pictures_broken(seed: int) -> Iterator[Case]:
    """Image files, by themselves and to the command."""
    draw = np.random.default_rng(seed)
    for kind in FORMATS:
        for number in range(30):
            content = mangled(picture(kind), draw)
            label = FORMATS[int(draw.integers(len(FORMATS)))]

            def call(place: Path, content: bytes = content, label: str = label) -> Any:
                source = pictures.find(str(put(place, {f"a.{label}": content})), size=16)
                try:
                    return [source[i] for i in range(len(source))]
                except pictures.BrokenImage as error:
                    raise ValueError(f"images: {error.name}: {error}") from error

            yield Case(f"picture {kind} {number} as {label}", call, ("images",))
    for number in range(12):
        content = mangled(picture("png"), draw)

        def folder(place: Path, content: bytes = content) -> None:
            put(place / "scans", {"a.png": content, "b.jpg": picture("jpg"), "c.png": b""})
            put(place / "net", network())
            options = ("--method", "gradient", "--out", str(place / "out"))
            command(
                "explain",
                "--checkpoint",
                str(place / "net"),
                "--images",
                str(place / "scans"),
                *options,
            )

        yield Case(f"command pictures {number}", folder, PLACES)


def sets_broken(seed: int) -> Iterator[Case]:
    """Class folders and archives for training."""
    draw = np.random.default_rng(seed + 1)
    for number in range(12):
        contents = {f"{c}/{i}.png": mangled(picture("png"), draw) for c in "ab" for i in range(3)}

        def folder(place: Path, contents: dict[str, bytes] = contents) -> Any:
            put(place / "data", contents)
            return pipeline.folder(place / "data", image_size=16, cache=place / "cache")

        yield Case(f"class folders {number}", folder, ("data_dir", "images", "folders"))
    for name in ("../evil.mat", "/evil.mat", "a/../../evil.mat", "1.mat"):

        def archive(place: Path, name: str = name) -> Any:
            (place / "data").mkdir()
            with zipfile.ZipFile(place / "data/brainTumorDataPublic_1-766.zip", "w") as file:
                file.writestr(name, mangled(picture("png"), np.random.default_rng(0)))
            return pipeline.figshare(place / "data", image_size=16, cache=place / "cache")

        yield Case(f"archive {name}", archive, ("data_dir", "images", "mat"))


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


def arrays_broken(seed: int) -> Iterator[Case]:
    """Array files as images and as parameters."""
    draw = np.random.default_rng(seed + 2)
    found = list(arrays())
    found += [
        (f"{what} mangled {n}", name, mangled(content, draw))
        for n in range(3)
        for what, name, content in found
    ]
    parameters = io.BytesIO()
    np.savez(parameters, **toy.params())
    for what, name, content in found:

        def images(place: Path, name: str = name, content: bytes = content) -> None:
            put(place, {name: content, "p.npz": parameters.getvalue()})
            command(
                "explain",
                "--apply",
                "tests.toy:apply",
                "--params",
                str(place / "p.npz"),
                "--method",
                "gradient",
                "--images",
                str(place / name),
                "--out",
                str(place / "out.zarr"),
            )

        def params(place: Path, name: str = name, content: bytes = content) -> Any:
            return checkpoint.read_params(put(place, {name: content}) / name)

        yield Case(f"images {what}, {name}", images, PLACES)
        yield Case(f"params {what}, {name}", params, ("params", "path"))


def networks_broken(seed: int) -> Iterator[Case]:
    """A trained network's files, mangled."""
    draw = np.random.default_rng(seed + 3)
    for number in range(40):
        files = dict(network())
        victim = sorted(files)[int(draw.integers(2))]
        files[victim] = mangled(files[victim], draw)

        def load(place: Path, files: dict[str, bytes] = files) -> Any:
            put(place / "net", files)
            np.save(place / "x.npy", np.zeros((1, 16, 16, 1), np.float32))
            command(
                "explain",
                "--checkpoint",
                str(place / "net"),
                "--images",
                str(place / "x.npy"),
                "--method",
                "gradient",
                "--out",
                str(place / "o.zarr"),
            )

        yield Case(f"network {number} {victim}", load, PLACES)


def stores_broken(seed: int) -> Iterator[Case]:
    """A store of which a file is mangled or missing, gone on with."""
    draw = np.random.default_rng(seed + 4)
    for number in range(40):
        chosen, bits = int(draw.integers(1000)), int(draw.integers(2**31))

        def go_on(place: Path, chosen: int = chosen, bits: int = bits) -> None:
            def run() -> Any:
                return jaxsal.explain_dataset(
                    _explainer("gradient"), toy.params(), good(), place / "m", chunk=2
                )

            run()
            files = sorted(path for path in (place / "m").rglob("*") if path.is_file())
            victim = files[chosen % len(files)]
            victim.write_bytes(mangled(victim.read_bytes(), np.random.default_rng(bits)))
            (place / "m/status/c/1").unlink(missing_ok=True)
            run()

        yield Case(f"store {number}", go_on, ("out", "store"))


WORDS = (
    "gradient(", "gradient)", "(gradient)", "gradient()()", "gradient;gradient", "__import__('os')",
    "smoothgrad", "smoothgrad()", "smoothgrad(smoothgrad(gradient))", "smoothgrad(gradient, rise)",
    "gradient(steps=1)", "occlusion(window=)", "occlusion(window=[1,'a'])", "occlusion(**{})",
    "occlusion(window=open('x'))", "lambda: 0", "1", "''", "[gradient]", "gradient.x", "é", "\x00",
    "occlusion(window='nowhere.npy')", "occlusion(window=9**99999)", "(" * 5000, "a" * 100000,
    "rise(samples=-1)", "rise(samples=0)", "integrated_gradients(steps=1e9)", "grad_cam(layer='x')",
)  # fmt: skip


def commands() -> Iterator[Case]:
    """Arguments of the command."""
    base = {"--checkpoint": "net", "--images": "a.png", "--out": "out.zarr", "--method": "gradient"}
    odd = (
        "",
        " ",
        "/",
        ".",
        "..",
        "../../etc",
        "\x00",
        "~nobody/x",
        "a" * 5000,
        "*" * 50,
        "[",
        "-1",
        "nan",
        "é" * 300,
        "/dev/null",
        "/proc/self/mem",
        "tfds:",
        "tfds:no_such_set_at_all",
    )
    options = {
        **{name: odd for name in ("--checkpoint", "--images", "--targets")},
        "--out": (
            "",
            "a.png",
            "a.png/x",
            "/dev/null",
            "/proc/x.zarr",
            "\x00",
            "a" * 5000,
            "net/p.zarr",
        ),
        "--method": WORDS,
        "--chunk": ("0", "-1", "x", "1e3", "99999999999999999999"),
        "--batch-size": ("0", "-1", "x", "99999999999"),
        "--image-size": ("0", "-1", "x", "1"),
        "--seed": ("-1", "x", "99999999999999999999999"),
        "--apply": ("a", "a:b", "os:system", "tests.toy:", ":apply", "tests.toy:SHAPE"),
        "--channels": ("2", "3"),
        "--dtype": ("int8",),
        "--nonsense": ("1",),
    }
    for option, values in options.items():
        for value in values:

            def call(place: Path, option: str = option, value: str = value) -> None:
                put(place / "net", network())
                put(place, {"a.png": picture("png")})
                with contextlib.chdir(place):
                    given = {**base, option: value}
                    if option == "--out" and value == "net/p.zarr":
                        shutil.rmtree("net/p.zarr", ignore_errors=True)
                    command("explain", *[word for pair in given.items() for word in pair])

            name = option.strip("-").replace("-", "_")
            yield Case(f"command {option} {value[:40]!r}", call, (*PLACES, name, "arguments"))


def words() -> Iterator[Case]:
    for text in WORDS:
        yield Case(
            f"wording {text[:40]!r}",
            partial(lambda place, t: wording.method(t), t=text),
            ("method", "samples"),
        )


def cases(seed: int) -> list[Case]:
    """All of them, drawn from the seed."""
    drawn: tuple[Callable[[int], Iterator[Case]], ...] = (
        pictures_broken, sets_broken, arrays_broken, networks_broken, stores_broken,
    )  # fmt: skip
    return [*(c for kind in drawn for c in kind(seed)), *commands(), *words()]
