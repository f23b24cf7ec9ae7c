"""Pictures of a folder: names, titles, sizes and masks; what is wrong with one ends no run."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsal import cli
from jaxsal.commands import drawing, pages
from jaxsal.commands.drawing import said
from jaxsal.commands.overlays import free_name
from tests import toy

draw = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a.png"),
        ("b/a.jpg", "b/a.png"),
        ("scan.v2", "scan.v2.png"),
        ("s.nii.gz", "s.png"),
        (".png", ".png.png"),
        ("_thumbnails/1.png", "__thumbnails/1.png"),
        ("../../etc/passwd", "etc/passwd.png"),
        ("/etc/passwd", "etc/passwd.png"),
        ("..\\..\\windows", "windows.png"),
        ("c:\\a\0b", "c_/a_b.png"),
        ("", "image.png"),
        ("..", "image.png"),
        ("index.json", "index.json.png"),
    ],
)
def test_a_name_stays_below_the_folder(name, expected) -> None:
    assert free_name(name, set()) == expected


def test_equal_names_get_a_number() -> None:
    taken: set[str] = set()
    assert [free_name(name, taken) for name in ("a", "a.png", "../a")] == [
        "a.png",
        "a-2.png",
        "a-3.png",
    ]


def test_long_names_fit_a_file_system() -> None:
    for name in ("漢" * 300 + ".jpg", "a" * 400):
        place = free_name(name, set(), "-12345678")
        assert len(f".{place}.partial".encode()) <= 255
        assert place.endswith("-12345678.png")


NAMES = ("a/cost $5 & $x$.png", "b/2.jpg", "b/2.png", "<b>.png")


@pytest.fixture(scope="module")
def explained(tmp_path_factory) -> tuple[Path, list[dict]]:
    """A folder of classes whose names are markup elsewhere, explained for the images' own."""
    here = tmp_path_factory.mktemp("overlays")
    for name, shape in zip(NAMES, ((40, 20), (8, 8), (30, 300), (8, 8)), strict=True):
        for root in ("scans", "masks")[: 2 if "$" in name else 1]:
            path = here / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 256, shape, np.uint8)
            pixels = (
                255 * (np.indices(shape).sum(0) < 12).astype(np.uint8)
                if root == "masks"
                else pixels
            )
            Image.fromarray(pixels).save(path)
    np.savez(here / "p.npz", **toy.params())
    call = ["explain", "--apply", "tests.toy:apply", "--params", str(here / "p.npz")]
    call += ["--images", str(here / "scans"), "--image-size", "8", "--classes", "a,$b$,b"]
    call += ["--method", "gradient", "grad_cam", "--masks", str(here / "masks"), "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent.parent)
        own = drawing.figures.explanation

        def explanation(image, *args, **options):
            if image.shape[:2] == (30, 300):
                raise RuntimeError("no ink")
            assert list(args[0]) == ["gradient", "grad_cam"], "as in the command"
            return own(image, *args, **options)

        patch.setattr(drawing.figures, "explanation", explanation)
        assert cli.main([*call, "--out", str(here / "out")]) == 0
    return here, json.loads((here / "out/index.json").read_text())


def test_the_index_tells_names_answers_and_files(explained) -> None:
    here, index = explained
    assert "The small pictures are of gradient." in (here / "out/index.html").read_text()
    by_name = {entry["source"]: entry for entry in index}
    assert [entry["class"] for entry in index if "class" in entry] == ["a", "b", "b"]
    first = by_name[NAMES[0]]
    assert first["file"] == NAMES[0] and first["outlined"]
    assert by_name["b/2.jpg"]["file"] == "b/2.png" and not by_name["b/2.jpg"]["outlined"]
    for entry in index:
        shares = entry["probabilities"]
        assert sum(shares) == pytest.approx(1) and entry["probability"] == max(shares)
        assert entry["predicted_class"] == ("a", "$b$", "b")[entry["predicted"]]


def test_a_picture_that_cannot_be_drawn_is_told_and_ends_no_run(explained) -> None:
    here, index = explained
    [broken] = [entry for entry in index if "no_picture" in entry]
    assert broken["source"] == "b/2.png" and broken["no_picture"] == "RuntimeError: no ink"
    assert broken["status"] == "explained" and "file" not in broken
    page = (here / "out/index.html").read_text()
    assert "3 images" in page and "b/2.png: RuntimeError: no ink" in page
    assert "&lt;b&gt;.png" in page and "<b>.png" not in page
    assert (here / "out/contact_sheet.png").exists()


@pytest.mark.parametrize("count", [1, 3, 70])
def test_a_sheet_says_that_colours_of_two_images_are_not_compared(count, tmp_path, monkeypatch):
    """Of one image nothing is compared; a map a thousand times weaker is as red as another."""
    Image.new("RGB", (4, 4)).save(tmp_path / "t.png")
    entries = [
        {"source": f"{n}", "file": "f.png", "thumbnail": "t.png", "outlined": False}
        for n in range(count)
    ]
    titles = []
    own = pages.figures.contact_sheet

    def drawn(*args, **options):
        titles.append(options["title"])
        return own(*args, **options)

    monkeypatch.setattr(pages.figures, "contact_sheet", drawn)
    pages.write_sheet(tmp_path, entries)
    pages.write_page(tmp_path, entries, "Maps.")
    many = "60 of 70 images, " if count == 70 else ""
    assert titles == [f"{many}each map on its own scale of colours" if count > 1 else ""]
    assert ("on its own scale of colours" in (tmp_path / "index.html").read_text()) == (count > 1)


def test_pictures_have_the_size_of_their_image(explained) -> None:
    here, index = explained
    [first] = [entry for entry in index if entry["source"] == NAMES[0]]
    wide, high = Image.open(here / "out" / NAMES[0]).size
    assert wide > 4 * 192 and high > 384  # 40 x 20 pixels, 4 panels: more than 384 dots high
    # Tiny with an outline: four times as large, or the line would hide it.
    assert Image.open(here / "out" / first["thumbnail"]).size == (80, 160)


def test_labels_of_folders_are_targets(explained, monkeypatch, capsys) -> None:
    here, _ = explained
    monkeypatch.syspath_prepend(Path(__file__).parent.parent.parent)
    call = ["explain", "--apply", "tests.toy:apply", "--params", str(here / "p.npz"), "--json"]
    call += ["--image-size", "8", "--method", "gradient", "--targets", "label"]
    out = here / "labelled"
    images = str(here / "scans/b")
    assert cli.main([*call, "--classes", "a,c,b", "--images", images, "--out", str(out)]) == 0
    index = json.loads((out / "index.json").read_text())
    assert [entry["target"] for entry in index] == [2, 2]
    assert cli.main([*call, "--images", images, "--out", str(here / "none")]) == 1
    assert "none a class of the network: unknown names" in capsys.readouterr().err
    wrong = [*call[:-2], "--images", images, "--out", str(here / "none"), "--masks", str(here)]
    assert cli.main(wrong) == 1
    assert "masks: none of" in capsys.readouterr().err


def test_words_under_a_name() -> None:
    entry = {"target": 1, "predicted": 1, "predicted_class": "b", "probability": 0.25}
    assert said(entry, str) == "predicted: b (0.250)"
    other = {**entry, "class": "a", "target": 0, "probabilities": [0.125, 0.25]}
    assert said(other, "class {}".format) == (
        "true: a, predicted: b (0.250), explained: class 0 (0.125)"
    )
    assert said({"target": 0, "values": [2.5]}, str) == "predicted: 2.5"
    assert said({"target": 1, "values": [2.5, 3]}, "output {}".format) == (
        "predicted: 2.5, 3, explained: output 1"
    )
