"""Drops, patches, monotonicity, stability, information curves: closed forms, borders, errors."""

import io
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxsal
from jaxsal import metrics
from jaxsal.metrics.information import information_area, information_curve

KEY = jax.random.key(0)
WEIGHTS, IMAGE = (
    jnp.asarray(np.random.default_rng(i).normal(size=(7, 6, 2)), jnp.float32) for i in range(2)
)


def linear(image):
    return jnp.sum(WEIGHTS * image)


PARTS = WEIGHTS * IMAGE


@pytest.mark.parametrize("sign", [1, -1])
def test_a_drop_is_what_the_map_hides(sign):
    """Of a negative score, too, a lower one is a drop."""
    score = lambda x: sign * (jnp.sum(jnp.abs(WEIGHTS) * x) + 1)  # noqa: E731
    image = jnp.abs(IMAGE)
    half = jnp.full(image.shape[:2], 0.5).at[0, 0].set(1.0)
    shown = jnp.where(half == 1, 1, 0.5)[..., None] * image
    change = (score(image) - score(shown)) / jnp.abs(score(image))
    drop = metrics.average_drop(score, image, half)
    np.testing.assert_allclose(drop, max(change, 0), rtol=1e-5)
    assert metrics.average_increase(score, image, half) == float(sign < 0)
    everything = jnp.ones(image.shape)
    assert metrics.average_drop(score, image, everything) < 1e-6
    assert metrics.average_increase(score, image, everything) == 0
    assert jnp.isnan(metrics.average_drop(lambda x: 0 * jnp.sum(x), image, half))
    undefined = lambda x: jnp.where(x[0, 0, 0] == image[0, 0, 0] / 2, 1.0, jnp.nan)  # noqa: E731
    other = half.at[0, 0].set(0.5).at[1, 0].set(1.0)  # its score is 1, the image's NaN
    for measure in (metrics.average_drop, metrics.average_increase):
        assert jnp.isnan(measure(undefined, image, other))


def test_patches_go_in_the_order_of_their_sums():
    """Patches of three in seven by six pixels: the last row of them is cut off."""
    sums = [PARTS[i : i + 3, j : j + 3].sum() for i in range(0, 7, 3) for j in range(0, 6, 3)]
    lost = np.cumsum(np.sort(np.asarray(sums))[::-1])
    options = {"patch": 3, "baseline": 0.0, "chunk": 6}
    found = metrics.region_perturbation(linear, IMAGE, PARTS, **options)
    np.testing.assert_allclose(found, lost, rtol=1e-4, atol=1e-5)
    few = metrics.region_perturbation(linear, IMAGE, PARTS, **options, regions=2)
    np.testing.assert_allclose(few, lost[:2], rtol=1e-4, atol=1e-5)
    left = metrics.selectivity(linear, IMAGE, PARTS, **options)
    np.testing.assert_allclose(left, linear(IMAGE) - lost, rtol=1e-4, atol=1e-4)
    darkest = metrics.selectivity(linear, IMAGE, PARTS, patch=3)[-1]
    np.testing.assert_allclose(darkest, jnp.sum(WEIGHTS) * IMAGE.min(), rtol=1e-4)
    with pytest.raises(ValueError, match="patch: expected at most"):
        metrics.selectivity(linear, IMAGE, PARTS, patch=7)


def test_a_score_that_only_rises_is_monotone_and_one_that_only_falls_is_not():
    measure = partial(metrics.monotonicity, steps=14, baseline=0.0, chunk=14)
    total = lambda x: jnp.sum(jnp.abs(x))  # noqa: E731
    assert measure(total, IMAGE, PARTS) == 1
    assert measure(lambda x: -total(x), IMAGE, PARTS) == 0
    assert measure(lambda x: 0 * total(x) + 1e3, IMAGE, PARTS) == 1  # it never falls
    assert jnp.isnan(measure(lambda x: jnp.log(total(IMAGE) / 2 - total(x)), IMAGE, PARTS))
    with pytest.raises(ValueError, match="steps: expected at most the image's 42 pixels"):
        metrics.monotonicity(linear, IMAGE, PARTS)


def test_faithfulness_of_what_a_linear_score_loses():
    """Contributions are exact; their negative is as wrong as can be; a constant says nothing."""
    measure = partial(
        metrics.faithfulness_correlation, linear, IMAGE, subset=10, samples=30, key=KEY, chunk=30
    )
    lost = partial(measure, baseline=0.0)
    np.testing.assert_allclose(lost(PARTS), 1, atol=1e-5)
    np.testing.assert_allclose(lost(-PARTS), -1, atol=1e-5)
    darkest = WEIGHTS * (IMAGE - IMAGE.min())
    np.testing.assert_allclose(measure(darkest), 1, atol=1e-5)
    with pytest.raises(ValueError, match="subset: expected fewer than the image's 42 pixels"):
        metrics.faithfulness_correlation(linear, IMAGE, PARTS, key=KEY)


def test_stability_of_maps_that_are_known():
    """The gradient of a linear score never moves; a map that is the image moves as it does."""
    options = {"samples": 5, "key": KEY, "chunk": 5}
    for measure in (metrics.local_lipschitz, metrics.relative_input_stability):
        assert measure(linear, IMAGE, PARTS, method=jaxsal.gradient, **options) == 0
        itself = measure(linear, IMAGE, PARTS, method=lambda score, x: x, **options)
        np.testing.assert_allclose(itself, 1, rtol=1e-5)
    twice = metrics.local_lipschitz(linear, IMAGE, PARTS, method=lambda score, x: 2 * x, **options)
    np.testing.assert_allclose(twice, 2, rtol=1e-5)
    with pytest.raises(ValueError, match="noise: expected a number above 0, got 0"):
        metrics.local_lipschitz(linear, IMAGE, PARTS, method=jaxsal.gradient, noise=0, **options)
    # Black pixels and pixels without relevance have no relative change.
    black = IMAGE.at[:3].set(0)
    found = metrics.relative_input_stability(
        linear, black, PARTS, method=lambda score, x: x.at[5:].set(0), **options
    )
    assert 0 < found <= 1


def test_a_map_that_shows_what_counts_has_the_larger_area():
    """The score is of the middle alone; the rest is as rich a picture as it."""
    middle = np.zeros((12, 12), np.float32)
    middle[4:8, 4:8] = 1
    image = jnp.asarray(np.random.default_rng(3).random((12, 12, 1)), jnp.float32)
    score = lambda x: jnp.exp(-20 * jnp.mean(jnp.abs(x - image)[4:8, 4:8]))  # noqa: E731
    options = {"thresholds": (0.05, 0.12, 0.3, 0.6), "points": 50, "key": KEY, "chunk": 6}
    sic = jax.jit(partial(metrics.sic, score, image, **options))
    assert sic(jnp.asarray(middle)) > sic(1 - jnp.asarray(middle)) + 0.2
    aic = jax.jit(partial(metrics.aic, score, image, **options, threshold=0.5))
    assert aic(jnp.asarray(middle)) > aic(1 - jnp.asarray(middle)) + 0.2
    flat = metrics.sic(lambda x: 0 * jnp.sum(x), image, jnp.asarray(middle), **options)
    assert jnp.isnan(flat)  # the score does not rise


def test_a_class_is_right_where_its_logit_is_the_largest():
    """By default, where the score tells the other classes': not where its own is above 0."""
    image = np.zeros((12, 12, 1), np.float32)  # a picture that shows nothing is black
    image[3:9, 3:9] = np.random.default_rng(3).random((6, 6, 1))
    options = {"thresholds": (0.05, 0.12, 0.3, 0.6), "points": 50}
    targets, map = np.zeros(1, int), image[None]

    def apply(shift, x):  # class 0 where the sum is larger than half of the image's
        first = x.sum((1, 2, 3)) / image.sum()
        return jnp.stack([first + shift, jnp.full_like(first, 0.5) + shift], 1)

    def aic(shift, **changed):
        evaluate = jaxsal.evaluator(apply, metrics.aic, **options, **changed)
        return evaluate(jnp.float32(shift), image[None], map, targets, key=KEY)

    known = aic(0, objective=metrics.margin, threshold=0.0)
    assert 0 < known < 1
    for shift in (0, -9, 9):  # what is added to all logits decides no class
        np.testing.assert_allclose(aic(shift), known, rtol=1e-6)
    assert jnp.isnan(aic(-9, threshold=0.0)[0])  # the logit is never above 0
    array = aic(0, objective=metrics.margin, threshold=jnp.float32(0))
    np.testing.assert_allclose(array, known, rtol=1e-6)


def test_pictures_show_the_largest_values_the_corners_and_a_random_share():
    """Of an image of ones what is missing is filled with twos, and the sizes see each picture."""
    shown = []

    def keep(picture):
        shown.append(np.asarray(picture)[..., 0] == 0)
        return np.float32(len(shown))

    def size(picture):
        result = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(keep, result, picture, vmap_method="sequential")

    options = {"thresholds": (0.1, 0.4), "size": size, "key": KEY}
    options["fill"] = lambda image, missing, axes: jnp.where(missing[..., None], 2.0, image)
    map, corners = PARTS.sum(-1), np.zeros((7, 6), bool)
    corners[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    for share, most in ((0.0, 0), (0.2, 8)):
        shown.clear()
        sic = jax.jit(partial(metrics.sic, jnp.sum, shown=share, **options))
        sic(jnp.ones((7, 6, 1)), map).block_until_ready()
        always, *some, whole = shown
        assert corners.sum() == 4 <= (always | corners).sum() == always.sum() <= 4 + most
        assert most - 4 <= (always & ~corners).sum() and whole.all()
        for quantile, picture in zip((0.9, 0.6), some, strict=True):
            largest = np.abs(map) >= np.quantile(np.abs(map), quantile)
            np.testing.assert_array_equal(picture, always | largest)


def test_a_curve_by_hand():
    """Two pictures, the second with a lower score: the highest so far counts."""
    sizes, scores = jnp.asarray([10.0, 15, 20, 30]), jnp.asarray([0.0, 0.8, 0.4, 1.0])
    curve = information_curve(sizes, scores, points=4)
    np.testing.assert_allclose(curve, [0, 0.8, 0.8, 0.9, 1], rtol=1e-6)
    np.testing.assert_allclose(information_area(curve), 0.75, rtol=1e-6)
    fallen = information_curve(sizes, scores, points=4, monotone=False)
    np.testing.assert_allclose(fallen, [0, 0.8, 0.4, 0.7, 1], rtol=1e-6)


def test_sizes_of_pictures():
    """Noise takes a byte a pixel, a flat picture none, and files are what Pillow writes."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8)
    flat = np.full((64, 64, 1), 9, np.uint8)
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (64, 64, 1))
    entropy = jax.jit(metrics.entropy_size)
    assert 0.9 * 4096 < entropy(jnp.asarray(noise)) <= 4096
    assert entropy(jnp.asarray(flat)) == 0
    assert entropy(jnp.asarray(ramp)) < 200 < entropy(jnp.asarray(noise // 16))
    file = io.BytesIO()
    Image.fromarray(noise.repeat(3, -1)).save(file, format="WEBP", lossless=True, quality=100)
    both = jnp.stack([jnp.asarray(noise), jnp.asarray(flat)])
    sizes = jax.jit(jax.vmap(metrics.webp_size))(both)
    assert sizes[0] == len(file.getvalue()) > sizes[1]
    with pytest.raises(ValueError, match="one channel or three, got 2"):
        metrics.webp_size(jnp.zeros((4, 4, 2), jnp.uint8))


def test_webp_without_pillow_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match="webp_size needs Pillow: pip install"):
        metrics.webp_size(jnp.zeros((4, 4, 1), jnp.uint8))


NO_NUMBER = {
    "thresholds that fall": (
        partial(metrics.sic, thresholds=(0.2, 0.1), key=KEY),
        r"thresholds: expected rising shares in \(0, 1\), got \(0.2, 0.1\)",
    ),
    "a threshold of all": (partial(metrics.aic, thresholds=(1.0,), key=KEY), "thresholds"),
    "no thresholds": (partial(metrics.sic, thresholds=(), key=KEY), "thresholds"),
    "more than all": (partial(metrics.sic, shown=1.5, key=KEY), r"shown: expected .* \[0, 1.0\]"),
    "one step": (partial(metrics.monotonicity, steps=1), "steps: expected an integer >= 2"),
    "one set": (
        partial(metrics.faithfulness_correlation, samples=1, subset=9, key=KEY),
        "samples: expected an integer >= 2",
    ),
    "no radius": (
        partial(metrics.relative_input_stability, method=jaxsal.gradient, radius=0, key=KEY),
        "radius: expected a number above 0",
    ),
    "no count": (
        partial(metrics.region_perturbation, patch=3, regions=True),
        "regions: expected an integer, got True",
    ),
    "a part of a baseline": (
        partial(metrics.completeness, baseline=np.zeros((7, 6))),
        "baseline: expected a scalar or the image's shape",
    ),
}


@pytest.mark.parametrize("name", NO_NUMBER)
def test_what_gives_no_number_is_an_error(name):
    call, words = NO_NUMBER[name]
    with pytest.raises((ValueError, TypeError), match=words):
        call(linear, IMAGE, PARTS)


def test_information_curves_are_of_pictures_and_of_classes():
    volume = jnp.ones((5, 5, 5, 1))
    with pytest.raises(ValueError, match="image: expected two spatial axes, got the shape"):
        metrics.sic(jnp.sum, volume, volume, key=KEY)
    apply = lambda params, x: x.sum((1, 2))  # noqa: E731
    images = np.ones((1, 6, 6, 1), np.float32)
    with pytest.raises(ValueError, match="output: values tell no classes to compare"):
        jaxsal.evaluator(apply, metrics.aic, output="value")((), images, images, 0, key=KEY)


def test_margin_is_positive_where_the_class_is_the_predicted_one():
    logits = jnp.asarray([0.5, 2.0, -1.0])
    margins = [metrics.margin(logits, jnp.asarray(target)) for target in range(3)]
    np.testing.assert_allclose(margins, [-1.5, 1.5, -3.0])
