"""The study's figures, in the order in which the report shows them."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.explaining import Explained
from experiments.head import REGIONS
from experiments.wording import Wording, study_wording
from jaxsal import render
from jaxsal.common.errors import one_line
from jaxsal.data.examples import Examples
from jaxsal.viz import charts

Figure = tuple[str, str, bytes]
SHEET = 6  # images of each class on the contact sheet, a row each
ROWS = 6  # images on the grid of maps
EXAMPLES = 12  # of right answers and of wrong ones
OVERLAID = "integrated gradients"


CAPTIONS = {
    "Right answers": "Test images that the network names right, of different patients where the "
    "files name them, under the map of integrated gradients for the class that it names: red "
    "speaks for it, blue against it, as opaque as it is strong. Above each: the class that the "
    "network names, and how probable it takes that to be.",
    "Wrong answers": "Test images that it names wrong, likewise, with their true class.",
    "Relevance": "Image and the signed map of each method for the "
    "predicted class: red speaks for it, blue against it, white is zero; one scale a method.",
    "Relevance density": "A region's share of |map| over its share of the area, with 95 % "
    "bootstrap intervals, over correctly classified test images with a mask; 1 is a map even "
    "over the image.",
    "Learning curves": "By epoch.",
    "Confusion matrix": "Test images.",
    "Contact sheet": "Training images of each class.",
}
"""By title, in the report's order."""
OUTLINED = ("Right answers", "Wrong answers", "Relevance", "Contact sheet")
"""In which masks are outlined, where there are any."""


def draw(
    metrics: dict[str, Any],
    explained: Explained,
    shown: Examples,
    training: Examples,
    classes: tuple[str, ...],
    probabilities: np.ndarray,
) -> dict[str, bytes]:
    """The PNG of every figure there is something to show in, by its title.

    Args:
        probabilities: of the predicted classes of the shown images, [N].
    """
    word, masked = study_wording(metrics), bool(shown.masks.any())
    rows = _examples(explained, shown)
    right = explained.targets == shown.labels
    sheet = _by_class(training, len(classes))
    grid = partial(
        render.relevance_grid,
        shown.images[rows],
        shown.masks[rows] if masked else None,
        {name: values[rows] for name, values in explained.maps.items()},
        rows=[classes[label] for label in shown.labels[rows]],
        mask_label="outline of the mask",
    )
    training_sheet = partial(
        render.contact_sheet,
        training.images[sheet],
        titles=[classes[label] for label in training.labels[sheet]],
        masks=training.masks[sheet],
        columns=SHEET,
    )
    overlays = partial(_overlays, explained, shown, classes, probabilities)
    drawers = {
        "Right answers": partial(overlays, right),
        "Wrong answers": partial(overlays, ~right),
        "Relevance": grid,
        "Relevance density": partial(_densities, metrics["relevance"], word),
        "Learning curves": partial(charts.learning_curves, metrics["history"]),
        "Confusion matrix": partial(charts.confusion, metrics["confusion"], classes),
        "Contact sheet": training_sheet,
    }
    drawn = {title: _drawn(title, drawer) for title, drawer in drawers.items()}
    return {title: png for title, png in drawn.items() if png}


def _drawn(title: str, drawer: Callable[[], render.Picture | None]) -> bytes:
    """The PNG of a figure; nothing of one that has nothing to show, or that fails and says so.

    A study that has trained for hours does not end for want of a picture.
    """
    try:
        figure = drawer()
        return b"" if figure is None else render.png(figure)
    except Exception as error:
        print(f"figure {title!r} cannot be drawn ({one_line(error)[:300]})", file=sys.stderr)
        return b""


def _densities(relevance: dict[str, Any], word: Wording) -> render.Picture | None:
    """The chart of regions by method; none where no image has a mask."""
    if not relevance["cases"]:
        return None
    methods = {
        word(name): {word(region): found[region] for region in REGIONS}
        for name, found in relevance["methods"].items()
    }
    return charts.region_densities(methods, [word(region) for region in REGIONS])


def _overlays(
    explained: Explained,
    shown: Examples,
    classes: tuple[str, ...],
    probabilities: np.ndarray,
    wanted: np.ndarray,
) -> render.Picture | None:
    """Some of the wanted images under their maps, the classes in turn; none where none is wanted.

    A patient comes again only where there are no more.
    """
    rows = _spread(shown, np.flatnonzero(wanted))[:EXAMPLES]
    if not len(rows):
        return None
    titles = []
    for row in rows:
        said, true = classes[explained.targets[row]], classes[shown.labels[row]]
        titles.append(
            f"{said} {probabilities[row]:.0%}" + ("" if said == true else f"\ntrue: {true}")
        )
    maps = explained.maps[OVERLAID][rows]
    return render.contact_sheet(
        [render.overlay(image, map) for image, map in zip(shown.images[rows], maps, strict=True)],
        titles=titles,
        masks=shown.masks[rows],
        columns=6,
        panel=1.7,
    )


def _spread(shown: Examples, rows: np.ndarray) -> np.ndarray:
    """Rows in an order in which classes take turns, and patients come again late."""
    before: dict[tuple[str, Any], int] = {}
    turns = []
    for row in rows:
        patient = str(shown.patients[row]) or f"image {row}"
        of_patient = before.get(("patient", patient), 0)
        of_class = before.get(("class", (of_patient, shown.labels[row])), 0)
        turns.append((of_patient, of_class, shown.labels[row]))
        before["patient", patient] = of_patient + 1
        before["class", (of_patient, shown.labels[row])] = of_class + 1
    return rows[sorted(range(len(rows)), key=turns.__getitem__)]


def write(folder: Path, drawn: dict[str, bytes]) -> None:
    """Each figure as a PNG file named by its title."""
    folder.mkdir(exist_ok=True)
    for title, png in drawn.items():
        _path(folder, title).write_bytes(png)


def read(folder: Path, *, masked: bool) -> list[Figure]:
    """`(title, caption, PNG)` of the figures that lie in a folder.

    Args:
        masked: whether masks are outlined in them.
    """
    paths = {title: _path(folder, title) for title in CAPTIONS}
    return [(t, _caption(t, masked), p.read_bytes()) for t, p in paths.items() if p.exists()]


def _caption(title: str, masked: bool) -> str:
    outlined = " The line is the outline of the mask." if masked and title in OUTLINED else ""
    return CAPTIONS[title] + outlined


def _path(folder: Path, title: str) -> Path:
    return folder / f"{title.lower().replace(' ', '_')}.png"


def _examples(explained: Explained, shown: Examples) -> np.ndarray:
    """Correctly classified tumours, the classes in turn; any images where there are none."""
    good = shown.masks.any((1, 2)) & (explained.targets == shown.labels)
    wanted = good if good.any() else np.ones_like(good)
    return np.sort(_spread(shown, np.flatnonzero(wanted))[:ROWS])


def _by_class(examples: Examples, classes: int) -> np.ndarray:
    """Rows of some examples of each class, evenly spread: neighbours are often of one patient."""
    every = [np.flatnonzero(examples.labels == label) for label in range(classes)]
    spread = [np.linspace(0, len(rows) - 1, min(SHEET, len(rows))).astype(int) for rows in every]
    return np.concatenate([rows[at] for rows, at in zip(every, spread, strict=True)])
