"""Rank correlation in the head is SciPy's over its pixels; the background does not count."""

import jax.numpy as jnp
import numpy as np
import scipy.stats

from experiments.head_similarity import HEAD_SIMILARITIES, headed
from jaxsal.metrics import spearman

GRID = np.mgrid[:24, :24]
HEAD = np.hypot(GRID[0] - 12, GRID[1] - 12) < 8


def maps(seed: int) -> jnp.ndarray:
    values = np.random.default_rng(seed).normal(size=(24, 24)).round(1)  # with ties
    return jnp.asarray(np.where(HEAD, values, 0)[..., None], jnp.float32)


def with_head(map: jnp.ndarray) -> jnp.ndarray:
    return jnp.concatenate([map, HEAD[..., None].astype(np.float32)], -1)


def test_the_background_does_not_count() -> None:
    first, second = maps(0), maps(1)
    found = HEAD_SIMILARITIES["in_head"](with_head(first), with_head(second))
    expected = scipy.stats.spearmanr(*(np.abs(m)[..., 0][HEAD] for m in (first, second)))[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert spearman(first, second) > found + 0.3
    np.testing.assert_allclose(
        HEAD_SIMILARITIES["spearman"](with_head(first), with_head(second)), spearman(first, second)
    )


def test_a_map_that_is_constant_in_the_head_has_no_order() -> None:
    flat = jnp.asarray(HEAD[..., None], jnp.float32)
    assert jnp.isnan(HEAD_SIMILARITIES["in_head"](with_head(flat), with_head(maps(0))))
    assert jnp.isnan(HEAD_SIMILARITIES["in_head"](with_head(0 * flat), with_head(maps(0))))


def test_maps_with_and_without_channels_get_the_head_of_their_image() -> None:
    scenes = jnp.asarray(np.where(HEAD, 0.5, 0)[None, ..., None], jnp.float32)
    for explain in (lambda x: x, lambda x: x[..., 0]):
        found = headed(explain, scenes)(scenes)
        np.testing.assert_allclose(
            found[0], jnp.concatenate([scenes[0], with_head(scenes[0])[..., 1:]], -1)
        )
