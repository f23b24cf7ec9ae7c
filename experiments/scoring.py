"""Every metric of a map, by family, and what each map of a method is worth.

The score is the class's logit, which methods explain. Average drop, average increase and SIC take
its probability, which their scales need.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

import jaxsal
from experiments import study
from experiments.methods import SENSITIVITIES
from experiments.study import Chosen, Study
from jaxsal import metrics
from jaxsal.types import Image, Key, Logits, Map, Scalar, ScoreFn, Target

Values = dict[str, dict[str, np.ndarray]]
"""`{method: {metric: [N]}}`."""

InParts = Callable[[str, Callable[[], Any]], Any]
"""The name of a part and what makes it -> the part, made now or before."""

STEPS = 20  # of deletion and insertion
PERTURBATIONS = 30  # of infidelity
SETS = 16  # of pixels, of each share of sensitivity-n
PATCH = 8  # pixels a side, of region perturbation and selectivity
ROBUSTNESS = tuple(row.function for row in metrics.TABLE if row.family == "robustness")
AGAIN = 4  # times
BLOCK = 8  # images scored at a time, of which a kill loses what is done
PROBABILITY = ("average_drop", "average_increase", "sic")
"""Metrics of the class's probability; AIC asks which class is named, the others take its logit."""
SIGNED = (
    *("infidelity", "sensitivity_n", "faithfulness_correlation"),
    *("region_perturbation", "selectivity", "monotonicity"),
)
"""Metrics of faithfulness that take the map's sign; the others take its magnitude."""
SHARE = 0.16  # of the patches that region perturbation removes: its authors' 100 of 625
DEFINITIONS = {
    **{"steps": STEPS, "patch": PATCH, "share": SHARE, "probability": list(PROBABILITY)},
    **{"perturbations": PERTURBATIONS, "sets": SETS, "sensitivities": list(SENSITIVITIES)},
}
"""What a value depends on beside its metric's name: a record of other ones is not like this."""


def mean_sensitivity_n(score: ScoreFn, image: Image, map: Map, *, key: Key, chunk: int) -> Scalar:
    """`jaxsal.metrics.sensitivity_n` averaged over its shares of pixels."""
    values = metrics.sensitivity_n(score, image, map, samples=SETS, key=key, chunk=chunk)
    return jnp.mean(values)


def mean_region_perturbation(
    score: ScoreFn, image: Image, map: Map, *, regions: int, chunk: int
) -> Scalar:
    """The area over the curve of patches that are removed one after another."""
    curve = metrics.region_perturbation(
        score, image, map, patch=PATCH, regions=regions, chunk=chunk
    )
    return curve.mean()


def mean_selectivity(score: ScoreFn, image: Image, map: Map, *, chunk: int) -> Scalar:
    """The area under the curve of patches that are removed one after another."""
    return metrics.selectivity(score, image, map, patch=PATCH, chunk=chunk).mean()


def probability(logits: Logits, target: Target) -> Scalar:
    """The target's softmax."""
    return jax.nn.softmax(logits)[target]


def families(size: int) -> dict[str, dict[str, Any]]:
    """The metrics of one map by family: curves by their areas, sensitivity-n by its mean.

    Args:
        size: the side of the images; top-k takes a hundredth of the pixels. Region perturbation
            takes a share of the patches: of all of them it would be selectivity once more.
    """
    patches = (-(-size // PATCH)) ** 2
    removed = max(1, round(SHARE * patches))
    bound = {
        "deletion": functools.partial(metrics.deletion, steps=STEPS),
        "insertion": functools.partial(metrics.insertion, steps=STEPS),
        "infidelity": functools.partial(metrics.infidelity, normalize=True, samples=PERTURBATIONS),
        "sensitivity_n": mean_sensitivity_n,
        "region_perturbation": functools.partial(mean_region_perturbation, regions=removed),
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
    part: InParts = lambda name, make: make(),
) -> Values:
    """`{method: {metric: [N]}}`; those of robustness are NaN but for `again` images.

    Args:
        again: how many images robustness is measured on.
        part: takes the name of a part and what makes it, and returns what that does.
    """
    images, key = chosen.examples.images, jax.random.key(seed)
    # Of one shape, maps with channels and CAMs alike: what depends on no map is then computed once.
    alike = {n: x if x.ndim == images.ndim else x[..., None] for n, x in maps.items()}
    values = _of_blocks(found, chosen, alike, key, part)
    rows = study.drawn(len(chosen.targets), again, seed)[:again]
    for name in tqdm.tqdm(alike, unit="method", disable=not again):
        whole = {m.__name__: np.full(len(images), np.nan, np.float32) for m in ROBUSTNESS}
        if again:
            given = found, chosen, alike[name], methods[name], key, rows
            few = part(f"robustness, {name}", functools.partial(_robustness, *given))
            for metric, own in few.items():
                whole[metric][rows] = own
        values[name] |= whole
    return values


class Group(NamedTuple):
    """An evaluator of some metrics, and whose maps it is for.

    Attributes:
        masked: whether a metric asks for the tumour's mask.
    """

    evaluate: Any
    names: list[str]
    masked: bool = False


def _of_blocks(
    found: Study, chosen: Chosen, maps: Mapping[str, np.ndarray], key: Key, part: InParts
) -> Values:
    """Every metric but those of robustness, of all methods' maps, a block of images at a time."""
    evaluators = _evaluators(found, list(maps), chosen.examples.images.shape[1])

    def scored(rows: np.ndarray) -> Values:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)  # of an image, in any block
        few = {name: values[rows] for name, values in maps.items()}
        return _of_all(evaluators, found, study.subset(chosen, rows), few, keys)

    count = len(chosen.targets)
    rows_of = np.split(np.arange(count), range(BLOCK, count, BLOCK))
    blocks = [
        part(f"scores from {rows[0]}", functools.partial(scored, rows))
        for rows in tqdm.tqdm(rows_of, unit="block")
    ]
    return {
        name: {metric: np.concatenate([each[name][metric] for each in blocks]) for metric in of_map}
        for name, of_map in blocks[0].items()
    }


def _evaluators(found: Study, names: list[str], size: int) -> list[Group]:
    """The evaluators of every metric but those of robustness."""
    apart = {name: m for family in families(size).values() for name, m in family.items()}
    infidelity = apart.pop("infidelity")
    likely = {name: apart.pop(name) for name in PROBABILITY}
    evaluators = [
        Group(jaxsal.evaluator(found.apply, apart), names, masked=True),
        Group(jaxsal.evaluator(found.apply, likely, objective=probability), names),
    ]
    # A map of contributions foretells another sum than a map of sensitivities.
    for kind in (False, True):
        foretold = {"infidelity": functools.partial(infidelity, contributions=kind)}
        if own := [name for name in names if (name not in SENSITIVITIES) is kind]:
            evaluators.append(Group(jaxsal.evaluator(found.apply, foretold), own))
    return evaluators


def _of_all(
    evaluators: list[Group],
    found: Study,
    chosen: Chosen,
    maps: Mapping[str, np.ndarray],
    keys: Key,
) -> Values:
    """The metrics of some images' maps by all methods."""
    images, targets = chosen.examples.images, chosen.targets
    values: Values = {name: {} for name in maps}
    for evaluate, names, masked in evaluators:
        given = {name: maps[name] for name in names}
        rows = {"mask": chosen.examples.masks} if masked else {}
        own = evaluate(found.variables, images, given, targets, key=keys, **rows)
        for name in names:
            values[name] |= {metric: np.asarray(value) for metric, value in own[name].items()}
    return values


def _robustness(
    found: Study, chosen: Chosen, maps: Any, method: Any, key: Any, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """The metrics of robustness of a method, of the images of these rows."""
    again = {
        metric.__name__: functools.partial(metric, method=method, samples=AGAIN)
        for metric in ROBUSTNESS
    }
    images, targets = chosen.examples.images[rows], chosen.targets[rows]
    evaluate = jaxsal.evaluator(found.apply, again)
    return jax.device_get(evaluate(found.variables, images, maps[rows], targets, key=key))
