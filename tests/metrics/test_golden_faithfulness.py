"""Parity with quantus, grad-cam and PAIR on the second set of arrays."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsal import metrics
from jaxsal.metrics.faithfulness_correlation import faithfulness_correlation_over
from jaxsal.metrics.information import information_area, information_curve
from tests.golden import IMAGES, PARAMS, TARGETS, apply, channels_last
from tests.golden2 import ROWS

MAPS = channels_last(ROWS["quantus/map"])
CAMS = ROWS["gradcamlib/cam01"]
SETS = np.zeros((4, 20, 768), bool)
for sample, of_each in enumerate(ROWS["quantus/FaithfulnessCorrelation_draws"]):
    for example, places in enumerate(of_each):
        SETS[example, sample, places] = True
ATOL = 1e-5


def first(image):
    """The elements as quantus orders them, one after another: it knows no pixels."""
    return jnp.moveaxis(image, -1, 0).ravel()


@pytest.fixture(scope="module")
def values():
    """The metrics of four maps, in one program."""

    def measure(image, map, cam, sets, target):
        logit = lambda x: apply(PARAMS, x[None])[0, target]  # noqa: E731
        chance = lambda x: jax.nn.softmax(apply(PARAMS, x[None])[0])[target]  # noqa: E731
        of_row = lambda row: logit(jnp.moveaxis(row.reshape(3, 16, 16), 0, -1))  # noqa: E731
        row, relevance = first(image), first(map)
        correlate = partial(faithfulness_correlation_over, of_row, row, samples=20, chunk=20)
        rising = partial(metrics.monotonicity, of_row, row, steps=24, chunk=24)
        return {
            "quantus/FaithfulnessCorrelation": correlate(relevance, lambda j: sets[j]),
            "own/monotonicity_32": rising(relevance),
            "reversed": rising(-relevance),
            "quantus/RegionPerturbation_4": metrics.region_perturbation(
                logit, image, map, patch=4, regions=10, chunk=10
            ),
            "quantus/Selectivity_4": metrics.selectivity(logit, image, map, patch=4, chunk=16),
            "own/average_drop": metrics.average_drop(chance, image, cam),
            "gradcamlib/IncreaseInConfidence": metrics.average_increase(chance, image, cam),
        }

    rows = (jnp.asarray(x) for x in (IMAGES, MAPS, CAMS, SETS, TARGETS))
    return jax.device_get(jax.jit(jax.vmap(measure))(*rows))


@pytest.mark.parametrize(
    "row",
    [
        "quantus/FaithfulnessCorrelation",
        "own/monotonicity_32",
        "quantus/RegionPerturbation_4",
        "quantus/Selectivity_4",
        "own/average_drop",
        "gradcamlib/IncreaseInConfidence",
    ],
)
def test_row(row, values):
    expected = ROWS[row]
    atol = ATOL * max(1, np.abs(expected).max())
    np.testing.assert_allclose(values[row], expected, rtol=0, atol=atol)


def test_a_drop_is_a_share_of_the_score(values):
    """grad-cam's DropInConfidence is not divided."""
    chance = jax.nn.softmax(apply(PARAMS, jnp.asarray(IMAGES)))[np.arange(4), TARGETS]
    peer = ROWS["gradcamlib/DropInConfidence"]
    np.testing.assert_allclose(values["own/average_drop"] * chance, peer, atol=ATOL)


def test_monotonicity_tells_a_map_from_its_negative(values):
    """quantus replaces the baseline by the baseline: always True."""
    own, reverse = values["own/monotonicity_32"], values["reversed"]
    assert (own < 1).all() and (np.abs(own - reverse) > 0.02).all()


@pytest.mark.parametrize("curve", ["sic", "aic"])
@pytest.mark.parametrize("monotone", [True, False])
def test_information_curves(curve, monotone):
    """From PAIR's sizes and scores: the curve at 100 points, and the area under it."""
    name = f"pic/{curve}" if monotone else f"pic/{curve}_not_monotonous"
    sizes = jnp.asarray(ROWS["pic/sizes"], jnp.float32)
    scores = jnp.asarray(ROWS[f"{name}_predictions"], jnp.float32)
    found = information_curve(sizes, scores, points=100, monotone=monotone)
    np.testing.assert_allclose(found, ROWS[f"{name}_curve"], atol=ATOL)
    np.testing.assert_allclose(information_area(found), ROWS[f"{name}_auc"], atol=ATOL)
