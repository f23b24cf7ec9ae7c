"""The words of a report, as they fit its images: only of a brain is there a head and a tumour."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

WHOLE = {"tumours": "outlined regions", "tumour": "outlined region", "head": "foreground"}
"""What stands for the study's own words where the images are a folder of anybody's."""

WORDS = re.compile(rf"\b({'|'.join(WHOLE)})\b", re.IGNORECASE)

Wording = Callable[[str], str]
"""From a text in the study's words to one in those of its images."""


def wording(metrics: Mapping[str, Any]) -> Wording:
    """How a study's report words it, by its data; the names of its classes stay as they are."""
    if metrics.get("settings", {}).get("data") != "folder":
        return str
    kept = sorted(map(str, metrics.get("classes", ())), key=len, reverse=True)
    return lambda text: _apart(text, kept, _general)


def _general(text: str) -> str:
    def word(found: re.Match[str]) -> str:
        general = WHOLE[found[0].lower()]
        return general.capitalize() if found[0][0].isupper() else general

    return WORDS.sub(word, text).replace("a outlined", "an outlined")


def _apart(text: str, kept: Iterable[str], change: Wording) -> str:
    """Changes a text, but for the names in it that are kept."""
    names = [re.escape(name) for name in kept if name]
    if not names:
        return change(text)
    parts = re.split(rf"(\b(?:{'|'.join(names)})\b)", text)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))
