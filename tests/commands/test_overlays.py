"""Names of pictures stay below the folder and apart from each other."""

import pytest

from jaxsal.commands.overlays import free_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a.png"),
        ("b/a.jpg", "b/a.jpg.png"),
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
