"""The figures of the edited tumours."""

from typing import Any

import numpy as np

from experiments import edits
from experiments.report import Figure
from experiments.study import Chosen
from experiments.wording import Wording
from jaxsal import render
from jaxsal.viz import charts

ROWS = 4  # tumours in the figure of edits
DRAWN = [name for name in edits.EDITS if name != "untouched"]


def effects(record: dict[str, Any], word: Wording = str) -> Figure:
    """What each edit costs, tumour beside sham."""
    edited = record["edits"]
    series = {
        word(who): {word(name): edit[who]["drop"] for name, edit in edited.items()}
        for who in ("tumour", "sham")
    }
    label = "drop in the predicted class's logit, 95 % interval"
    return (
        "Effects",
        "What each edit takes from the predicted class's logit, done to the tumour and, with the "
        "same area, elsewhere in the head.",
        render.png(charts.dots(series, label=label, reference=0.0)),
    )


def picked(targets: np.ndarray) -> np.ndarray:
    """The rows of the tumours in the figure: each class's first, then each one's second."""
    turns = np.array([np.sum(targets[:i] == target) for i, target in enumerate(targets)])
    return np.lexsort((targets, turns))[:ROWS]


def examples(
    chosen: Chosen, classes: tuple[str, ...], shown: dict[str, np.ndarray], word: Wording = str
) -> Figure:
    """Some tumours and what each edit makes of them: `shown` by edit, [n, H, W, C]."""
    pictures, outlines, titles = [], [], []
    for i, target in enumerate(chosen.targets):
        mask = chosen.examples.masks[i]
        pictures += [chosen.examples.images[i], *(shown[name][i] for name in DRAWN)]
        outlines += [mask, *([np.zeros_like(mask)] * len(DRAWN))]
        titles += [classes[target], *map(word, DRAWN)]
    columns = -(-(len(DRAWN) + 1) // 2)  # two rows a tumour: smaller pictures show nothing
    figure = render.contact_sheet(pictures, titles=titles, masks=outlines, columns=columns)
    caption = "Some images, the mask outlined, and what each edit makes of them: two rows each."
    return "Edits", caption, render.png(figure)
