"""The study's figures, in the order in which the report shows them."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.explaining import Explained
from experiments.head import REGIONS
from jaxsal import render
from jaxsal.data.examples import Examples
from jaxsal.viz import charts

Figure = tuple[str, str, bytes]
SHEET = 4  # images of each class on the contact sheet
ROWS = 6  # images on the grid of maps


CAPTIONS = {
    "Relevance": "Image, outline of the tumour, and the signed map of each method for the "
    "predicted class: red speaks for it, blue against it, white is zero; one scale a method.",
    "Relevance density": "A region's share of |map| over its share of the area, with 95 % "
    "bootstrap intervals, over correctly classified test tumours; 1 is a map even over the image.",
    "Learning curves": "By epoch.",
    "Confusion matrix": "Test images.",
    "Contact sheet": "Training images of each class, with the outline of the tumour.",
}
"""By title, in the report's order."""


def draw(
    metrics: dict[str, Any],
    explained: Explained,
    shown: Examples,
    training: Examples,
    classes: tuple[str, ...],
) -> dict[str, bytes]:
    """The PNG of every figure, by its title."""
    rows = _examples(explained, shown)
    maps = {name: values[rows] for name, values in explained.maps.items()}
    sheet = _by_class(training, len(classes))
    drawn = (
        render.relevance_grid(
            shown.images[rows],
            shown.masks[rows],
            maps,
            rows=[classes[label] for label in shown.labels[rows]],
            mask_label="tumour outline",
        ),
        charts.region_densities(metrics["relevance"]["methods"], REGIONS),
        charts.learning_curves(metrics["history"]),
        charts.confusion(metrics["confusion"], classes),
        render.contact_sheet(
            training.images[sheet],
            titles=[classes[label] for label in training.labels[sheet]],
            masks=training.masks[sheet],
        ),
    )
    return dict(zip(CAPTIONS, map(render.png, drawn), strict=True))


def write(folder: Path, drawn: dict[str, bytes]) -> None:
    """Each figure as a PNG file named by its title."""
    folder.mkdir(exist_ok=True)
    for title, png in drawn.items():
        _path(folder, title).write_bytes(png)


def read(folder: Path) -> list[Figure]:
    """`(title, caption, PNG)` of the figures that lie in a folder."""
    paths = {title: _path(folder, title) for title in CAPTIONS}
    return [(t, CAPTIONS[t], path.read_bytes()) for t, path in paths.items() if path.exists()]


def _path(folder: Path, title: str) -> Path:
    return folder / f"{title.lower().replace(' ', '_')}.png"


def _examples(explained: Explained, shown: Examples) -> np.ndarray:
    """Correctly classified tumours, the classes in turn; any images where there are none."""
    good = shown.masks.any((1, 2)) & (explained.targets == shown.labels)
    by_class = [np.flatnonzero(good & (shown.labels == label)) for label in np.unique(shown.labels)]
    turns = [rows[turn] for turn in range(ROWS) for rows in by_class if turn < len(rows)] or list(
        range(len(shown.labels))
    )
    return np.sort(np.array(turns[:ROWS]))


def _by_class(examples: Examples, classes: int) -> np.ndarray:
    rows = [np.flatnonzero(examples.labels == label)[:SHEET] for label in range(classes)]
    return np.concatenate(rows)
