"""Is the map true? Where its relevance lies, whether the score follows it, whether it is sane."""

from typing import Literal, NamedTuple

from jaxsal.common import docstrings
from jaxsal.metrics.baselines import blur as blur
from jaxsal.metrics.baselines import mean as mean
from jaxsal.metrics.baselines import minimum as minimum
from jaxsal.metrics.bootstrap import Interval as Interval
from jaxsal.metrics.bootstrap import difference_interval as difference_interval
from jaxsal.metrics.bootstrap import group_difference as group_difference
from jaxsal.metrics.bootstrap import mean_interval as mean_interval
from jaxsal.metrics.bootstrap import share_interval as share_interval
from jaxsal.metrics.bootstrap import summarise as summarise
from jaxsal.metrics.classification import classification_report as classification_report
from jaxsal.metrics.completeness import completeness as completeness
from jaxsal.metrics.complexity import entropy as entropy
from jaxsal.metrics.complexity import sparseness as sparseness
from jaxsal.metrics.controls import CONTROLS as CONTROLS
from jaxsal.metrics.controls import centre_prior as centre_prior
from jaxsal.metrics.controls import edge_detector as edge_detector
from jaxsal.metrics.controls import uniform_random as uniform_random
from jaxsal.metrics.curves import deletion as deletion
from jaxsal.metrics.curves import deletion_curve as deletion_curve
from jaxsal.metrics.curves import insertion as insertion
from jaxsal.metrics.curves import insertion_curve as insertion_curve
from jaxsal.metrics.drop import average_drop as average_drop
from jaxsal.metrics.drop import average_increase as average_increase
from jaxsal.metrics.faithfulness_correlation import (
    faithfulness_correlation as faithfulness_correlation,
)
from jaxsal.metrics.imputation import impute as impute
from jaxsal.metrics.infidelity import add_noise as add_noise
from jaxsal.metrics.infidelity import infidelity as infidelity
from jaxsal.metrics.infidelity import remove_square as remove_square
from jaxsal.metrics.information import aic as aic
from jaxsal.metrics.information import margin as margin
from jaxsal.metrics.information import sic as sic
from jaxsal.metrics.localization import MEASURES as MEASURES
from jaxsal.metrics.localization import exclusions as exclusions
from jaxsal.metrics.localization import localize as localize
from jaxsal.metrics.localization import pointing_game as pointing_game
from jaxsal.metrics.localization import rank_accuracy as rank_accuracy
from jaxsal.metrics.localization import region_measures as region_measures
from jaxsal.metrics.localization import relevance_mass as relevance_mass
from jaxsal.metrics.localization import roc_auc as roc_auc
from jaxsal.metrics.monotonicity import monotonicity as monotonicity
from jaxsal.metrics.parameters import flax_module as flax_module
from jaxsal.metrics.parameters import layers as layers
from jaxsal.metrics.parameters import module as module
from jaxsal.metrics.patches import region_perturbation as region_perturbation
from jaxsal.metrics.patches import selectivity as selectivity
from jaxsal.metrics.picture_size import entropy_size as entropy_size
from jaxsal.metrics.picture_size import webp_size as webp_size
from jaxsal.metrics.retrieval import average_precision as average_precision
from jaxsal.metrics.retrieval import top_k_intersection as top_k_intersection
from jaxsal.metrics.road import road as road
from jaxsal.metrics.road import road_curve as road_curve
from jaxsal.metrics.sanity import cascading as cascading
from jaxsal.metrics.sanity import independent as independent
from jaxsal.metrics.sanity import layer_randomisation as layer_randomisation
from jaxsal.metrics.sanity import parameter_randomisation as parameter_randomisation
from jaxsal.metrics.sanity import random_logit as random_logit
from jaxsal.metrics.sensitivity import sensitivity_max as sensitivity_max
from jaxsal.metrics.sensitivity_n import sensitivity_n as sensitivity_n
from jaxsal.metrics.similarity import SIMILARITIES as SIMILARITIES
from jaxsal.metrics.similarity import cosine as cosine
from jaxsal.metrics.similarity import spearman as spearman
from jaxsal.metrics.similarity import ssim as ssim
from jaxsal.metrics.stability import local_lipschitz as local_lipschitz
from jaxsal.metrics.stability import relative_input_stability as relative_input_stability
from jaxsal.types import Metric


class Row(NamedTuple):
    """A metric of one image and its map.

    Attributes:
        function: the metric.
        family: what it says of a map.
        lower_is_better: whether lower values are better (of `road_curve`: as it is asked for).
    """

    function: Metric
    family: Literal["localisation", "faithfulness", "robustness", "axiomatic", "complexity"]
    lower_is_better: bool = False


TABLE = (
    Row(relevance_mass, "localisation"),
    Row(rank_accuracy, "localisation"),
    Row(pointing_game, "localisation"),
    Row(roc_auc, "localisation"),
    Row(average_precision, "localisation"),
    Row(top_k_intersection, "localisation"),
    Row(deletion, "faithfulness", lower_is_better=True),
    Row(deletion_curve, "faithfulness", lower_is_better=True),
    Row(insertion, "faithfulness"),
    Row(insertion_curve, "faithfulness"),
    Row(road, "faithfulness"),
    Row(road_curve, "faithfulness"),
    Row(infidelity, "faithfulness", lower_is_better=True),
    Row(sensitivity_n, "faithfulness"),
    Row(faithfulness_correlation, "faithfulness"),
    Row(average_drop, "faithfulness", lower_is_better=True),
    Row(average_increase, "faithfulness"),
    Row(region_perturbation, "faithfulness"),
    Row(selectivity, "faithfulness", lower_is_better=True),
    Row(monotonicity, "faithfulness"),
    Row(sic, "faithfulness"),
    Row(aic, "faithfulness"),
    Row(sensitivity_max, "robustness", lower_is_better=True),
    Row(local_lipschitz, "robustness", lower_is_better=True),
    Row(relative_input_stability, "robustness", lower_is_better=True),
    Row(completeness, "axiomatic", lower_is_better=True),
    Row(sparseness, "complexity"),
    Row(entropy, "complexity", lower_is_better=True),
)
"""A new metric is one row here."""

METRICS: dict[str, Metric] = {row.function.__name__: row.function for row in TABLE}
"""Every metric of one image and its map, by its name; for `jaxsal.evaluator`."""

LOWER_IS_BETTER = frozenset(row.function.__name__ for row in TABLE if row.lower_is_better)
"""Of the metrics; of the others, higher values are better."""

docstrings.complete(METRICS)
