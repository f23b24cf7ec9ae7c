"""How many points does integrated gradients need? A fixed rule beside one that adapts.

    python -m experiments.completeness --checkpoint runs/brain_tumor

Test images of a finished study, for their predicted class, from a black image. A map is complete
where |sum(map) - (s(x) - s(b))| <= tolerance |s(x) - s(b)|: by Gauss-Legendre's rule of each fixed
number of points, and by `integrated_gradients(tolerance=...)`, which adds points image by image.
Writes completeness.json, .html and a figure, and a section of the study's report.
"""

import functools
import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import jaxsal
from experiments import follow_up, study
from experiments.completeness_section import ADAPTIVE, completeness_section
from experiments.study import Chosen, Reopened, Study
from jaxsal import render
from jaxsal.metrics import bootstrap
from jaxsal.viz import charts


@dataclass(frozen=True)
class Settings(Reopened):
    """Settings of the experiment."""

    explain: int = 100
    """How many test images are explained, at most; 0 = all."""
    steps: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Points of the fixed rules."""
    tolerance: float = 0.01
    """What may be missing, as a share of the score's difference."""
    max_steps: int = 1025
    """The most points of an image by the rule that adapts."""


def main(settings: Settings) -> str:
    """Runs the experiment; returns what it found, in a few lines."""
    timings: dict[str, float] = {}
    with follow_up.timed(timings, "load"):
        found, chosen = study.images(settings)
    difference = study.over_black(found, chosen)
    rules: dict[str, dict[str, Any]] = {}
    for name, options in _rules(settings).items():
        with follow_up.timed(timings, name):
            rules[name] = _measured(found, chosen, difference, settings.tolerance, options)
    record: dict[str, Any] = {
        "study": found.about,
        "cases": len(chosen.targets),
        "bootstrap": chosen.unit,
        "tolerance": settings.tolerance,
        "rules": rules,
        "timings": timings,
    }
    figure = _figure(record)
    out = follow_up.publish("completeness", settings, record, [figure], completeness_section)
    lines = [
        f"  {name:<22} {each['complete'][0]:6.1%} complete, {each['points'][0]:6.1f} points a map"
        for name, each in rules.items()
    ]
    return "\n".join([*lines, f"wrote {out}"])


def _rules(settings: Settings) -> dict[str, dict[str, Any]]:
    """The options of integrated gradients by the rule's name."""
    limits = {"tolerance": settings.tolerance, "max_steps": settings.max_steps}
    return {f"{n} points": {"steps": n} for n in settings.steps} | {ADAPTIVE: limits}


def _measured(
    found: Study, chosen: Chosen, difference: np.ndarray, tolerance: float, options: dict[str, Any]
) -> dict[str, Any]:
    """The share of complete maps and the points a map took, with their intervals."""
    method = functools.partial(jaxsal.integrated_gradients, **options)
    explain = jaxsal.explainer(found.apply, method, batch_size="auto")
    images, targets = chosen.examples.images, chosen.targets
    # A rule's compilation is no part of what its maps cost.
    jax.block_until_ready(explain(found.variables, images, targets))
    begin = time.perf_counter()
    explained = jax.block_until_ready(explain.record(found.variables, images, targets))
    seconds = time.perf_counter() - begin
    total = np.asarray(explained.maps, np.float64).reshape(len(images), -1).sum(1)
    complete = np.abs(total - difference) <= tolerance * np.abs(difference)
    points = _points(explained.steps, options, len(images))
    return {
        "complete": list(bootstrap.mean_interval(complete.astype(float), chosen.clusters)),
        "points": list(bootstrap.mean_interval(points, chosen.clusters)),
        "median_points": float(np.median(points)),
        "most_points": float(points.max()),
        "milliseconds": 1e3 * seconds / len(images),
    }


def _points(steps: Any, options: dict[str, Any], count: int) -> np.ndarray:
    fixed = np.full(count, float(options.get("steps", 0)))
    return fixed if steps is None else np.asarray(steps.points, float)


def _figure(record: dict[str, Any]) -> tuple[str, str, bytes]:
    rules = record["rules"]
    panels = {
        "share of complete maps, 95 % interval": "complete",
        "points a map": "points",
    }
    drawn = {
        label: {"maps": {name: each[key] for name, each in rules.items()}}
        for label, key in panels.items()
    }
    return (
        "Completeness",
        "Which share of the maps is complete, and how many points a map takes.",
        render.png(charts.dots_beside(drawn)),
    )


if __name__ == "__main__":
    follow_up.start(Settings, main, "completeness", __doc__)
