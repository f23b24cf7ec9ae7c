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
            "min": attention_rollout(score, image, fusion="min", **raw),
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


def test_heads_may_count_by_the_least_of_them(found):
    """No peer's row: the definition in NumPy, of the matrices that are Chefer's."""
    least = found["raw"].min(2) + np.eye(17, dtype=np.float32)  # [images, layers, n, n]
    first, second, third = np.moveaxis(least / least.sum(-1, keepdims=True), 1, 0)
    expected = (third @ second @ first)[:, 0, 1:]
    close(found["min"].reshape(4, 16), expected)
    assert np.abs(found["min"] - found["mean"]).max() > 0.01 * found["mean"].max()


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


IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8, 2)), jnp.float32)
DRAWN = np.random.default_rng(1).normal(size=(4, 8, 12)).astype(np.float32)


def patches(x, side=2):
    """Patches of 2x2, as tokens [16, 8]."""
    size = 8 // side
    return x.reshape(size, side, size, side, 2).transpose(0, 2, 1, 3, 4).reshape(size**2, -1)


def attended(tokens, heads=2, softmax=jax.nn.softmax):
    """Tokens [..., n, 8] through attention of heads, [..., n, 8]."""
    split = lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], heads, -1), -2, -3)  # noqa: E731
    q, k, v = (split(tokens @ DRAWN[i, :, :8]) for i in range(3))
    mixed = jnp.moveaxis(softmax(q @ jnp.swapaxes(k, -1, -2)) @ v, -3, -2)
    return mixed.reshape(*tokens.shape[:-1], 8)


def in_windows(x, heads):
    """Attention within windows of 2x2 tokens."""
    tokens = patches(x).reshape(2, 2, 2, 2, 8).transpose(0, 2, 1, 3, 4).reshape(4, 4, 8)
    return attended(tokens, heads).sum()


def in_merged_windows(x):
    """Windows and heads in one axis, as a batched product has them."""
    tokens = patches(x).reshape(2, 2, 2, 2, 8).transpose(0, 2, 1, 3, 4).reshape(4, 4, 8)
    q, k, v = (
        (tokens @ DRAWN[i, :, :8]).reshape(4, 4, 2, 4).transpose(0, 2, 1, 3).reshape(8, 4, 4)
        for i in range(3)
    )
    return (jax.nn.softmax(q @ k.transpose(0, 2, 1)) @ v).sum()


def in_lost_windows(x):
    """Windows of tokens whose place is not known."""
    tokens = jnp.sort(x.ravel()).reshape(4, 4, 8)
    return attended(tokens).sum()


@pytest.mark.parametrize(
    ("score", "why"),
    [
        (lambda x: in_windows(x, 2), r"f32\[4,2,4,4\], whose axis 0 runs along the image's posit"),
        (lambda x: in_windows(x, 1), r"f32\[4,1,4,4\], whose axis 0 runs along the image's posit"),
        (in_merged_windows, r"f32\[8,4,4\], whose axis 0 runs along the image's positions"),
        (in_lost_windows, r"f32\[4,2,4,4\], whose leading axes \(4, 2\) have values of their own"),
    ],
)
def test_windows_are_refused(score, why):
    for method in (attention_rollout, generic_attention):
        with pytest.raises(ValueError, match=f"score: expected matrices of all tokens, .*{why}"):
            method(score, IMAGE)


def test_grouped_queries_are_heads():
    """Queries that share keys and values are as many heads, each with a copy of them."""

    def score(x, repeats):
        tokens = patches(x)[None]
        q, k, v = (tokens @ DRAWN[i] for i in range(3))
        q, k, v = q.reshape(1, 16, 4, 3), *(y[..., :6].reshape(1, 16, 2, 3) for y in (k, v))
        k, v = (jnp.repeat(y, repeats, 2) for y in (k, v))
        return jnp.square(jax.nn.dot_product_attention(q, k, v)).sum()

    for method in (attention_rollout, generic_attention):
        explain = lambda n: method(lambda x: score(x, n), IMAGE, token=None, resize=False)  # noqa: B023, E731
        close(*map(np.asarray, jax.jit(lambda: (explain(1), explain(2)))()))  # noqa: B023
    (found,) = attention(lambda x: score(x, 1), IMAGE)
    assert found.weights.shape == (4, 16, 16)


def down(scores):
    return jax.nn.softmax(scores, axis=-2)


def summed_over_rows(scores):
    exponential = jnp.exp(scores)
    return exponential / exponential.sum(-1)[:, None]


@pytest.fixture(params=[False, True])
def as_call(request):
    """Whether JAX's softmax is a call with a derivative of its own."""
    before = jax.config.jax_softmax_custom_jvp
    jax.config.update("jax_softmax_custom_jvp", request.param)
    yield
    jax.config.update("jax_softmax_custom_jvp", before)


@pytest.mark.usefixtures("as_call")
def test_a_softmax_over_another_axis_than_the_last_is_refused():
    """By hand or as a call of JAX's; one whose rows do not sum to one is none."""
    score = lambda softmax: lambda x: attended(patches(x), softmax=softmax).sum()  # noqa: E731
    with pytest.raises(ValueError, match=r"softmax over the last axis.*over its axes \(1,\)"):
        attention(score(down), IMAGE)
    (found,) = attention(score(jax.nn.softmax), IMAGE)
    np.testing.assert_allclose(found.weights.sum(-1), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="found none"):
        attention(score(summed_over_rows), IMAGE)


def test_attention_in_a_narrow_dtype():
    """JAX sums a softmax of bfloat16 in float32."""
    narrow = lambda x: x.astype(jnp.bfloat16)  # noqa: E731
    softmax = lambda scores: jax.nn.softmax(narrow(scores)).astype(jnp.float32)  # noqa: E731
    (found,) = attention(lambda x: attended(patches(x), softmax=softmax).sum(), IMAGE)
    np.testing.assert_allclose(found.weights.sum(-1), 1, atol=0.02)


def test_the_row_of_a_class_token_that_there_is_none_of_is_refused():
    score = lambda x: jnp.square(attended(patches(x))).sum()  # noqa: E731
    grid = {"spatial": lambda tokens: tokens.reshape(4, 4, 1)}
    for method in (attention_rollout, generic_attention):
        for more in ({}, grid):
            with pytest.raises(ValueError, match=r"token: all 16 tokens are positions.*token=None"):
                method(score, IMAGE, **more)
        rows = [method(score, IMAGE, token=i, resize=False) for i in range(16)]
        mean = method(score, IMAGE, token=None, resize=False)
        close(np.mean(rows, 0), np.asarray(mean))
        with pytest.raises(ValueError, match="token: expected one of 16, 0 to 15, got 16"):
            method(score, IMAGE, token=16)
