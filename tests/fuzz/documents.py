"""Files in the place of images, sets, parameters, networks and stores."""

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import jaxsal
from jaxsal.data import pictures, pipeline
from jaxsal.data.wanted import Wanted
from jaxsal.training import parameter_files
from tests import toy
from tests.fuzz.calls import Case, prepared
from tests.fuzz.material import FORMATS, PLACES, arrays, command, mangled, network, picture, put
from tests.fuzz.values import good


def pictures_broken(seed: int) -> Iterator[Case]:
    """Image files, by themselves and to the command."""
    draw = np.random.default_rng(seed)
    for kind in FORMATS:
        for number in range(30):
            content = mangled(picture(kind), draw)
            label = FORMATS[int(draw.integers(len(FORMATS)))]

            def call(place: Path, content: bytes = content, label: str = label) -> Any:
                source = pictures.find(str(put(place, {f"a.{label}": content})), wanted=Wanted(16))
                try:
                    return [source[i] for i in range(len(source))]
                except pictures.BrokenImage as error:
                    raise ValueError(f"images: {error.source_name}: {error}") from error

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
            return parameter_files.read_params(put(place, {name: content}) / name)

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
                    prepared("gradient"), toy.params(), good(), place / "m", chunk=2
                )

            run()
            files = sorted(path for path in (place / "m").rglob("*") if path.is_file())
            victim = files[chosen % len(files)]
            victim.write_bytes(mangled(victim.read_bytes(), np.random.default_rng(bits)))
            (place / "m/status/c/1").unlink(missing_ok=True)
            run()

        yield Case(f"store {number}", go_on, ("out", "store"))


def cases(seed: int) -> list[Case]:
    """All of them, drawn from the seed."""
    drawn: tuple[Callable[[int], Iterator[Case]], ...] = (
        pictures_broken, sets_broken, arrays_broken, networks_broken, stores_broken,
    )  # fmt: skip
    return [c for kind in drawn for c in kind(seed)]
