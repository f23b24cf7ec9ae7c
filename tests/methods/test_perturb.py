"""Occlusion, ablation and RISE: closed forms on linear models, borders, coverage, errors."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsal.methods.perturb import feature_ablation, occlusion
from jaxsal.methods.rise import draw_mask, masked_scores, rise

KEY = jax.random.key(0)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def explained(method, score, image, **options):
    """The map, from one compiled program."""
    return jax.jit(partial(method, score, **options))(image)


occluded = partial(explained, occlusion)
ablated = partial(explained, feature_ablation)


def cut_windows(shape, window, stride):
    """All windows as boolean masks, written out: one by one, the last cut off at the border."""
    starts = [
        [i * s for i in range(-(-(n - w) // s) + 1)]
        for n, w, s in zip(shape, window, stride, strict=True)
    ]
    for corner in itertools.product(*starts):
        mask = np.zeros(shape, bool)
        mask[tuple(slice(a, a + w) for a, w in zip(corner, window, strict=True))] = True
        yield mask


CASES = [
    ((7,), (3,), (2,)),
    ((6, 5), (2, 2), (2, 2)),
    ((7, 8), (3, 4), (2, 3)),
    ((5, 4), (5, 1), (1, 1)),
    ((4, 5, 3), (2, 3, 2), (2, 2, 1)),
]


@pytest.mark.parametrize("shape, window, stride", CASES)
def test_occlusion_of_a_linear_model(shape, window, stride):
    """A window's loss is Σ w (x - b) over it; a pixel's value the mean over its windows."""
    weights, image, baseline = (normal(i, *shape, 2) for i in range(3))
    parts = np.asarray(jnp.sum(weights * (image - baseline), -1))
    masks = np.stack(list(cut_windows(shape, window, stride)))
    losses = (masks * parts).reshape(len(masks), -1).sum(1)
    expected = np.tensordot(losses, masks, 1) / masks.sum(0)
    options = {"window": window, "stride": stride, "baseline": baseline, "chunk": 4}
    map = occluded(lambda x: jnp.sum(weights * x), image, **options)
    np.testing.assert_allclose(map, np.stack([expected] * 2, -1), rtol=1e-4, atol=1e-4)


@jax.jit
def sum_of_occlusion_of_a_linear_model(weights, image):
    return jnp.sum(occlusion(lambda x: jnp.sum(weights * x) + 1, image, window=2))


@given(st.integers(0, 2**20))
def test_occlusion_without_overlap_is_complete_on_a_linear_model(seed):
    """Each window's loss is spread over its four pixels: the map's sum is 4 (s(x) - s(b))."""
    weights, image = normal(seed, 4, 6, 1), normal(seed + 1, 4, 6, 1)
    total = sum_of_occlusion_of_a_linear_model(weights, image)
    np.testing.assert_allclose(total, 4 * jnp.sum(weights * image), rtol=1e-3, atol=1e-4)


def test_any_chunk_gives_the_same_map():
    image, segments = normal(0, 5, 4, 1), np.arange(20).reshape(5, 4) // 3
    score = lambda x: jnp.sum(jnp.tanh(jnp.cumsum(x)))  # noqa: E731
    for explain in (partial(occluded, window=2, stride=1), partial(ablated, segments=segments)):
        one = explain(score, image)
        for chunk in (3, 5, 1000):
            np.testing.assert_allclose(explain(score, image, chunk=chunk), one, atol=1e-5)


def test_an_int_window_is_square_and_stride_defaults_to_it():
    explain = partial(occluded, lambda x: jnp.sum(x**3), normal(0, 7, 5, 2))
    expected = explain(window=(3, 3), stride=(3, 3))
    np.testing.assert_allclose(explain(window=3), expected, rtol=1e-5)
    np.testing.assert_allclose(explain(window=3, stride=3), expected, rtol=1e-5)


def test_a_window_over_the_whole_image_is_the_score_difference():
    image = normal(0, 4, 5, 2)
    map = occluded(lambda x: jnp.sum(x**2), image, window=(4, 5), baseline=0.5)
    np.testing.assert_allclose(map, jnp.sum(image**2) - 40 * 0.25, rtol=1e-5)


@pytest.mark.parametrize("segment_axes", [2, 3])
def test_feature_ablation_of_a_linear_model(segment_axes):
    """A segment's loss is the sum of w (x - b) over it; labels need not be consecutive."""
    weights, image = normal(0, 4, 6, 2), normal(1, 4, 6, 2)
    labels = np.array([7, -2, 40])[np.arange(24).reshape(4, 6) // 9]
    segments = labels if segment_axes == 2 else np.stack([labels, labels + 1], -1)
    spread = segments if segment_axes == 3 else np.stack([labels] * 2, -1)
    part = np.asarray(weights * (image - 0.5))
    expected = np.zeros((4, 6, 2))
    for label in np.unique(spread):
        expected[spread == label] = part[spread == label].sum()
    map = ablated(lambda x: jnp.sum(weights * x), image, segments=segments, baseline=0.5, chunk=2)
    np.testing.assert_allclose(map, expected, rtol=1e-4, atol=1e-4)


def test_ablation_of_a_grid_is_occlusion_without_overlap():
    image = normal(0, 4, 6, 1)
    score = lambda x: jnp.sum(jnp.tanh(jnp.cumsum(x)))  # noqa: E731
    segments = np.arange(4)[:, None] // 2 * 10 + np.arange(6) // 3
    np.testing.assert_allclose(
        ablated(score, image, segments=segments),
        occluded(score, image, window=(2, 3)),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("method", [occlusion, feature_ablation])
def test_differentiates_in_the_parameters(method):
    """Of w Σ x³ the map is linear in w."""
    image = normal(0, 4, 4, 1)
    options = {"window": 2} if method is occlusion else {"segments": np.arange(16).reshape(4, 4)}

    def total(weight):
        map = method(lambda x: weight * jnp.sum(x**3), image, chunk=3, **options)
        return jnp.sum(map**2)

    value, slope = jax.jit(jax.value_and_grad(total))(3.0)
    np.testing.assert_allclose(slope, 2 * value / 3, rtol=1e-5)


def test_rise_of_a_constant_score_counts_what_the_masks_keep():
    """s = c gives c Σ m / (n keep): with all cells kept c everywhere, else c in the mean."""
    image = jnp.zeros((6, 7, 2))
    constant = lambda x: jnp.sum(0 * x) + 3.0  # noqa: E731
    all_kept = explained(rise, constant, image, samples=5, grid=3, keep=1.0, key=KEY, chunk=2)
    np.testing.assert_allclose(all_kept, 3.0, rtol=1e-5)
    n, keep = 2000, 0.3
    half = explained(rise, constant, image, samples=n, grid=3, keep=keep, key=KEY, chunk=n)
    error = 3 * np.sqrt((1 - keep) / keep / n)  # a mask's variance is at most keep (1 - keep)
    np.testing.assert_allclose(half, 3.0, atol=5 * error)


def test_rise_replays_masks():
    """The core on given masks is Σ s(m x + (1 - m) b) m, written out."""
    image, masks = normal(0, 4, 3, 2), jnp.abs(jnp.tanh(normal(1, 7, 4, 3)))
    score = lambda x: jnp.sum(jnp.sin(x))  # noqa: E731
    draw = lambda j: masks[j]  # noqa: E731
    map = explained(masked_scores, score, image, draw=draw, samples=7, baseline=0.2, chunk=3)
    blend = [m[..., None] * image + (1 - m[..., None]) * 0.2 for m in masks]
    expected = sum(score(x) * m for x, m in zip(blend, masks, strict=True))
    np.testing.assert_allclose(map, jnp.stack([expected] * 2, -1), rtol=1e-4, atol=1e-4)


def test_rise_finds_the_one_pixel_that_matters():
    image = jnp.ones((8, 8, 1))
    score = lambda x: x[2, 5, 0]  # noqa: E731
    map = explained(rise, score, image, samples=2000, grid=4, key=KEY, chunk=500)
    peak = np.unravel_index(np.argmax(map[..., 0]), (8, 8))
    assert max(abs(peak[0] - 2), abs(peak[1] - 5)) <= 1


@pytest.mark.parametrize("shape", [(9,), (8, 5), (4, 6, 3)])
def test_masks_are_smooth_shifted_grids(shape):
    """Values in [0, 1], a slope of at most one cell's step, a mean of `keep` (5 standard
    errors)."""
    draw = draw_mask(KEY, shape, grid=2, keep=0.7)
    masks = jax.jit(jax.vmap(draw))(jnp.arange(2000))
    assert masks.shape == (2000, *shape)
    assert jnp.min(masks) >= 0 and jnp.max(masks) <= 1 + 1e-6
    for axis, length in enumerate(shape, 1):
        slope = 2 / (3 * -(-length // 2))  # `grid` cells over (grid + 1) cells' pixels
        assert jnp.max(jnp.abs(jnp.diff(masks, axis=axis))) <= slope + 1e-6
    np.testing.assert_allclose(jnp.mean(masks, 0), 0.7, atol=5 * np.sqrt(0.21 / 2000))


def test_masks_are_the_upsampled_grid_of_jax_image():
    """With all shifts zero a mask is the resized grid, cropped."""
    index = next(j for j in range(100) if not np.any(shifts(j)))
    k_cells, _ = jax.random.split(jax.random.fold_in(KEY, index))
    cells = jax.random.bernoulli(k_cells, 0.5, (3, 3)).astype(jnp.float32)
    expected = jax.image.resize(cells, (8, 8), "bilinear")[:5, :6]
    mask = draw_mask(KEY, (5, 6), grid=3, keep=0.5)(jnp.int32(index))
    np.testing.assert_allclose(mask, expected, atol=1e-6)


def shifts(index):
    _, k_shift = jax.random.split(jax.random.fold_in(KEY, index))
    return jax.random.randint(k_shift, (2,), 0, np.array([2, 2]))


IMAGE = np.zeros((4, 6, 1), np.float32)


@pytest.mark.parametrize(
    "method, options, error, name",
    [
        (occlusion, {"window": 0}, ValueError, "window"),
        (occlusion, {"window": (2, 2, 1)}, ValueError, "window"),
        (occlusion, {"window": 5}, ValueError, "window"),
        (occlusion, {"window": 2, "stride": 3}, ValueError, "stride"),
        (occlusion, {"window": 2, "stride": 0}, ValueError, "stride"),
        (occlusion, {"window": 2, "baseline": np.zeros((4, 6))}, ValueError, "baseline"),
        (feature_ablation, {"segments": np.zeros((4, 5), int)}, ValueError, "segments"),
        (feature_ablation, {"segments": np.zeros((4, 6))}, TypeError, "segments"),
        (rise, {"key": KEY, "keep": 0.0}, ValueError, "keep"),
        (rise, {"key": KEY, "keep": 1.5}, ValueError, "keep"),
        (rise, {"key": KEY, "grid": 0}, ValueError, "grid"),
        (rise, {"key": KEY, "samples": 0}, ValueError, "samples"),
    ],
)
def test_bad_options_raise(method, options, error, name):
    with pytest.raises(error, match=name):
        method(jnp.sum, jnp.asarray(IMAGE), **options)


def test_windows_as_an_array_are_those_of_a_tuple():
    score, image = jnp.sum, jnp.asarray(IMAGE)
    as_array, as_tuple = (occlusion(score, image, window=w) for w in (np.array([2, 3]), (2, 3)))
    np.testing.assert_array_equal(as_array, as_tuple)


def test_positions_do_not_mix_integers_of_two_widths():
    with jax.enable_x64(True):
        map = occlusion(jnp.sum, jnp.ones((4, 4, 1)), window=2)
    np.testing.assert_allclose(map, 4.0)


def test_segments_of_one_channel_serve_all():
    image, score = normal(3, 4, 6, 3), lambda x: jnp.sum(x**2)
    labels = np.arange(24).reshape(4, 6) // 5
    flat, deep = (ablated(score, image, segments=s) for s in (labels, labels[..., None]))
    np.testing.assert_array_equal(flat, deep)


def test_traced_segments_raise():
    explain = lambda s: feature_ablation(jnp.sum, jnp.asarray(IMAGE), segments=s)  # noqa: E731
    with pytest.raises(TypeError, match="segments"):
        jax.jit(explain)(np.zeros((4, 6), int))


@pytest.mark.parametrize(
    "method, options", [(occlusion, {"window": 1}), (rise, {"key": KEY, "samples": 1})]
)
def test_an_image_without_spatial_axes_raises(method, options):
    with pytest.raises(ValueError, match="spatial"):
        method(jnp.sum, jnp.zeros(5), **options)


def by_hand(score, image, window, stride, fill=0.0):
    """Occlusion, one window after the other: a pixel's mean of the losses of its windows."""
    total, number = np.zeros(image.shape[:-1]), np.zeros(image.shape[:-1])
    before = float(score(image))
    for mask in cut_windows(image.shape[:-1], window, stride):
        loss = np.float32(before) - np.float32(score(np.where(mask[..., None], fill, image)))
        total[mask] += loss
        number += mask
    return np.stack([total / number] * image.shape[-1], -1)


def logarithm_of_a_pixel(x):
    """Minus infinity where that pixel is occluded: the loss is infinite."""
    return jnp.log(jnp.abs(x.reshape(-1)[13])) + jnp.sum(x) / 100


def root_of_a_pixel(x):
    """Not a number where that pixel is occluded."""
    return jnp.sqrt(jnp.abs(x.reshape(-1)[9]) - 1e-3) + jnp.sum(x) / 100


def both(x):
    """Two pixels whose occlusion is infinite with either sign: not a number where they meet."""
    return jnp.log(jnp.abs(x.reshape(-1)[3])) - jnp.log(jnp.abs(x.reshape(-1)[-4]))


@pytest.mark.parametrize("score", [logarithm_of_a_pixel, root_of_a_pixel, both])
@pytest.mark.parametrize("shape, window, stride", [CASES[0], CASES[2], CASES[4]])
def test_a_window_speaks_for_the_pixels_that_it_covers_alone(score, shape, window, stride):
    image = np.abs(np.asarray(normal(0, *shape, 2))) + 0.5
    expected = by_hand(jax.jit(score), image, window, stride)
    assert np.isfinite(expected).any() and not np.isfinite(expected).all()
    map = occluded(score, image, window=window, stride=stride, chunk=4)
    np.testing.assert_allclose(map, expected, rtol=1e-4, atol=1e-6)


def test_an_infinite_score_counts_for_what_its_mask_shows():
    """RISE of masks of two pixels each, the second common to all but two of them."""
    scores = np.array([1.0, np.inf, 2.0, -1.0, np.nan], np.float32)
    masks = np.zeros((5, 4, 3), np.float32)
    for j, mask in enumerate(masks):
        mask.flat[[j, -1 if np.isfinite(scores[j]) else -2]] = 0.5

    def score(x):
        """Each mask's own score, told by the first pixel that it shows."""
        return jnp.asarray(scores)[jnp.argmax(x[..., 0].ravel() > 0)]

    options = {"draw": lambda j: jnp.asarray(masks)[j], "samples": 5, "chunk": 2}
    map = explained(masked_scores, score, np.ones((4, 3, 2), np.float32), **options)
    expected = np.zeros((4, 3), np.float32)
    for mask, value in zip(masks, scores, strict=True):
        expected[mask > 0] += 0.5 * value
    assert np.isfinite(expected).sum() == 9
    np.testing.assert_allclose(map, np.stack([expected] * 2, -1), rtol=1e-5)
