"""How well the maps of a network lie on masks, and a figure of some."""

from functools import partial
from typing import Any

import jax
import numpy as np

from jaxsal import engine
from jaxsal.commands import cuts, method_syntax, model
from jaxsal.commands.settings import Evaluate
from jaxsal.common.errors import one_line
from jaxsal.data import understood
from jaxsal.data.examples import Examples
from jaxsal.data.splits import known_patients, take
from jaxsal.metrics import bootstrap, localization
from jaxsal.viz import figures
from jaxsal.viz.picture import Figure

ROWS = 6
"""Images with maps in the figure."""


def localise(
    settings: Evaluate, found: model.Model, methods: Any, tested: Examples, images: np.ndarray
) -> tuple[dict[str, Any], Figure]:
    """How well maps of the predicted classes agree with masks, and a figure of some.

    A method that cannot explain this network is left out, and told.

    Args:
        images: the tested ones as the model takes them.

    Raises:
        ValueError: no method can.
    """
    rows = np.flatnonzero(understood.with_mask(tested))
    rows = np.sort(np.random.default_rng(settings.seed).permutation(rows)[: settings.explain])
    shown = take(tested, rows.astype(np.int32))
    methods = (
        methods if isinstance(methods, dict) else {method_syntax.names(settings.method)[0]: methods}
    )
    made = partial(engine.explainer, found.apply, output=settings.output)
    key = jax.random.key(settings.seed)
    faults = {
        name: _fault(made({name: method}), found, images[rows[:1]], key)
        for name, method in methods.items()
    }
    methods = {name: method for name, method in methods.items() if not faults[name]}
    if not methods:
        name, fault = next(iter(faults.items()))
        raise ValueError(f"method: {name} is not possible with this network: {fault}")
    explain = made(methods)
    given = key if explain.keyed else None
    made_maps = jax.device_get(explain(found.params, images[rows], key=given))
    maps = {name: _channels_last(map, shown.masks.shape) for name, map in made_maps.items()}
    measures = localization.localize(maps, shown.masks)
    patients = known_patients(shown)
    record = {
        "images": len(rows),
        "area": float(shown.masks.mean()),
        "bootstrap": "image" if patients is None else "patient",
        "clusters": len({*patients.tolist()}) if patients is not None else len(rows),
        "not_possible": {name: fault for name, fault in faults.items() if fault},
        "methods": bootstrap.summarise({name: measures[name] for name in methods}, patients),
        "above_even": {
            name: above_even(measures[name]["relevance_mass"], shown) for name in methods
        },
    }
    few = _by_class(shown.labels)
    titles = [name.rpartition("/")[2] for name in shown.names[few].tolist()]
    some, outlines = shown.images[few], shown.masks[few]
    drawn = [maps[name][few] for name in methods]
    if outlines.ndim == 4:
        outlines, some, *drawn = cuts.one_each(outlines, some, *drawn)
    figure = figures.relevance_grid(
        some, outlines, dict(zip(methods, drawn, strict=True)), rows=titles, mask_label="mask"
    )
    return record, figure


def _channels_last(maps: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Maps [N, C, H, W] as they lie on masks [N, H, W], others as they are.

    A preprocessing may put channels first.

    Args:
        space: the masks' shape.
    """
    first = maps.ndim > len(space) and maps.shape[2:] == space[1:] != maps.shape[1:-1]
    return np.moveaxis(maps, 1, -1) if first else maps


def above_even(mass: np.ndarray, shown: Examples) -> list[float]:
    """By how much relevance masses exceed an even map's: mean, low, high; by patient if known.

    Of an even map it is the mask's share of the same image's area: images whose map has no
    relevance are left out of both.

    Args:
        mass: of the maps of the images, [N].
    """
    areas = shown.masks.reshape(len(shown.masks), -1).mean(1)
    return list(bootstrap.difference_interval(mass, areas, known_patients(shown)))


def _fault(explain: engine.Explainer, found: model.Model, image: np.ndarray, key: Any) -> str:
    """Why a method cannot explain a network; "" where it can. Nothing is computed."""
    given = key if explain.keyed else None
    try:
        jax.eval_shape(lambda one: explain(found.params, one, key=given), image)
    except (ValueError, TypeError) as error:
        return one_line(error)[:300]
    return ""


def _by_class(labels: np.ndarray) -> np.ndarray:
    """A few rows, the classes in turn, in order."""
    turns = [np.flatnonzero(labels == label)[:ROWS] for label in np.unique(labels)]
    rows = [own[turn] for turn in range(ROWS) for own in turns if turn < len(own)]
    return np.sort(np.array(rows[:ROWS], np.int32))
