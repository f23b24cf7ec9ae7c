"""Parity with captum, lime, shap and xplique on the reference arrays, over their own draws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.methods._grid import grid_of
from jaxsal.methods.hsic import dependence, hsic_over
from jaxsal.methods.kernel_shap import kernel_shap_over
from jaxsal.methods.lime import lime_over
from jaxsal.methods.shapley import shapley_over
from tests.golden import BASELINE, IMAGES, PARAMS, TARGETS, apply, channels_last
from tests.golden2 import ROWS

ATOL = 1e-5
SEGMENTS, SEGMENTS8, SEGMENTS5 = (
    channels_last(ROWS[name])[0] for name in ("segments", "segments8", "segments5")
)
BACK_AND_FORTH = np.concatenate([ROWS["shap/permutations"], ROWS["shap/permutations"][:, ::-1]])
HSIC_MASKS = ROWS["xplique/hsic_masks"].reshape(100, 16)


def mean_colour(image):
    """Each of the 16 segments in its mean colour."""
    member = jax.nn.one_hot(SEGMENTS[..., 0], 16)
    means = jnp.einsum("hwc,hws->sc", image, member) / jnp.sum(member, (0, 1))[:, None]
    return jnp.einsum("sc,hws->hwc", means, member)


def angle(shown, sample, image):
    """captum's distance: one less the cosine of the two images."""
    del shown
    norms = jnp.linalg.norm(sample) * jnp.linalg.norm(image)
    return 1 - jnp.sum(sample * image) / norms


def multiplied(image, mask):
    """xplique's amplitude: see `test_amplitude_adds`."""
    return image * (mask - 0.5)


def many(method, **options):
    """The method for each entry of its options, in one program: maps `[options, *image]`."""

    def each(score, image, **bound):
        one = lambda entry: method(score, image, **bound, **entry)  # noqa: E731
        return jax.vmap(one)({name: jnp.asarray(value) for name, value in options.items()})

    return each


def hidden_by_colour(image):
    """What hides segments for the lime package: black, and their mean colours."""
    return jnp.stack([jnp.zeros_like(image), mean_colour(image)])


def limepkg(score, image, *, chunk):
    explain = partial(lime_over, score, image, ROWS["limepkg/draws"], segments=SEGMENTS)
    return jax.vmap(lambda empty: explain(baseline=empty, chunk=chunk))(hidden_by_colour(image))


CAPTUM_LIME = partial(lime_over, segments=SEGMENTS, baseline=BASELINE)
SOBOL = partial(jaxsal.sobol, grid=4, designs=16)
ORDERS = np.stack(  # as often as makes them as many
    [ROWS["captum/shapley_permutations"].repeat(2, 0), BACK_AND_FORTH.repeat(3, 0)]
)
METHODS = {
    "lasso": many(
        partial(CAPTUM_LIME, kernel=angle, ridge=0.0), width=[1, 0.25], lasso=[0.01, 0.02]
    ),
    "ridge": partial(CAPTUM_LIME, kernel="euclidean", width=10.0),
    "xplique": partial(  # whose kernel has no 2: its width is ours over the root of 2
        lime_over,
        draws=ROWS["xplique/lime_draws"],
        segments=SEGMENTS,
        kernel="euclidean",
        width=20 / 2**0.5,
        ridge=2.0,
    ),
    "limepkg": limepkg,
    "kernel_shap": partial(kernel_shap_over, segments=SEGMENTS, baseline=BASELINE),
    "orders": partial(many(shapley_over, orders=ORDERS), segments=SEGMENTS8, baseline=BASELINE),
    "exact": partial(
        many(jaxsal.shapley_values, segments=np.stack([SEGMENTS8, SEGMENTS5])),
        n_segments=8,
        baseline=BASELINE,
    ),
    "sobol": SOBOL,
    "sobol_blur": partial(SOBOL, perturbation="blur"),
    "sobol_amplitude": partial(SOBOL, perturbation=multiplied),
    "hsic": partial(hsic_over, draws=HSIC_MASKS, grid=4),
}
EACH = {
    "lasso": {"draws": ROWS["lime/draws"]},
    "ridge": {"draws": ROWS["lime/draws"]},
    "kernel_shap": {"draws": ROWS["captum/kernel_shap_draws"]},
}


@pytest.fixture(scope="module")
def maps():
    """The methods, vmapped; the lime package's are of probabilities."""

    def explain(image, target, each):
        logit = lambda x: apply(PARAMS, x[None])[0, target]  # noqa: E731
        chance = lambda x: jax.nn.softmax(apply(PARAMS, x[None])[0])[target]  # noqa: E731
        return {
            name: method(
                chance if name == "limepkg" else logit, image, **each.get(name, {}), chunk=20
            )
            for name, method in METHODS.items()
        }

    return jax.device_get(jax.jit(jax.vmap(explain))(jnp.asarray(IMAGES), TARGETS, EACH))


def values_of(maps, segments):
    """Each segment's value, of maps that are constant over segments."""
    places = [np.flatnonzero(segments.ravel() == label)[0] for label in np.unique(segments)]
    return maps.reshape(len(maps), -1)[:, places]


def cells(maps):
    """Each cell's value, of maps of 16 pixels a side and 4 cells."""
    return maps[:, 2::4, 2::4, :1]


def with_width(width):
    """xplique's kernel of scores, whose width is the median score."""
    masks = jnp.asarray(HSIC_MASKS, jnp.float32)
    found = [dependence(masks, y, width(y)) for y in jnp.asarray(ROWS["xplique/hsic_outputs"])]
    return np.stack(found).reshape(4, 4, 4, 1)


def bicubic(values):
    """As xplique resizes a map of cells."""
    grid = grid_of(4, jnp.asarray(IMAGES[0]), (0, 1))
    spread = lambda each: grid.spread(each.ravel(), jnp.asarray(IMAGES[0]), "bicubic")  # noqa: E731
    return np.stack([spread(each) for each in jnp.asarray(values)])[..., :1]


def first(maps):
    """NCHW, of maps that are equal over channels as the peers' are."""
    return maps.transpose(0, 3, 1, 2)


FIGURES = {
    "captum/lime_lasso_cosine": lambda maps: values_of(maps["lasso"][:, 0], SEGMENTS),
    "captum/lime_lasso_narrow": lambda maps: values_of(maps["lasso"][:, 1], SEGMENTS),
    "captum/lime_ridge_euclidean": lambda maps: values_of(maps["ridge"], SEGMENTS),
    "xplique/lime": lambda maps: maps["xplique"][..., :1],
    "limepkg/coefficients": lambda maps: values_of(maps["limepkg"][:1, 0], SEGMENTS)[0],
    "limepkg/coefficients_mean_colour": lambda maps: values_of(maps["limepkg"][:1, 1], SEGMENTS)[0],
    "own/kernel_shap_constrained": lambda maps: values_of(maps["kernel_shap"], SEGMENTS),
    "captum/kernel_shap": lambda maps: values_of(maps["kernel_shap"], SEGMENTS),
    "captum/shapley_sampling": lambda maps: first(maps["orders"][:, 0]),
    "shap/permutation8_image0": lambda maps: values_of(maps["orders"][:1, 1], SEGMENTS8)[0],
    "own/shapley_exact8": lambda maps: values_of(maps["exact"][:, 0], SEGMENTS8),
    "shap/kernel8_image0": lambda maps: values_of(maps["exact"][:1, 0], SEGMENTS8)[0],
    "captum/shapley_values5": lambda maps: first(maps["exact"][:2, 1]),
    "xplique/sobol_raw_inpainting": lambda maps: cells(maps["sobol"]),
    "xplique/sobol_raw_blurring": lambda maps: cells(maps["sobol_blur"]),
    "xplique/sobol_raw_amplitude": lambda maps: cells(maps["sobol_amplitude"]),
    "xplique/sobol": lambda maps: bicubic(cells(maps["sobol"])),
    "xplique/hsic_raw": lambda maps: with_width(jnp.median),
    "xplique/hsic": lambda maps: bicubic(with_width(jnp.median)),
}
LOOSE = {
    "captum/lime_lasso_cosine": 1e-3,
    "captum/lime_lasso_narrow": 1e-3,
    "xplique/sobol": 1e-3,
    "xplique/hsic": 1e-3,
    "xplique/hsic_raw": 1e-4,  # small differences of large sums
}


@pytest.mark.parametrize("row", sorted(FIGURES))
def test_row(row, maps):
    expected, figure = ROWS[row], FIGURES[row](maps)
    assert figure.shape == expected.shape
    atol = LOOSE.get(row, ATOL) * np.abs(expected).max()
    np.testing.assert_allclose(figure, expected, rtol=0, atol=atol)


def test_kernel_shap_is_complete(maps):
    """xplique's draws neither end point: its values sum to 1.069 for a difference of 1.077."""
    logits = lambda x: np.take_along_axis(np.asarray(apply(PARAMS, x)), TARGETS[:, None], 1)[:, 0]  # noqa: E731
    rise = logits(IMAGES) - logits(np.broadcast_to(BASELINE, IMAGES.shape))
    np.testing.assert_allclose(values_of(maps["kernel_shap"], SEGMENTS).sum(1), rise, atol=1e-5)
    peer = values_of(ROWS["xplique/kernel_shap"], SEGMENTS[..., :1]).sum(1)
    black = logits(IMAGES) - logits(np.zeros_like(IMAGES))
    assert np.abs(peer - black).max() > 5e-3


def test_the_width_of_hsic_does_not_depend_on_the_scores_origin(maps):
    """xplique's is the median score: adding 5 to the logit changes its map by 91 %."""
    peer, moved = ROWS["xplique/hsic_raw"], with_width(lambda y: jnp.median(y + 5))
    assert np.abs(peer - moved).max() > 0.5 * np.abs(peer).max()
    shifted = lambda x: apply(PARAMS, x[None])[0, TARGETS[0]] + 5  # noqa: E731
    explain = jax.jit(partial(hsic_over, shifted, draws=jnp.asarray(HSIC_MASKS), grid=4, chunk=100))
    ours = maps["hsic"][0]
    np.testing.assert_allclose(explain(IMAGES[0]), ours, rtol=0, atol=1e-4 * ours.max())
    assert np.abs(cells(maps["hsic"]) - peer).max() > 0.1 * peer.max()


def test_amplitude_adds():
    """xplique's docstring says so; its code multiplies the image instead."""
    mask = ROWS["xplique/sobol_masks"][1].repeat(4, 0).repeat(4, 1)
    trap = ROWS["xplique/trap_amplitude_image"]
    np.testing.assert_allclose(multiplied(IMAGES[0], mask), trap, atol=1e-6)
    explain = partial(jaxsal.sobol, grid=4, designs=8, perturbation="amplitude")
    corner = lambda x: 3 * x[0, 0, 0]  # noqa: E731
    found = explain(corner, jnp.asarray(IMAGES[0]))
    assert found[0, 0, 0] > 0.1 > 1e-5 > found[-1, -1, 0]
    black = explain(corner, jnp.zeros(IMAGES.shape[1:]))
    np.testing.assert_allclose(found, black, atol=1e-5)  # the same whatever the image
