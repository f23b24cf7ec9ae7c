"""Incremental occlusion: at every corner the score of the image with the window replaced."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

import jaxsal
from jaxsal.rewrite.local import Span, fitted, union
from jaxsal.rewrite.patch import patch
from tests import toy

rng = np.random.default_rng(0)
KERNEL = rng.normal(size=(3, 3, 1, 2)).astype(np.float32)
WIDE = rng.normal(size=(3, 3, 2, 2)).astype(np.float32)
POINT = rng.normal(size=(1, 1, 2, 2)).astype(np.float32)
BIAS = np.ones((1, 1, 1, 2), np.float32)


def convolve(x, w, stride=1, padding="SAME", dilation=1):
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def pool(x, size=2, padding="VALID"):
    window = (1, size, size, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, padding)


def plain(image):
    x = pool(jax.nn.relu(convolve(image[None], KERNEL) + BIAS))
    return jnp.tanh(0.1 * pool(jax.nn.relu(convolve(x, WIDE)), padding="SAME").mean((1, 2))).sum()


def strided_with_skip(image):
    """A residual block whose two branches reach differently far, and a gap between windows."""
    x = convolve(image[None], KERNEL, stride=2)
    y = convolve(jnp.tanh(convolve(x, WIDE)), WIDE, stride=2, padding=((0, 2), (1, 0)))
    y = y + convolve(x, POINT, stride=2)[:, : y.shape[1], : y.shape[2]]
    return (jax.nn.silu(y) ** 2).mean()


def dilated_and_joined(image):
    x = convolve(image[None], KERNEL, dilation=2, padding="VALID")
    x = jnp.concatenate([x, jnp.where(x > 0, x, 0.1 * x)], -1)
    return jnp.sum(jnp.transpose(x, (0, 3, 1, 2)) ** 3)


def unknown(image):
    """Sorting is done on the whole."""
    return jnp.sum(jnp.sort(convolve(image[None], KERNEL), axis=1)[:, :3] ** 2)


SCORES = [plain, strided_with_skip, dilated_and_joined, unknown]
IMAGE = rng.normal(size=(21, 18, 1)).astype(np.float32)


def corners(window):
    axes = [np.arange(n - w + 1) for n, w in zip(IMAGE.shape[:2], window, strict=True)]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], -1).astype(np.int32)


def whole(score, image):
    return lambda values, corner: score(lax.dynamic_update_slice(image, values, corner))


def at_corners(how, score, image, values, places):
    replaced = how(score, image)
    return jax.vmap(lambda place: replaced(values, (place[0], place[1], 0)))(places)


@pytest.mark.parametrize("window", [(2, 3), (5, 4)])
@pytest.mark.parametrize("score", SCORES)
def test_every_corner(score, window):
    values = rng.normal(size=(*window, 1)).astype(np.float32)
    changed, expected = (
        jax.jit(functools.partial(at_corners, how, score))(IMAGE, values, corners(window))
        for how in (patch, whole)
    )
    assert np.ptp(expected) > 1e-3
    toy.close(changed, expected)


def largest_convolution(score):
    """The most elements of any convolution that a replaced window costs."""
    replaced = patch(score, jnp.asarray(IMAGE))
    program = jax.make_jaxpr(lambda i: replaced(jnp.zeros((2, 2, 1)), (i, i, 0)))(jnp.int32(3))
    eqns = [e for e in program.jaxpr.eqns if e.primitive.name == "conv_general_dilated"]
    return max(e.outvars[0].aval.size for e in eqns)


def test_only_what_the_window_reaches_is_computed():
    def score(image):
        return plain(image)

    assert largest_convolution(score) <= 8 * 8 * 2
    score.rewrite = False
    assert largest_convolution(score) == 21 * 18 * 2


def test_under_vmap_and_shard_map():
    images = jnp.stack([jnp.asarray(IMAGE), 2.0 * IMAGE])
    values, places = jnp.zeros((3, 3, 1)), corners((3, 3))[::40]
    batched = jax.vmap(functools.partial(at_corners, patch, plain), (0, None, None))
    expected = jax.vmap(functools.partial(at_corners, whole, plain), (0, None, None))(
        images, values, places
    )
    toy.close(jax.jit(batched)(images, values, places), expected)
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    spread = jax.shard_map(
        batched, mesh=mesh, in_specs=(P("data"), P(), P()), out_specs=P("data"), check_vma=True
    )
    toy.close(jax.jit(spread)(images, values, places), expected)


def test_gradient_with_respect_to_the_image():
    def loss(how, image):
        values = jnp.zeros((2, 2, 1))
        return (at_corners(how, plain, image, values, corners((2, 2))[::60]) ** 2).sum()

    slope, expected = (jax.jit(jax.grad(functools.partial(loss, h)))(IMAGE) for h in (patch, whole))
    toy.close(slope, expected)


def test_spans():
    starts = np.arange(-2, 5)
    span = fitted(starts, starts + 3, 0, 6)
    np.testing.assert_array_equal(span.starts, [0, 0, 0, 1, 2, 2, 2])
    assert span.size == 4
    assert fitted(starts, starts + 7, 0, 6) is None
    both = union(Span(np.array([0, 1]), 2, 0), Span(np.array([1, 1]), 3, 0), 9)
    np.testing.assert_array_equal(both.starts, [0, 1])
    assert both.size == 4
    assert union(span, span._replace(source=1), 6) is None


def test_a_sum_over_channels_loses_nothing_behind_a_dark_patch() -> None:
    """The old sum and its change cancel where what was there is much brighter."""

    def directed(image):
        norm = jnp.sqrt(jnp.sum(image**2, -1, keepdims=True)) + 1e-12
        return jnp.sum((image / norm) ** 3)

    explain = {
        rewrite: jaxsal.explainer(
            lambda _, images: jnp.stack([jax.vmap(directed)(images)] * 2, -1),
            jaxsal.occlusion,
            window=4,
            baseline=0.01,
            rewrite=rewrite,
        )
        for rewrite in (True, False)
    }
    images = np.full((1, 16, 16, 3), 100, np.float32)
    maps = {rewrite: call({}, images, 0) for rewrite, call in explain.items()}
    np.testing.assert_allclose(maps[True], maps[False], atol=1e-3)


def test_a_dilated_mask_is_the_same_at_the_border() -> None:
    def masked(images):
        bright = images > 0.5
        window = (1, 3, 3, 1)
        grown = lax.reduce_window(bright, False, lax.bitwise_or, window, (1, 1, 1, 1), "SAME")
        most = lax.reduce_window(bright.astype(jnp.int32), 0, lax.max, window, (1, 1, 1, 1), "SAME")
        return images * jnp.where(grown, 1 + most, 0).astype(images.dtype)

    images = np.random.default_rng(0).random((2, 12, 12, 1)).astype(np.float32)
    maps = [
        jaxsal.explainer(
            lambda _, x: jnp.stack([masked(x).sum((1, 2, 3))] * 2, -1),
            jaxsal.occlusion,
            window=4,
            rewrite=rewrite,
        )({}, images, 0)
        for rewrite in (True, False)
    ]
    np.testing.assert_allclose(*maps, atol=1e-4)
