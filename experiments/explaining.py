"""The study's maps, and what is measured on them."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxsal
from experiments import study
from experiments.controls import CONTROLS
from experiments.head import REGIONS, regions_of
from experiments.head_similarity import HEAD_SIMILARITIES, headed
from jaxsal.common.options import takes_key
from jaxsal.data.examples import Examples
from jaxsal.data.splits import take
from jaxsal.metrics import bootstrap, localization, sanity

TOLERANCE = 0.01  # what may be missing of integrated gradients, of the score's difference
MOST_POINTS = 1025  # of an image
SURROUND = 0.5  # equivalent diameters of the tumour
RANDOMISED = 64  # images for the sanity check: two networks explain each of them

METHODS: dict[str, Any] = {
    "gradient": jaxsal.gradient,
    "input x gradient": jaxsal.input_x_gradient,
    "integrated gradients": functools.partial(
        jaxsal.integrated_gradients, tolerance=TOLERANCE, max_steps=MOST_POINTS
    ),
    "smoothgrad": jaxsal.smoothgrad(jaxsal.gradient),
    "smoothgrad squared": jaxsal.smoothgrad_squared(jaxsal.gradient),
    "vargrad": jaxsal.vargrad(jaxsal.gradient),
}


class Explained(NamedTuple):
    """Maps of N images by each method, and how long they took, compilation apart.

    Attributes:
        points: [N], of a method with a tolerance: at how many the score was evaluated.
    """

    maps: dict[str, np.ndarray]
    targets: np.ndarray
    seconds: dict[str, float]
    points: dict[str, np.ndarray]


def explain(
    apply: Any,
    variables: Any,
    images: np.ndarray,
    targets: np.ndarray,
    *,
    key: jax.Array,
    mesh: Any = None,
    on_method: Callable[[str], None] = lambda name: None,
    methods: Mapping[str, Any] = METHODS,
) -> Explained:
    """Maps of every method, part by part; a call that compiles is not timed.

    On a CPU, where nothing is gained by more images at a time, the first part compiles for all of
    its size, and the others tell the time. Elsewhere all are one part, which is called once more.
    """
    size = len(images)
    if jax.default_backend() == "cpu":
        size = min(size, 32 if size >= 64 else 16)
    starts = list(range(0, len(images), size))
    again = [0] if len(images) < 2 * size else []
    maps, seconds, points = {}, {}, {}
    for name, method in methods.items():
        on_method(name)
        record = jaxsal.explainer(apply, method, mesh=mesh).record
        parts, times = [], []
        for start in starts + again:
            rows = slice(start, start + size)
            begin = time.perf_counter()
            part = record(
                variables, images[rows], targets[rows], key=jax.random.fold_in(key, start)
            )
            parts.append(jax.device_get(part))
            times.append(time.perf_counter() - begin)
        whole = [t for part, t in zip(parts, times, strict=True) if len(part.maps) == size]
        seconds[name] = float(np.mean(whole[1:])) * len(images) / size
        parts = parts[: len(starts)]
        maps[name] = np.concatenate([part.maps for part in parts])
        if parts[0].steps is not None:
            points[name] = np.concatenate([part.steps.points for part in parts])
    return Explained(maps, targets, seconds, points)


def relevance(explained: Explained, examples: Examples, correct: np.ndarray) -> dict[str, Any]:
    """Where the relevance lies, over correctly classified tumours, with controls and intervals."""
    tumours = examples.masks.any((1, 2))
    chosen = correct & tumours
    images, masks = examples.images[chosen], examples.masks[chosen]
    maps = {name: values[chosen] for name, values in explained.maps.items()}
    maps |= _controls(images)
    clusters, unit = study.resampled(take(examples, chosen))
    measures = localization.localize(maps, masks, regions_of(images, masks, width=SURROUND))
    gaps = {name: differences(measures, name) for name in explained.maps}
    summary = bootstrap.summarise(measures, clusters)
    for methods in summary.values():
        for region in methods.values():
            if isinstance(region, dict):
                region["area"] = region["area"][0]
    excluded = {
        "no mask": int((~tumours).sum()),
        "misclassified": int((tumours & ~correct).sum()),
    }
    for name, values in maps.items():
        undefined = localization.exclusions(values, masks)
        excluded |= {f"{reason} ({name})": n for reason, n in undefined.items() if n}
    return {
        "cases": int(chosen.sum()),
        "excluded": excluded,
        "bootstrap": unit,
        "clusters": bootstrap.cluster_count(np.zeros(len(images)), clusters),
        "surround_width": SURROUND,
        "methods": summary,
        "differences": bootstrap.summarise(gaps, clusters),
    }


def differences(measures: Mapping[str, Any], method: str) -> dict[str, np.ndarray]:
    """What a method is compared by, image by image: by regions, and with controls. `[N]` each."""
    own, even, centre = (measures[n] for n in (method, "even in the head", "centre prior"))
    density = {region: own[region]["density"] for region in REGIONS}
    return {
        "tumour - surround": density["tumour"] - density["surround"],
        "surround - rest of head": density["surround"] - density["rest of head"],
        "tumour - even": density["tumour"] - even["tumour"]["density"],
        "tumour - centre prior": density["tumour"] - centre["tumour"]["density"],
        "AUC - centre prior": own["roc_auc"] - centre["roc_auc"],
    }


def _controls(images: np.ndarray) -> dict[str, np.ndarray]:
    keys = jax.random.split(jax.random.key(0), len(images))

    def maps(control: Any) -> np.ndarray:
        def one(image: Any, key: Any) -> Any:
            return control(None, image, **({"key": key} if takes_key(control) else {}))

        return np.asarray(jax.jit(jax.vmap(one))(images, keys))

    return {name: maps(control) for name, control in CONTROLS.items()}


def completeness(
    maps: np.ndarray,
    points: np.ndarray,
    targets: np.ndarray,
    logits: np.ndarray,
    baseline: np.ndarray,
) -> dict[str, Any]:
    """Does integrated gradients sum to the score's difference?

    Args:
        maps: of integrated gradients from a black baseline, [N, H, W, C].
        points: at how many of its path each map was evaluated, [N].
        targets: [N]. logits: of the images, [N, K]. baseline: logits of the black image, [K].

    Returns:
        The points, and the share of images whose error `|sum of map - difference| / |difference|`
        is at most 1 %, its median and largest value, and of the rest the count, the largest error
        and the median |difference|: a small difference makes a small error a large share of it.
    """
    difference = np.take_along_axis(logits, targets[:, None], 1)[:, 0] - baseline[targets]
    gap = np.abs(maps.reshape(len(maps), -1).sum(1, dtype=np.float64) - difference)
    error = gap / np.abs(difference)
    rest = error > TOLERANCE
    return {
        "mean_points": float(points.mean()),
        "median_points": float(np.median(points)),
        "most_points": int(points.max()),
        "images": len(error),
        "within_1_percent": float(np.mean(~rest)),
        "median_error": float(np.median(error)),
        "largest_error": float(error.max()),
        "median_difference": float(np.median(np.abs(difference))),
        "rest_images": int(rest.sum()),
        **_rest(difference[rest], gap[rest]),
    }


def _rest(difference: np.ndarray, gap: np.ndarray) -> dict[str, float]:
    if not len(gap):
        return {}
    return {
        "rest_median_difference": float(np.median(np.abs(difference))),
        "rest_largest_gap": float(gap.max()),
    }


def randomisation(
    apply: Any,
    variables: Any,
    fresh: Any,
    shown: Examples,
    targets: np.ndarray,
    *,
    key: jax.Array,
    mesh: Any = None,
) -> dict[str, Any]:
    """Similarity of each method's maps before and after the network's parameters are drawn anew.

    Spearman's correlation of |map| over the pixels of the head, where it says something, and over
    the image.
    """
    rows = study.drawn(len(targets), RANDOMISED, seed=0)
    clusters, _ = study.resampled(take(shown, rows))
    few, targets = jnp.asarray(shown.images[rows]), targets[rows]
    result = {}
    for name, method in METHODS.items():
        values = sanity.parameter_randomisation(
            headed(jaxsal.explainer(apply, method, mesh=mesh), few),
            variables,
            fresh,
            few,
            targets,
            key=key,
            similarity={kind: HEAD_SIMILARITIES[kind] for kind in ("in_head", "spearman")},
        )
        result[name] = bootstrap.summarise(values, clusters)
    return result
