"""XRAI and the segments that it is given: PAIR's arrays, closed forms, grids, errors."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.methods.xrai import regions
from tests.golden2 import ROWS

MASKS = np.unpackbits(ROWS["xrai/segments_packed"], axis=1)[:, :1600]
MASKS = MASKS.reshape(ROWS["xrai/segments_shape"]).astype(bool)


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("full", {}),
        ("full_min5", {"min_pixels": 5}),
        ("fast", {"algorithm": "fast"}),
    ],
)
def test_row(row, options):
    """From PAIR's own integrated gradients."""
    attribution = jnp.asarray(ROWS["xrai/ig"]).max(-1)
    found = jax.jit(partial(regions, **options))(attribution, jnp.asarray(MASKS))
    expected = ROWS[f"xrai/{row}"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_regions_of_a_linear_score_have_the_means_of_their_parts():
    """Segments that do not overlap, as labels or as masks: each gets its mean, the rest its own."""
    weights, image = (
        jnp.asarray(np.random.default_rng(i).normal(size=(6, 6, 1)), jnp.float32) for i in range(2)
    )
    labels = jaxsal.segments(image, cells=3)
    score = lambda x: jnp.sum(weights * x)  # noqa: E731
    attribution = np.asarray(weights * (image - (image.min() + image.max()) / 2))[..., 0]
    means = np.stack([attribution[labels == i].mean() for i in range(9)])
    explain = partial(jaxsal.xrai, score, image, steps=2, min_pixels=4)
    for segments in (labels, labels == np.arange(9)[:, None, None]):
        np.testing.assert_allclose(explain(segments=segments)[..., 0], means[labels], atol=1e-5)
    some = labels == np.arange(8)[:, None, None]
    np.testing.assert_allclose(explain(segments=some)[..., 0], means[labels], atol=1e-5)
    apply = lambda params, images: jax.vmap(score)(images)[:, None]  # noqa: E731
    small = partial(jaxsal.xrai, segments=labels, steps=2, min_pixels=5)
    with pytest.raises(ValueError, match=r"min_pixels: .* 5 pixels, the largest has 4"):
        jaxsal.explainer(apply, small)({}, image[None], 0)


def test_segments_of_a_call_none_of_which_is_large_enough_are_no_map():
    """An image's own segments are traced: its map is NaN, and a warning counts it."""
    images = jnp.asarray(np.random.default_rng(2).normal(size=(3, 6, 6, 1)), jnp.float32)
    apply = lambda params, images: jnp.square(images).sum((1, 2))  # noqa: E731
    labels = np.stack([jaxsal.segments(images[0], cells=n) for n in (2, 3, 6)])
    segments = labels[:, None] == np.arange(36)[:, None, None]
    explain = jaxsal.explainer(apply, jaxsal.xrai, steps=2, min_pixels=4)
    for kind in (segments, labels):
        with pytest.warns(RuntimeWarning, match="1 of 3 images' are not finite"):
            maps = explain({}, images, 0, segments=kind)
        assert np.isfinite(maps[:2]).all() and np.isnan(maps[2]).all()
    with pytest.warns(RuntimeWarning, match="3 of 3 images' are not finite"):
        jaxsal.explainer(apply, jaxsal.xrai, steps=2, min_pixels=0)(
            {}, images, 0, segments=np.zeros_like(segments)
        )
    few = jax.jit(partial(jaxsal.xrai, jnp.sum, images[0], steps=2, min_pixels=1, n_segments=3))
    assert np.isnan(few(segments=labels[0])).all()


def test_a_grid_has_the_cells_over_the_pixels_centres():
    labels = jaxsal.segments(np.zeros((7, 9, 3)), cells=3)
    np.testing.assert_array_equal(labels[:, 0], [0, 0, 3, 3, 3, 6, 6])
    np.testing.assert_array_equal(labels[0], [0, 0, 0, 1, 1, 1, 2, 2, 2])
    first = jaxsal.segments(np.zeros((3, 7, 9)), cells=3)
    np.testing.assert_array_equal(first, labels)
    assert jaxsal.segments(np.zeros((4, 4, 4, 5)), cells=2, spatial_axes=(0, 1, 2)).max() == 7


def test_felzenszwalbs_segments_keep_to_edges():
    image = np.zeros((20, 20, 1), np.float32)
    image[:, 10:] = 1
    labels = jaxsal.segments(image, "felzenszwalb", size=10, sigma=0, min_size=5)
    assert labels.shape == (20, 20) and len(np.unique(labels)) == 2
    assert set(labels[:, :10].ravel()) & set(labels[:, 10:].ravel()) == set()


def test_without_scikit_image_an_error_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ImportError, match="pip install scikit-image"):
        jaxsal.segments(np.zeros((8, 8, 1)), "felzenszwalb")


def test_what_cannot_be_is_an_error():
    image = jnp.ones((6, 6, 1))
    explain = partial(jaxsal.xrai, jnp.sum, image, steps=2)
    with pytest.raises(ValueError, match="segments: expected masks"):
        explain(segments=np.ones((3, 6, 5), bool))
    with pytest.raises(ValueError, match="algorithm: expected full or fast"):
        explain(segments=np.zeros((6, 6), int), algorithm="slow")
    with pytest.raises(TypeError, match="segments: expected integers"):
        explain(segments=np.zeros((6, 6)))
    with pytest.raises(ValueError, match="kind: expected grid or felzenszwalb"):
        jaxsal.segments(image, "slic")
    with pytest.raises(ValueError, match="cells: expected at most"):
        jaxsal.segments(image, cells=7)
