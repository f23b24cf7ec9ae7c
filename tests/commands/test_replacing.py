"""No result takes the place of a file that is read, a user's own, or another command's."""

from pathlib import Path

import pytest

from jaxsal import cli
from tests.commands.squares import here as here
from tests.data import files

MODEL = ("--apply", "tests.commands.squares:squares", "--params", "p.npz", "--image-size", "8")


@pytest.fixture(autouse=True)
def scans(here) -> None:
    for n, name in enumerate(("scans/x.png", "scans/more/y.png")):
        files.save(Path(name), files.grey(n, 8, 8))


def explain(images: str, out: str, *options: str) -> int:
    given = ("--images", images, "--out", out, "--method", "gradient", *options)
    return cli.main(["explain", *MODEL, *given])


def content() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def refused(capsys, images: str, out: str, *options: str) -> str:
    """The error, where nothing was written, replaced or removed."""
    before = content()
    assert explain(images, out, *options) == 1
    assert content() == before
    return capsys.readouterr().err.strip().removeprefix("jaxsal: error: ")


@pytest.mark.parametrize(
    ("images", "out", "expected"),
    [
        ("scans/x.png", "scans", "out: 'scans/x.png' is one of the files that are read"),
        ("scans/x.png", "link", "out: 'link/x.png' is one of the files that are read"),
        (
            "scans",
            ".",
            "out: '.' holds every image of 'scans', 2 images: what lies there counts as",
        ),
        ("scans/**/*.png", "scans", "out: 'scans' holds every image of 'scans/**/*.png', 2 images"),
        ("scans/more", "scans", "out: 'scans' holds every image of 'scans/more', 1 image:"),
        ("scans", "scans", "out: expected another place than the images', got scans"),
    ],
)
def test_an_image_is_not_replaced_by_its_picture(images, out, expected, capsys) -> None:
    Path("link").symlink_to("scans")
    assert refused(capsys, images, out).startswith(expected)


def test_masks_and_files_of_a_user_are_not_replaced(capsys) -> None:
    files.save(Path("masks/x.png"), files.outline(8, 8))
    told = refused(capsys, "scans", "masks", "--masks", "masks")
    assert told == ("out: 'masks/x.png' is one of the files that are read; expected another folder")
    for name in ("mine/more/y.png", "site/index.html", "list/index.json"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}")
        told = refused(capsys, "scans", name.partition("/")[0])
        assert told.startswith(f"out: '{name}' is there, in a folder that is no run's; expected")


def test_a_run_s_own_pictures_are_replaced_and_none_of_them_is_an_image(capsys) -> None:
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    assert explain(".", "out") == 0
    first = content()
    assert {"out/scans/x.png", "out/index.json", "out/notes.txt"} <= {f"{p}" for p in first}
    for name in ("index.json", "index.html", "contact_sheet.png"):
        Path("out", name).unlink()  # as if it had been interrupted
    capsys.readouterr()
    assert explain(".", "out") == 0
    assert content() == first
    told = capsys.readouterr().out
    assert "2 images explained" in told
    assert "not used: 4, in the place of the results: out/_thumbnails/0.png, out/" in told
    assert "one of the files that are read" in refused(capsys, "out/scans/x.png", "out/scans")
