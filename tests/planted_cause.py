"""Does each faithfulness metric tell the true map from maps that know nothing of the model?

    python -m tests.planted_cause

A classifier is built whose answer depends on one of four equal blobs in an image, and on nothing
else; its exact contributions are the true map. Every faithfulness metric of `metrics.TABLE` has to
rank it above the image's edges, its centre, all of it and noise, on at least 95 of 100 seeds, and
above is what `LOWER_IS_BETTER` says. Sensitivity-max and completeness are not among them: a blind
map can be perfectly insensitive, and complete once it is rescaled.

Where no map can do better than another of a score that only rises with the image, the score is one
that another blob speaks against.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxsal
from experiments.controls import even_in_head
from jaxsal import metrics

SIZE = 24
SEEDS = 100
ENOUGH = 95

CURVES = {
    f"{curve.__name__} {name}": functools.partial(curve, steps=24, baseline=baseline)
    for curve in (metrics.deletion, metrics.insertion)
    for name, baseline in {"zero": 0.0, "mean": metrics.mean, "blur": metrics.blur}.items()
}
# A pixel that is always shown might lie in the cause.
INFORMATION: dict[str, Any] = {"shown": 0.0, "thresholds": (0.01, 0.03, 0.06, 0.1, 0.3)}
OPTIONS: dict[str, dict[str, Any]] = {
    "deletion_curve": {"steps": 24},
    "insertion_curve": {"steps": 24},
    "road_curve": {"least_relevant": True, "removed": (0.9, 0.95)},
    "infidelity": {"normalize": True, "samples": 30, "contributions": True},
    "sensitivity_n": {"samples": 30},
    "region_perturbation": {"patch": 4},
    "selectivity": {"patch": 4},
    "monotonicity": {"steps": 96},
    "sic": INFORMATION,
    "aic": INFORMATION,
}
METRICS = CURVES | {
    row.function.__name__: functools.partial(row.function, **OPTIONS.get(row.function.__name__, {}))
    for row in metrics.TABLE
    if row.family == "faithfulness" and row.function not in (metrics.deletion, metrics.insertion)
}
CAUSE, CONTEST = 1, 2
"""The class that a blob is the cause of, and the one that another blob speaks against."""
CONTESTED = ("monotonicity", "average_increase")
"""A score that only rises with the image never falls as pixels come, nor rises as they are hidden.
"""
BETWEEN = 1.35
"""The logit of no cause, a pixel: more than a dark one's (0.3), less than a bright one's (1.5)."""
AGAINST = 0.4
AS_GOOD = {"aic": 1, "average_drop": 4}
"""Which map may be as good as the true one: the edges, from which the cause is filled in and the
class is right; one that is even, and through which nothing is lost."""


def contributions(region: jax.Array, images: jax.Array) -> jax.Array:
    """What each pixel adds to the logit: 0 outside the cause and for black pixels."""
    return region * jnp.tanh(2 * images) * (1 + images)


def apply(regions: jax.Array, images: jax.Array) -> jax.Array:
    """`[B, SIZE, SIZE, 1] -> [B, 3]`: no cause, the cause, the cause with a rival against it.

    Args:
        regions: the blobs of the cause and of its rival, [2, SIZE, SIZE, 1].
    """
    cause, rival = (jnp.sum(contributions(each[None], images), (1, 2, 3)) for each in regions)
    neither = jnp.full_like(cause, BETWEEN * jnp.sum(regions[0]))
    return jnp.stack([neither, cause, cause - AGAINST * rival], -1)


@jax.jit
def scene(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """An image of four blobs on a dark, noisy ground, one a quadrant; the cause and its rival."""
    keys = jax.random.split(key, 5)
    quarter, half = SIZE / 4, SIZE / 2
    corners = jnp.array([[i, j] for i in (0, half) for j in (0, half)])
    centres = corners + quarter + jax.random.uniform(keys[0], (4, 2), minval=-1.5, maxval=1.5)
    radii = jax.random.uniform(keys[1], (4,), minval=2.5, maxval=3.5)
    pixels = jnp.stack(jnp.mgrid[:SIZE, :SIZE], -1)[None].astype(float) + 0.5
    blobs = jnp.linalg.norm(pixels - centres[:, None, None], axis=-1) < radii[:, None, None]
    light = jax.random.uniform(keys[2], (4, 1, 1), minval=0.6, maxval=0.9)
    bright = jnp.max(jnp.where(blobs, light, 0), 0)
    image = jnp.abs(0.15 + bright + 0.05 * jax.random.normal(keys[3], (SIZE, SIZE)))
    chosen = blobs[jax.random.permutation(keys[4], 4)[:2]]
    return image[..., None], chosen[..., None].astype(jnp.float32)


def true_map(regions: jax.Array, image: jax.Array, target: int) -> jax.Array:
    """What the score of a class is made of."""
    cause, rival = (contributions(region, image) for region in regions)
    return cause if target == CAUSE else cause - AGAINST * rival


def blind_maps(image: jax.Array, key: jax.Array) -> list[jax.Array]:
    """Of the image alone."""
    return [
        metrics.edge_detector(None, image),
        metrics.centre_prior(None, image),
        metrics.uniform_random(None, image, key=key),
        even_in_head(None, image),
    ]


def beats(name: str, values: np.ndarray) -> bool:
    """Whether the first map's value is better than all others'; NaN is a defeat."""
    value = values.reshape(len(values), -1).mean(1)
    value = -value if name.split()[0] in metrics.LOWER_IS_BETTER else value
    others = np.delete(value, [0, AS_GOOD.get(name, 0)])
    return bool(value[0] > np.nan_to_num(others, nan=-np.inf).max())


def wins(seeds: int = SEEDS) -> dict[str, int]:
    """On how many seeds each metric ranks the true map above all controls."""
    contested = {name: METRICS[name] for name in CONTESTED}
    others = {name: metric for name, metric in METRICS.items() if name not in CONTESTED}
    evaluators = {
        target: jaxsal.evaluator(apply, chosen)
        for target, chosen in ((CAUSE, others), (CONTEST, contested))
    }
    counts = dict.fromkeys(METRICS, 0)
    for seed in range(seeds):
        k_scene, k_control, k_metric = jax.random.split(jax.random.key(seed), 3)
        image, regions = scene(k_scene)
        blind = blind_maps(image, k_control)
        images = jnp.stack([image] * (1 + len(blind)))
        # One key an image: all maps are held against the same draws.
        keys = jax.random.wrap_key_data(jnp.stack([jax.random.key_data(k_metric)] * len(images)))
        for target, evaluate in evaluators.items():
            maps = jnp.stack([true_map(regions, image, target), *blind])
            found = evaluate(regions, images, maps, target, key=keys)
            for name, values in found.items():
                counts[name] += beats(name, np.asarray(values))
    return counts


if __name__ == "__main__":
    found = wins()
    for name, count in found.items():
        print(f"{name:<18} {count} of {SEEDS}")
    assert min(found.values()) >= ENOUGH
