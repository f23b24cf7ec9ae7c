"""Similarities of two maps: closed forms, a window by window SSIM, and what is undefined."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal import metrics

RNG = np.random.default_rng(0)
A, B = (jnp.asarray(RNG.normal(size=(12, 9, 2)), jnp.float32) for _ in range(2))


@pytest.mark.parametrize("name", metrics.SIMILARITIES)
def test_a_map_is_like_itself_at_every_scale_and_unlike_noise(name):
    similarity = metrics.SIMILARITIES[name]
    np.testing.assert_allclose(similarity(A, 1e3 * A), 1, atol=1e-5)
    np.testing.assert_allclose(similarity(A, B), similarity(B, A), atol=1e-6)
    assert abs(float(similarity(A, B))) < 0.5


def test_the_sign_counts_for_the_cosine_alone():
    signs = {name: round(float(f(A, -A)), 4) for name, f in metrics.SIMILARITIES.items()}
    assert signs == {"spearman": 1, "ssim": 1, "cosine": -1}


def test_cosine_is_the_angles():
    a, b = np.asarray(A).ravel(), np.asarray(B).ravel()
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(metrics.cosine(A, B), expected, atol=1e-6)


def test_ssim_window_by_window():
    a, b = (np.abs(x) / np.abs(x).max() for x in (np.asarray(A, float), np.asarray(B, float)))
    found = []
    for i, j, c in np.ndindex(6, 3, 2):
        u, v = (x[i : i + 7, j : j + 7, c].ravel() for x in (a, b))
        (uu, uv), (_, vv) = np.cov(u, v)
        means = (2 * u.mean() * v.mean() + 1e-4) / (u.mean() ** 2 + v.mean() ** 2 + 1e-4)
        found.append(means * (2 * uv + 9e-4) / (uu + vv + 9e-4))
    np.testing.assert_allclose(metrics.ssim(A, B), np.mean(found), atol=1e-5)


def test_maps_of_nothing_are_like_nothing():
    zero = 0 * A
    assert all(np.isnan(f(A, zero)) for f in metrics.SIMILARITIES.values())
    assert np.isnan(metrics.spearman(A, jnp.ones_like(A)))


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match="maps: expected at least 7"):
        metrics.ssim(A[:5], A[:5])


def test_ssim_of_channels_first_is_that_of_channels_last():
    first, second = (jnp.moveaxis(x, -1, 0) for x in (A, B))
    np.testing.assert_allclose(metrics.ssim(first, second, spatial_axes=(1, 2)), metrics.ssim(A, B))
    np.testing.assert_allclose(
        metrics.ssim(A[..., 0], B[..., 0], spatial_axes=(1, 2)), metrics.ssim(A[..., 0], B[..., 0])
    )
    with pytest.raises(ValueError, match="maps: expected two spatial axes"):
        metrics.ssim(A, B, spatial_axes=(0, 1, 2))
