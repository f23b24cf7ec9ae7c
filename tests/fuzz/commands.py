"""Arguments of the command, and methods in words."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from jaxsal.commands import method_syntax
from tests.fuzz.calls import Case
from tests.fuzz.material import PLACES, command, network, picture, put

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
            inside = re.findall(r"\b(\w+)=", value)  # the options of a method in words
            told = (*PLACES, name, "arguments", *inside)
            yield Case(f"command {option} {value[:40]!r}", call, told)


def words() -> Iterator[Case]:
    for text in WORDS:
        yield Case(
            f"wording {text[:40]!r}",
            partial(lambda place, t: method_syntax.method(t), t=text),
            ("method", "samples"),
        )


def cases() -> list[Case]:
    """All of them."""
    return [*commands(), *words()]
