"""The study's figures, in the order in which the report shows them."""

from typing import Any

import numpy as np

from experiments.explaining import Explained
from jaxsal import charts, render
from jaxsal.data.examples import Examples
from jaxsal.regions import REGIONS

Figure = tuple[str, str, bytes]
SHEET = 4  # images of each class on the contact sheet
ROWS = 6  # images on the grid of maps


def draw(
    metrics: dict[str, Any],
    explained: Explained,
    shown: Examples,
    training: Examples,
    classes: tuple[str, ...],
) -> list[Figure]:
    """`(title, caption, PNG)` of every figure."""
    rows = _examples(explained, shown)
    titles = [f"{classes[label]}" for label in shown.labels[rows]]
    maps = {name: values[rows] for name, values in explained.maps.items()}
    grid = render.relevance_grid(shown.images[rows], shown.masks[rows], maps, rows=titles)
    sheet = _by_class(training, len(classes))
    return [
        (
            "Relevance",
            "Image, outline of the tumour, and the signed map of each method for the predicted "
            "class: red speaks for it, blue against it, white is zero; one scale a method.",
            render.png(grid),
        ),
        (
            "Relevance density",
            "A region's share of |map| over its share of the area, with 95 % bootstrap intervals, "
            "over correctly classified test tumours; the line is chance.",
            render.png(charts.region_densities(metrics["relevance"]["methods"], REGIONS)),
        ),
        ("Learning curves", "By epoch.", render.png(charts.learning_curves(metrics["history"]))),
        (
            "Confusion matrix",
            "Test images.",
            render.png(charts.confusion(metrics["confusion"], classes)),
        ),
        (
            "Contact sheet",
            "Training images of each class, with the outline of the tumour.",
            render.png(
                render.contact_sheet(
                    training.images[sheet],
                    titles=[classes[label] for label in training.labels[sheet]],
                    masks=training.masks[sheet],
                )
            ),
        ),
    ]


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
