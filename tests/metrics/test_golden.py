"""Parity with the metrics of quantus, captum and ROAD on the reference arrays."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal import metrics
from jaxsal.metrics.infidelity import infidelity_over
from jaxsal.metrics.sensitivity import sensitivity_over
from tests.golden import IMAGES, PARAMS, ROWS, TARGETS, apply, channels_last

MAPS = jnp.asarray(channels_last(ROWS["quantus/a"]))
MASKS = jnp.asarray(ROWS["quantus/s"][:, 0])
NOISE = channels_last(ROWS["infid_noise"]).reshape(4, 5, *IMAGES.shape[1:])
ATOL = 1e-5


@pytest.mark.parametrize(
    ("metric", "row"),
    [
        (metrics.relevance_mass, "RelevanceMassAccuracy"),
        (metrics.relevance_mass, "AttributionLocalisation"),
        (metrics.rank_accuracy, "RelevanceRankAccuracy"),
        (metrics.pointing_game, "PointingGame"),
        (metrics.roc_auc, "AUC"),
        (partial(metrics.top_k_intersection, k=20), "TopKIntersection"),
    ],
)
def test_localization(metric, row):
    evaluate = jaxsal.evaluator(apply, metric)
    values = evaluate(PARAMS, IMAGES, MAPS, TARGETS, mask=MASKS)
    np.testing.assert_allclose(values, ROWS[f"quantus/{row}"], atol=ATOL)


@pytest.mark.parametrize(
    ("metric", "row"), [(metrics.sparseness, "Sparseness"), (metrics.entropy, "Complexity")]
)
def test_complexity(metric, row):
    values = jaxsal.evaluator(apply, metric)(PARAMS, IMAGES, MAPS, TARGETS)
    np.testing.assert_allclose(values, ROWS[f"quantus/{row}"], atol=ATOL)


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_of_integrated_gradients(normalize):
    """From a black baseline in fifty steps, over captum's own five draws an example."""
    explain = jaxsal.explainer(apply, jaxsal.integrated_gradients, steps=50)
    maps = explain(PARAMS, IMAGES, TARGETS)

    def replayed(score, image, map, *, draws):
        return infidelity_over(
            score, image, map, lambda j: draws[j], samples=5, normalize=normalize, chunk=2
        )

    values = jaxsal.evaluator(apply, replayed)(PARAMS, IMAGES, maps, TARGETS, draws=NOISE)
    np.testing.assert_allclose(values, ROWS[f"captum/infidelity_norm{normalize}"], atol=ATOL)


def test_sensitivity_max_of_absolute_gradients():
    def replayed(score, image, map, *, draws):
        explain = lambda x: jnp.abs(jaxsal.gradient(score, x))  # noqa: E731
        return sensitivity_over(explain, image, lambda j: draws[j], samples=5)

    values = jaxsal.evaluator(apply, replayed)(PARAMS, IMAGES, IMAGES, TARGETS, draws=NOISE)
    np.testing.assert_allclose(values, ROWS["captum/sens_max"], atol=ATOL)


def test_road_imputation_without_noise():
    known = jnp.asarray(ROWS["road/mask"] > 0.5)
    filled = jax.jit(metrics.impute)(jnp.asarray(IMAGES[0]), ~known)
    expected = ROWS["road/imputed_noise0"].transpose(1, 2, 0)
    np.testing.assert_allclose(filled, expected, atol=ATOL)
