"""The words of a report, as they fit its images: only of a brain is there a head and a tumour."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

WHOLE = {
    **{word: "outlined region" for word in ("tumour", "tumor")},
    **{word: "outlined regions" for word in ("tumours", "tumors")},
    "head": "foreground",
}
"""What stands for the study's own words where the images are a folder of anybody's."""

WORDS = re.compile(rf"\b({'|'.join(WHOLE)})\b", re.IGNORECASE)

PICTURE = 'base64,[^"]*'
"""A picture inside a page: no words."""

Wording = Callable[[str], str]
"""From a text in the study's words to one in those of its images."""


def tells_tumours(data: str | None) -> bool:
    """Whether a study's images (`--data`) are of brain tumours, for all that is known."""
    return data != "folder"


def wording(data: str | None, classes: Iterable[object] = ()) -> Wording:
    """How it is worded by a study's data; the names of its classes stay as they are."""
    if tells_tumours(data):
        return str
    kept = sorted(map(str, classes), key=len, reverse=True)
    return lambda text: _apart(text, kept, _general)


def study_wording(metrics: Mapping[str, Any]) -> Wording:
    """`wording` of a study, by its `metrics.json`."""
    return wording(metrics.get("settings", {}).get("data"), metrics.get("classes", ()))


def _general(text: str) -> str:
    def word(found: re.Match[str]) -> str:
        general = WHOLE[found[0].lower()]
        return general.capitalize() if found[0][0].isupper() else general

    return WORDS.sub(word, text).replace("a outlined", "an outlined")


def _apart(text: str, kept: Iterable[str], change: Wording) -> str:
    """Changes a text, but for the names in it that are kept."""
    names = "|".join([PICTURE, *(rf"\b{re.escape(name)}\b" for name in kept if name)])
    parts = re.split(f"({names})", text)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))
