"""Beside the pictures of a folder: a page to look through them, and a contact sheet of some."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxsal.common import files
from jaxsal.common.results import SHEET
from jaxsal.viz import figures
from jaxsal.viz.gallery import Card, gallery
from jaxsal.viz.style import INK, RIGHT, WRONG

PAGE = "index.html"
SHOWN = 60
"""Images on the contact sheet."""
OWN_SCALE = "each map on its own scale of colours"

Entry = dict[str, Any]
"""What `index.json` says of an image."""


def write_page(
    out: Path,
    entries: list[Entry],
    about: str,
    warnings: Sequence[str] = (),
    in_order: bool = False,
) -> None:
    """The page of all pictures; `warnings`, `in_order`: as of `gallery`."""
    cards = [
        Card(
            name=entry["source"],
            file=entry["file"],
            thumbnail=entry["thumbnail"],
            true=entry.get("class", ""),
            predicted=entry.get("predicted_class", ""),
            score=_score(entry),
            explained=entry.get("target_class", ""),
        )
        for entry in entries
        if "file" in entry
    ]
    left_out = [
        (entry["source"], entry.get("fault") or entry.get("no_picture", ""))
        for entry in entries
        if "file" not in entry
    ]
    bare = sum(not entry["outlined"] for entry in entries if "file" in entry)
    if 0 < bare < len(cards):
        about += f" {bare} of them have no mask."
    if len(cards) > 1:
        about += f" The small pictures show {OWN_SCALE}: a weak one is as bright as a strong one."
    page = gallery(out.name, cards, left_out, about, warnings, in_order)
    files.write_result(out / PAGE, page.encode(errors="backslashreplace"))


def _score(entry: Entry) -> float | None:
    """The probability of the prediction; of a regression its first value."""
    if "probability" in entry:
        return entry["probability"]
    return next(iter(entry.get("values", ())), None)


def write_sheet(out: Path, entries: list[Entry]) -> None:
    """The contact sheet: thumbnails of some images, spread evenly; none where none was drawn."""
    drawn = [entry for entry in entries if "file" in entry]
    if not drawn:
        return
    spread = np.linspace(0, len(drawn) - 1, min(SHOWN, len(drawn))).astype(int)
    chosen = [drawn[n] for n in spread]
    told = [f"{len(chosen)} of {len(drawn)} images"] if len(chosen) < len(drawn) else []
    told += [OWN_SCALE] if len(chosen) > 1 else []
    thumbnails = [
        np.asarray(Image.open(io.BytesIO((out / entry["thumbnail"]).read_bytes())), float) / 255
        for entry in chosen
    ]
    sheet = figures.contact_sheet(
        thumbnails,
        titles=[_sheet_title(entry) for entry in chosen],
        colours=[_colour(entry) for entry in chosen],
        title=", ".join(told),
    )
    files.write_result(out / SHEET, figures.png(sheet))


def _sheet_title(entry: Entry) -> str:
    score = _score(entry)
    said = entry.get("predicted_class", "")
    digits = ".2f" if "probability" in entry else ".2g"
    lines = [f"{said} {score:{digits}}".strip() if score is not None else said]
    if entry.get("class", said) != said:
        lines.append(f"true: {entry['class']}")
    return "\n".join(lines)


def _colour(entry: Entry) -> str:
    """Green where the answer is right, red where it is wrong, black where nobody knows."""
    if "class" not in entry or "predicted_class" not in entry:
        return INK
    return RIGHT if entry["class"] == entry["predicted_class"] else WRONG
