"""Attention maps: the rows of `golden2.npz`, one image at a time, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.methods.attention import attention_rollout, generic_attention
from jaxsal.rewrite.attention import attention
from tests.golden2 import IMAGES, NETWORKS, ROWS, TARGETS

APPLY, PARAMS = NETWORKS["v/"]


@pytest.fixture(scope="module")
def found():
    def explain(image, target):
        score = lambda x: APPLY(PARAMS, x[None])[0, target]  # noqa: E731
        raw = {"resize": False}
        cut = {"spatial": lambda tokens: tokens[1:].reshape(4, 4, 1)}
        return {
            "raw": jnp.stack([each.weights for each in attention(score, image)]),
            "mean": attention_rollout(score, image, **raw),
            "max": attention_rollout(score, image, fusion="max", **raw, **cut),
            "generic": generic_attention(score, image, **raw),
            "whole": generic_attention(score, image),
        }

    return jax.device_get(jax.jit(jax.vmap(explain))(jnp.asarray(IMAGES), jnp.asarray(TARGETS)))


def test_rows(found):
    """And vit-explain's rollout, which divides columns by the sums of rows, is another."""
    close(found["raw"], ROWS["v/chefer/raw_attention"])
    close(found["mean"].reshape(4, 16), ROWS["v/chefer/rollout"])
    largest = found["max"].reshape(4, 16)
    largest = largest / largest.max(1, keepdims=True)
    close(largest, ROWS["v/own/rollout_max"])
    assert np.abs(largest - ROWS["v/vitexplain/rollout_max"]).max() > 0.05
    close(found["generic"].reshape(4, 16), ROWS["v/chefer/generic"])
    assert found["whole"].shape == (4, 16, 16)


def close(got, expected, tolerance=1e-5):
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_what_is_refused():
    apply, params = NETWORKS[""]
    with pytest.raises(ValueError, match="score: expected a program with self-attention"):
        attention_rollout(lambda x: apply(params, x[None])[0, 0], jnp.asarray(IMAGES[0]))
    score = lambda x: APPLY(PARAMS, x[None])[0, 0]  # noqa: E731
    with pytest.raises(ValueError, match="fusion: expected one of mean, max, min, got 'sum'"):
        attention_rollout(score, jnp.asarray(IMAGES[0]), fusion="sum")


def test_a_batch_on_all_devices_equals_single_images(found):
    explain = jaxsal.explainer(
        APPLY, {"rollout": jaxsal.attention_rollout, "generic": jaxsal.generic_attention}
    )
    maps = explain(PARAMS, IMAGES, TARGETS)
    close(np.asarray(maps["generic"]), found["whole"])
    single = explain(PARAMS, IMAGES[1:2], TARGETS[1:2])
    close(np.asarray(single["rollout"]), np.asarray(maps["rollout"])[1:2])
