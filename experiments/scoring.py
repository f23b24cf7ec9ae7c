"""Every metric of a map, by family, and what each map of a method is worth."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

import jaxsal
from experiments import study
from experiments.methods import SENSITIVITIES
from experiments.study import Chosen, Study
from jaxsal import metrics
from jaxsal.types import Image, Key, Map, Scalar, ScoreFn

STEPS = 20  # of deletion and insertion
ROBUSTNESS = tuple(row.function for row in metrics.TABLE if row.family == "robustness")
AGAIN = 4  # times


def mean_sensitivity_n(score: ScoreFn, image: Image, map: Map, *, key: Key, chunk: int) -> Scalar:
    """`jaxsal.metrics.sensitivity_n` averaged over its shares of pixels."""
    values = metrics.sensitivity_n(score, image, map, samples=16, key=key, chunk=chunk)
    return jnp.mean(values)


def mean_region_perturbation(score: ScoreFn, image: Image, map: Map) -> Scalar:
    """The area over the curve of patches that are removed one after another."""
    return metrics.region_perturbation(score, image, map).mean()


def mean_selectivity(score: ScoreFn, image: Image, map: Map) -> Scalar:
    """The area under the curve of patches that are removed one after another."""
    return metrics.selectivity(score, image, map).mean()


def families(size: int) -> dict[str, dict[str, Any]]:
    """The metrics of one map by family: curves by their areas, sensitivity-n by its mean.

    Args:
        size: the side of the images; top-k takes a hundredth of the pixels.
    """
    bound = {
        "deletion": functools.partial(metrics.deletion, steps=STEPS),
        "insertion": functools.partial(metrics.insertion, steps=STEPS),
        "infidelity": functools.partial(metrics.infidelity, normalize=True, samples=30),
        "sensitivity_n": mean_sensitivity_n,
        "region_perturbation": mean_region_perturbation,
        "selectivity": mean_selectivity,
        "top_k_intersection": functools.partial(
            metrics.top_k_intersection, k=max(1, size * size // 100)
        ),
    }
    families: dict[str, dict[str, Any]] = {"faithfulness": {}, "localisation": {}, "other": {}}
    for row in metrics.TABLE:
        name = row.function.__name__
        if row.family != "robustness" and not name.endswith("_curve"):
            family = row.family if row.family in families else "other"
            families[family][name] = bound.get(name, row.function)
    return families


def score(
    found: Study,
    chosen: Chosen,
    maps: Mapping[str, np.ndarray],
    methods: Mapping[str, Any],
    seed: int,
    again: int,
) -> dict[str, dict[str, np.ndarray]]:
    """`{method: {metric: [N]}}`; those of robustness are NaN but for `again` images."""
    size = chosen.examples.images.shape[1]
    apart = {name: m for family in families(size).values() for name, m in family.items()}
    infidelity = apart.pop("infidelity")
    evaluate = jaxsal.evaluator(found.apply, apart)
    # A map of contributions foretells another sum than a map of sensitivities.
    foretell = {
        kind: jaxsal.evaluator(found.apply, functools.partial(infidelity, contributions=kind))
        for kind in (False, True)
    }
    images, masks, key = chosen.examples.images, chosen.examples.masks, jax.random.key(seed)
    values, rows = {}, study.drawn(len(chosen.targets), again, seed)[:again]
    for name, batch in tqdm.tqdm(maps.items(), unit="method"):
        # Of one shape for maps with channels and CAMs, so that one program serves all.
        batch = batch if batch.ndim == images.ndim else batch[..., None]
        own = evaluate(found.variables, images, batch, chosen.targets, key=key, mask=masks)
        values[name] = {metric: np.asarray(value) for metric, value in own.items()}
        contributions = name not in SENSITIVITIES
        values[name]["infidelity"] = np.asarray(
            foretell[contributions](found.variables, images, batch, chosen.targets, key=key)
        )
        values[name] |= _robustness(found, chosen, batch, methods[name], key, rows)
    return values


def _robustness(
    found: Study, chosen: Chosen, maps: Any, method: Any, key: Any, rows: np.ndarray
) -> dict[str, np.ndarray]:
    again = {
        metric.__name__: functools.partial(metric, method=method, samples=AGAIN)
        for metric in ROBUSTNESS
    }
    whole = {name: np.full(len(chosen.targets), np.nan, np.float32) for name in again}
    if not len(rows):
        return whole
    images, targets = chosen.examples.images[rows], chosen.targets[rows]
    evaluate = jaxsal.evaluator(found.apply, again)
    own = evaluate(found.variables, images, maps[rows], targets, key=key)
    for name, values in own.items():
        whole[name][rows] = values
    return whole
