"""Does each faithfulness metric tell the true map from maps that know nothing of the model?

    python -m tests.planted_cause

A classifier is built whose answer depends on one of four equal blobs in an image, and on nothing
else; its exact contributions are the true map. Every metric has to rank it above the image's edges,
its centre, all of it and noise, on at least 95 of 100 seeds. Sensitivity-max and completeness are
not among them: a blind map can be perfectly insensitive, and complete once it is rescaled.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxsal
from experiments.controls import even_in_head
from jaxsal import metrics

SIZE = 24
SEEDS = 100
ENOUGH = 95
LOWER = ("deletion", "infidelity")

CURVES = {
    f"{curve.__name__} {name}": functools.partial(curve, steps=24, baseline=baseline)
    for curve in (metrics.deletion, metrics.insertion)
    for name, baseline in {"zero": 0.0, "mean": metrics.mean, "blur": metrics.blur}.items()
}
METRICS = CURVES | {
    "road": metrics.road,
    "infidelity": functools.partial(
        metrics.infidelity, normalize=True, samples=30, contributions=True
    ),
    "sensitivity_n": functools.partial(metrics.sensitivity_n, samples=30),
}


def contributions(region: jax.Array, images: jax.Array) -> jax.Array:
    """What each pixel adds to the logit: 0 outside the cause and for black pixels."""
    return region * jnp.tanh(2 * images) * (1 + images)


def apply(region: jax.Array, images: jax.Array) -> jax.Array:
    """`[B, SIZE, SIZE, 1] -> [B, 2]`: the second logit is the sum of all contributions."""
    total = jnp.sum(contributions(region[None], images), (1, 2, 3))
    return jnp.stack([jnp.zeros_like(total), total], -1)


@jax.jit
def scene(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """An image of four blobs on a dark, noisy ground, one a quadrant; and the blob that counts."""
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
    return image[..., None], blobs[jax.random.randint(keys[4], (), 0, 4)][..., None]


def wins(seeds: int = SEEDS) -> dict[str, int]:
    """On how many seeds each metric ranks the true map above all controls; NaN is a defeat."""
    evaluate = jaxsal.evaluator(apply, METRICS)
    counts = dict.fromkeys(METRICS, 0)
    for seed in range(seeds):
        k_scene, k_control, k_metric = jax.random.split(jax.random.key(seed), 3)
        image, region = scene(k_scene)
        region = region.astype(jnp.float32)
        blind = [
            metrics.edge_detector(None, image),
            metrics.centre_prior(None, image),
            even_in_head(None, image),
            metrics.uniform_random(None, image, key=k_control),
        ]
        maps = jnp.stack([contributions(region, image), *blind])
        # One key an image: all maps are held against the same draws.
        keys = jax.random.wrap_key_data(jnp.stack([jax.random.key_data(k_metric)] * len(maps)))
        images = jnp.broadcast_to(image[None], maps.shape)
        for name, values in evaluate(region, images, maps, 1, key=keys).items():
            value = np.asarray(values).reshape(len(maps), -1).mean(1)
            value = -value if name.startswith(LOWER) else value
            counts[name] += bool(value[0] > np.nan_to_num(value[1:], nan=-np.inf).max())
    return counts


if __name__ == "__main__":
    found = wins()
    for name, count in found.items():
        print(f"{name:<18} {count} of {SEEDS}")
    assert min(found.values()) >= ENOUGH
